"""Computes what the parts of a chip cost, from their parameters alone.

Here are the formulas, their constants, and the library of components that chip files use.
"""
