"""Hardware files of ZigZag, read and costed."""
