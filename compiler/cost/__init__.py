"""What work costs: one file a component family, every formula once, every constant from the chip file."""
