"""Computes the energy of one conversion of an analog sum into b bits, by the kind of converter.

sar       E = (C_sar b + C_level 4^b) k V^2: comparator, logic and capacitors; one bit needs a
          comparator only, as below
sense     E = C_sense b k V^2: one decision a bit, against references that others pay for
flash     E = C_sense (2^b - 1) k V^2: all levels compared at once
ramp      E = (C_sense b + C_register (2 * 2^b / n + b)) k V^2: a counter shared by n columns flips
          two bits a step on average, and each column latches the count at which its comparator
          flips
cco       as ramp with n = 1: a current-controlled oscillator clocks a counter of its own
in_array  E = b (C_sense + C_bit rows) k V^2: the array's own cells are the references; every
          decision charges a bitline
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from compiler.target.parts.silicon import Silicon

ConverterKind: TypeAlias = Literal["sar", "sense", "flash", "ramp", "cco", "in_array"]
# The most bits that flash converters are built for: each more doubles their comparators.
FLASH_BITS = 5
KINDS: tuple[ConverterKind, ...] = get_args(ConverterKind)


def conversion_fj(
    silicon: Silicon, kind: ConverterKind, bits: float, columns: float = 1.0, rows: float = 1.0
) -> float:
    """Computes the energy of one conversion.

    `columns` share a ramp's counter, `rows` lie on an in-array converter's bitline.
    """
    sense, register = silicon.values["sense_ff"], silicon.values["register_bit_ff"]
    if bits <= 1:
        return silicon.fj(sense)
    if kind == "sar":
        return silicon.fj(
            silicon.values["sar_bit_ff"] * bits + silicon.values["sar_level_ff"] * 4.0**bits
        )
    if kind == "sense":
        return silicon.fj(sense * bits)
    if kind == "flash":
        return silicon.fj(sense * (2.0**bits - 1))
    if kind == "in_array":
        return silicon.fj(bits * (sense + silicon.values["bitline_ff"] * rows))
    share = columns if kind == "ramp" else 1.0
    return silicon.fj(sense * bits + register * (2 * 2.0**bits / share + bits))


def least_conversion_fj(silicon: Silicon, bits: float) -> float:
    """Computes the energy of the cheaper of a SAR and, for few bits, a flash converter."""
    sar = conversion_fj(silicon, "sar", bits)
    return min(sar, conversion_fj(silicon, "flash", bits)) if bits <= FLASH_BITS else sar
