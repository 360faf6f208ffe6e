"""Holds the graph: its values, operations and text, and what rewrites and verifies it."""
