"""What calibration runs, measures and chooses; no pass among it."""
