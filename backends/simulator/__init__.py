"""The arithmetic of each kind of step, on samples."""
