"""How work lies on an engine, what an engine takes, and its arithmetic."""
