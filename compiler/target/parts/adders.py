"""Counts the full adders that a sum takes, and their energy when a share of them switches.

    tree of n inputs of w bits       n (w + 1) - (w + log2 n + 1) full adders
    n sums of b bits at place values b (n - 1) + n (log2 n - 1/2)
    accumulator                      as many full adders and registers as the result has bits

All are ripple-carry. E = count * activity * C_adder k V^2.
"""

from __future__ import annotations

from math import log2

from compiler.target.parts.silicon import Silicon

# Bits that a multiply-accumulate unit has beyond those of its product.
GUARD_BITS = 8


def tree_adders(inputs: float, bits: float) -> float:
    """Counts the full adders that sum `inputs` numbers of `bits` bits."""
    return inputs * (bits + 1) - (bits + log2(inputs) + 1)


def place_value_adders(slices: float, bits: float) -> float:
    """Counts the full adders that sum `slices` numbers of `bits` bits at their place values.

    Each number is shifted by one place against the next.
    """
    return 0.0 if slices == 1 else bits * (slices - 1) + slices * (log2(slices) - 0.5)


def adders_fj(silicon: Silicon, count: float) -> float:
    """Computes the energy of so many full adders, of which the share that is active switches."""
    return count * silicon.activity * silicon.fj(silicon.values["full_adder_ff"])


def registers_fj(silicon: Silicon, bits: float) -> float:
    """Computes the energy of so many register bits, all clocked."""
    return bits * silicon.fj(silicon.values["register_bit_ff"])


def accumulator_fj(silicon: Silicon, bits: float) -> float:
    """Computes the energy of adding to a sum of so many bits in a register."""
    return adders_fj(silicon, bits) + silicon.activity * registers_fj(silicon, bits)


def multipliers_fj(silicon: Silicon, count: float) -> float:
    """Computes the energy of so many one-bit products in gates."""
    return count * silicon.activity * silicon.fj(silicon.values["multiplier_ff"])


def multiply_accumulate_fj(
    silicon: Silicon, input_bits: float, weight_bits: float
) -> dict[str, float]:
    """Computes the parts of one multiply-accumulate unit.

    It has input_bits * weight_bits adders, an accumulator, and the registers of its operands.
    """
    products, operands = input_bits * weight_bits, input_bits + weight_bits
    return {
        "cells": multipliers_fj(silicon, products),
        "adders": adders_fj(silicon, products),
        "accumulator": accumulator_fj(silicon, operands + GUARD_BITS),
        "registers": registers_fj(silicon, operands),
    }
