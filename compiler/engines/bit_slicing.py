"""Slices numbers for an analog array: inputs into bits for its steps, weights into digits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler.ir.graph import Node, Quant

# -- weights


def weight_digits(
    integers: npt.NDArray[np.integer], levels: int, digits: int
) -> npt.NDArray[np.int8]:
    """Splits integers into digits of `levels` levels: [..] -> [digits, ..], lowest first.

    They add up with `digit_factors`. An odd number of levels makes balanced digits, -(levels-1)/2
    .. (levels-1)/2. A power of two makes two's complement in that base: digits 0 .. levels-1, the
    last one signed, -levels/2 .. levels/2-1 (of two levels: 0 or 1, with a negative factor).

    Raises ValueError when an integer needs more digits.
    """
    rest = integers.astype(np.int64)
    half = (levels - 1) // 2 if levels % 2 else 0
    parts = []
    for position in range(digits):
        if levels % 2 == 0 and position == digits - 1:
            half = levels // 2
        digit = (rest + half) % levels - half
        rest = (rest - digit) // levels
        parts.append(digit if levels > 2 or position < digits - 1 else -digit)
    if np.any(rest):
        low, high = int(integers.min()), int(integers.max())
        raise ValueError(f"{digits} digits of {levels} levels cannot hold {low}..{high}")
    return np.stack(parts).astype(np.int8)


def digit_factors(levels: int, digits: int) -> tuple[int, ...]:
    """Computes the factor of each digit of `weight_digits`: powers of `levels`.

    The last of binary digits is negative.
    """
    factors = [levels**position for position in range(digits)]
    if levels == 2:
        factors[-1] = -factors[-1]
    return tuple(factors)


def weight_reach(levels: int, digits: int) -> int:
    """Computes the largest weight magnitude that digits hold in both signs."""
    whole: int = levels**digits
    return (whole - 1) // 2 if levels % 2 else whole // 2 - 1


def useful_digits(levels: int, most: int, reach: int = 127) -> range:
    """Lists the numbers of digits worth trying, at most `most`.

    From the first that holds both signs to the first that holds `reach`.
    """
    fewest = next(count for count in range(1, 33) if weight_reach(levels, count) > 0)
    enough = next(count for count in range(1, 33) if weight_reach(levels, count) >= reach)
    return range(fewest, min(most, enough) + 1)


def unsigned_digits(levels: int, digits: int) -> int:
    """Counts the digits, from the lowest, that are never negative."""
    if levels % 2:
        return 0
    return digits if levels == 2 else digits - 1


def digits_of_tiles(
    tiles: npt.NDArray[np.generic], rows: int, groups: int, count: int, columns: int
) -> npt.NDArray[np.int8]:
    """Inverts passes.pad_to_tiles: [G,row tiles,column tiles,rows,columns] -> [D,G,R,K]."""
    _, row_count, column_count, array_rows, array_columns = tiles.shape
    flat = tiles.transpose(0, 1, 3, 2, 4).reshape(
        groups, row_count * array_rows, column_count * array_columns
    )
    digits = flat[:, :rows, : count * columns].reshape(groups, rows, count, columns)
    return np.ascontiguousarray(digits.transpose(2, 0, 1, 3)).astype(np.int8)


# -- inputs


@dataclass(frozen=True)
class Slice:
    """Some bits of an input, `bits` from `shift` on: a number that counts `weight` times.

    The top slice of signed inputs is signed. A top slice of one bit is 0 or 1 with a negative
    weight.
    """

    shift: int
    bits: int
    weight: int
    is_signed: bool
    is_top: bool

    def of(self, data: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Takes the slice of whole numbers, in their own type of floats (exact)."""
        kind = data.dtype.type
        shifted = np.floor(data * kind(2.0**-self.shift)) if self.shift else data
        if self.is_top and self.is_signed:
            return shifted
        above = np.floor(data * kind(2.0 ** -(self.shift + self.bits)))
        return np.asarray(shifted - above * kind(2.0**self.bits))


def input_slices(bits: int, signed: bool, bits_per_step: int) -> tuple[Slice, ...]:
    """Lists the slices of an input of `bits` bits, the lowest first.

    The last one has the bits that are left.
    """
    found = []
    for shift in range(0, bits, bits_per_step):
        width = min(bits_per_step, bits - shift)
        is_top = shift + width == bits
        is_sign_bit = is_top and signed and width == 1
        weight = -(1 << shift) if is_sign_bit else 1 << shift
        found.append(
            Slice(
                shift=shift,
                bits=width,
                weight=weight,
                is_signed=is_top and signed and not is_sign_bit,
                is_top=is_top,
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class Slicing:
    """The slices of an analog product's inputs, and how many weight digits are never negative."""

    slices: tuple[Slice, ...]
    unsigned_digits: int = 0

    @staticmethod
    def of(node: Node, inputs: Quant) -> Slicing:
        """Reads the slicing in an AnalogProduct's attributes.

        Without them all bits of the inputs drive the rows together. Raises ValueError for 0 bits.
        """
        per_step = node.integer("input_bits_per_step", inputs.bits)
        if per_step < 1:
            raise ValueError(f"input_bits_per_step is {per_step}, wanted 1 or more")
        slices = input_slices(inputs.bits, inputs.signed, per_step)
        return Slicing(slices, node.integer("unsigned_digits", 0))

    def is_unipolar(self, piece: Slice, digit: int) -> bool:
        """Whether no bitline's sum of this slice and digit can be negative.

        Then all codes of a converter stand for positive sums.
        """
        return not piece.is_signed and digit < self.unsigned_digits


WHOLE = Slicing((Slice(shift=0, bits=32, weight=1, is_signed=True, is_top=True),))
