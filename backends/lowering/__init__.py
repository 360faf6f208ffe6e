"""Lowers a placed graph to a plan: drafts in order, time and memory, the accounts of energy."""
