"""Drawings of directed graphs: layout in layers, SVG and DOT."""
