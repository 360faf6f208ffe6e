"""Weights fitted to what an engine can hold; no pass among it."""
