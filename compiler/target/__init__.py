"""The chip: typed, strict, and read from its file."""
