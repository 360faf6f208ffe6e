"""Which channels go, and how the rest is fitted; no pass among it."""
