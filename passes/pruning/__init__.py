"""Chooses the channels that pruning removes, and refits the rest; no pass among it."""
