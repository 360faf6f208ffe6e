"""Reads ZigZag's hardware files and writes them as chip files."""
