"""Computes each kind of step, on samples."""
