"""The partition problem and its solver; no pass among it."""
