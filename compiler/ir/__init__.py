"""The graph: its values, operations, text, and what rewrites and verifies it."""
