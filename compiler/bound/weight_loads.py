"""Computes the least that loading weights adds, with engines holding what saves most."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.bound.candidates import BoundCandidate
from compiler.target.chip import Analog, Target
from compiler.target.digital import Digital


def least_load_pj(candidates: Sequence[Sequence[BoundCandidate]], target: Target) -> float:
    """Computes the least that loading weights adds (pJ).

    All weights from the dearest memory, less the most that nearer places can save.
    """
    homes = list(target.memories)[1:] or list(target.memories)
    dearest = max(homes, key=lambda home: target.memories[home].read_pj_per_byte.value)
    layers = [found for found in candidates if any(candidate.load_pj for candidate in found)]
    resident = [min(candidate.energy_pj for candidate in found) for found in layers]
    base = [_least_with_load(found, dearest) for found in layers]
    bits = [
        min(candidate.weight_bits for candidate in found if candidate.load_pj) for found in layers
    ]
    saved = _most_saved(base, resident, bits, _resident_bits(target))
    for home in homes:
        if home != dearest:
            near = [_least_with_load(found, home) for found in layers]
            room = 8.0 * target.memories[home].capacity_bytes.value
            saved += _most_saved(base, near, bits, room)
    return max(0.0, sum(base) - sum(resident) - saved)


def _least_with_load(found: Sequence[BoundCandidate], home: str) -> float:
    return min(candidate.energy_pj + candidate.load_pj.get(home, 0.0) for candidate in found)


def _most_saved(
    base: list[float], better: list[float], bits: list[float], room_bits: float
) -> float:
    """Computes the most that room for some of the layers can save.

    The best saving a bit comes first, the last layer by its fraction.
    """
    gains = sorted(
        ((before - after, size) for before, after, size in zip(base, better, bits, strict=True)),
        key=lambda item: -item[0] / max(item[1], 1.0),
    )
    saved = 0.0
    for gain, size in gains:
        if gain <= 0 or room_bits <= 0:
            break
        saved += gain * min(1.0, room_bits / max(size, 1.0))
        room_bits -= size
    return saved


def _resident_bits(target: Target) -> float:
    """Counts the bits of weights that the engines can hold between inferences."""
    resident = 0.0
    for unit in target.chip.engines.values():
        if isinstance(unit, Analog):
            cells = unit.arrays.value * unit.rows.value * unit.columns.value
            resident += cells * unit.cell_storage_bits.value
        elif isinstance(unit, Digital):
            resident += 8.0 * unit.weight_memory_bytes
    return resident
