"""Placed graph -> plan: drafts in order, time and memory, the accounts of energy."""
