"""Computes what no plan can beat: the least energy that a model takes on a chip."""
