"""Computes energy and time: a file for each component family, all constants from the chip file."""
