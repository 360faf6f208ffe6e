"""Finds what several passes look for in a graph; no pass among it."""
