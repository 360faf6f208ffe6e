"""Takes a folder of models through compilation, check, run and comparison, one process each."""
