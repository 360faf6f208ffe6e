"""What surrounds the stages of a compilation: options, measurement, notes, what is up to date."""
