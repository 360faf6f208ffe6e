"""What the parts of a chip cost, from their parameters alone: formulas, constants and the library that chip files draw on."""
