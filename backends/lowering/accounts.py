"""Adds up a plan's accounts: energy, MACs, how full the arrays are, operations per joule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from backends.lowering.form_steps import StepDraft, mapping_of
from compiler.cost.efficiency import tops_per_watt
from compiler.cost.step import PARTS, StepCost
from compiler.figures import share
from compiler.ir.mapping import AnalogMapping, DigitalMapping, Resource
from compiler.plan.schema import Efficiency, Energy, Load, Macs, PlanEnergy, Step, Use
from compiler.target.chip import Analog, Target
from compiler.target.digital import Digital
from compiler.units import ZERO, Estimate, total


def energy_of(cost: StepCost) -> Energy:
    """Converts a step's cost to its energy with its parts."""
    parts = {name: part.plain for name, part in cost.parts.items()}
    return Energy(total=cost.energy_pj.plain, parts=parts)


def assumed_energy_pj(costs: Sequence[StepCost]) -> float:
    """Adds up the energy that rests on numbers of the chip file without a source.

    That is everything that an assumption is multiplied with: an assumed energy or power, and any
    energy over an assumed time or in an assumed number of cycles.
    """
    return sum(cost.energy_pj.assumed for cost in costs)


def plan_energy(steps: Sequence[Step], target: Target) -> PlanEnergy:
    """Adds up the energy of one inference: every part over the steps, and the parts over PARTS.

    A chip without links has no part for them.
    """
    parts = {
        part: total([step.energy_pj.parts.get(part, ZERO) for step in steps])
        for part in PARTS
        if part != "link" or target.links
    }
    by_engine = {
        name: total([step.energy_pj.total for step in steps if step.engine == name])
        for name in target.chip.engines
    }
    return PlanEnergy(total=total(list(parts.values())), parts=parts, by_engine=by_engine)


def macs_of(steps: Sequence[Step], engines: Sequence[str], before: int | None) -> Macs:
    """Adds up multiply-accumulates before and after pruning, and by engine."""
    by_engine = {name: sum(step.macs for step in steps if step.engine == name) for name in engines}
    return Macs(before=before, after=sum(by_engine.values()), by_engine=by_engine)


def use_of(draft: StepDraft) -> Use | None:
    """Computes how much of the arrays a product uses.

    That is cells of its analog tiles, or multiplier cycles of its digital blocks.
    """
    node = draft.main
    if node is None or len(draft.nodes) > 1:
        return None
    mapping = mapping_of(node)
    if isinstance(mapping, AnalogMapping):
        return Use(used=mapping.used_cells, total=mapping.array_cells, unit="cells")
    if isinstance(mapping, DigitalMapping) and mapping.tiling is not None:
        tiling = mapping.tiling
        return Use(used=tiling.shape.macs, total=tiling.lane_steps, unit="multiplier cycles")
    return None


def utilization(steps: Sequence[Step]) -> dict[str, Use]:
    """Adds up the use of each engine's arrays over all its products."""
    result: dict[str, Use] = {}
    for step in steps:
        use = step.utilization
        if use is not None:
            before = result.get(step.engine, Use(used=0, total=0, unit=use.unit))
            result[step.engine] = Use(
                used=before.used + use.used, total=before.total + use.total, unit=use.unit
            )
    return result


def resident_use(drafts: Sequence[StepDraft], target: Target) -> dict[str, Use]:
    """Adds up what weights that stay between inferences take of each engine.

    That is columns of arrays, or bytes of weight memory.
    """
    used: Counter[Resource] = Counter()
    for draft in drafts:
        mapping = mapping_of(draft.main) if draft.main and len(draft.nodes) == 1 else None
        if mapping is not None and mapping.resident:
            used.update(mapping.uses)
    result = {}
    for name, unit in target.chip.engines.items():
        if isinstance(unit, Analog):
            columns = used[Resource(name, "columns")]
            result[name] = Use(used=columns, total=unit.total_columns, unit="columns")
        elif isinstance(unit, Digital) and unit.array is not None:
            taken = used[Resource(name, "weight_bytes")]
            result[name] = Use(used=taken, total=unit.weight_memory_bytes, unit="bytes")
    return result


def one_time_load(drafts: Sequence[StepDraft], loads: Sequence[StepCost]) -> Load:
    """Adds up loading the resident weights before the first inference."""
    once = [
        load
        for draft, load in zip(drafts, loads, strict=True)
        if draft.main is not None and mapping_of(draft.main).resident
    ]
    return Load(
        energy_pj=total([load.energy_pj for load in once]).plain,
        latency_ns=sum(load.latency_ns for load in once),
    )


def efficiency(steps: Sequence[Step], energy: PlanEnergy, target: Target) -> dict[str, Efficiency]:
    """Computes TOPS/W of the analog array alone and of the whole inference.

    The array is its cells, drivers, converters and recombination.
    """
    array = _array_efficiency(steps, target)
    macs = sum(step.macs for step in steps)
    system = Efficiency(
        value=_tops_per_watt(macs, energy.total),
        scope="one inference: every step, memories, host and static power",
        at=_formats(steps, target),
    )
    return {"system": system} if array is None else {"array": array, "system": system}


def _array_efficiency(steps: Sequence[Step], target: Target) -> Efficiency | None:
    engines = target.analog_engines
    if not engines:
        return None
    mine = [step for step in steps if step.engine in engines]
    spent = total(
        [
            step.energy_pj.parts.get(part, ZERO)
            for part in ("compute", "conversion")
            for step in mine
        ]
    )
    used = {step.engine for step in mine} or set(list(engines)[:1])
    formats = [
        _analog_format(
            unit, max((step.weight_slices for step in mine if step.engine == name), default=1)
        )
        for name, unit in engines.items()
        if name in used
    ]
    return Efficiency(
        value=_tops_per_watt(sum(step.macs for step in mine), spent),
        scope="the analog array: cells, row drivers, converters, recombination",
        at="; ".join(formats),
    )


def _tops_per_watt(macs: int, energy: Estimate) -> Estimate | None:
    """Computes TOPS/W; None where nothing was computed or no energy was taken."""
    return tops_per_watt(macs, energy) if macs and energy.low else None


def _analog_format(unit: Analog, digits: int) -> str:
    cells = f"{unit.cell_levels.value}-level cells"
    several = f", up to {digits} a weight" if digits > 1 else ", one a weight"
    serial = f" in {unit.steps} steps" if unit.steps > 1 else ""
    return (
        f"{unit.input_bits.value}-bit inputs{serial}, {cells}{several}, "
        f"{unit.converter_bits.value}-bit converter"
    )


def _formats(steps: Sequence[Step], target: Target) -> str:
    """Lists the number formats of the MACs, each with its share."""
    macs: Mapping[str, int] = {
        name: sum(step.macs for step in steps if step.engine == name)
        for name in target.chip.engines
    }
    everything = sum(macs.values())
    if not everything:
        return "no multiply-accumulates"
    words = []
    for name, count in macs.items():
        if not count:
            continue
        unit = target.chip.engines[name]
        if isinstance(unit, Analog):
            digits = max(step.weight_slices for step in steps if step.engine == name)
            form = _analog_format(unit, digits)
        else:
            form = "8-bit integers" if isinstance(unit, Digital) else "as the model has them"
        words.append(f"{share(count, everything)} of the MACs on {name} ({form})")
    return "; ".join(words)
