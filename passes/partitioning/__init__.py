"""Holds the partition problem and its solver; no pass is here."""
