"""Placed graph -> plan: works in order, time and memory, the accounts of energy."""
