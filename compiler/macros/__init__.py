"""Published silicon: a model of it, fitted and validated."""
