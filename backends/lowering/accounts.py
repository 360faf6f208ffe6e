"""Adds up a plan's books: energy, MACs, how full the arrays are, operations per joule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backends.lowering.form_steps import StepDraft
from backends.lowering.layout import cells_of
from compiler.cost.efficiency import tops_per_watt
from compiler.cost.step import PARTS, StepCost
from compiler.engines.mapping import digital_layout, line_of
from compiler.ir.graph import Graph
from compiler.ir.ops import product_shape
from compiler.plan.schema import Efficiency, Energy, Load, Macs, PlanEnergy, Step, Use
from compiler.target.chip import Analog, Target
from compiler.target.digital import Digital
from compiler.units import ZERO, Estimate, total


def energy_of(cost: StepCost) -> Energy:
    """A step's energy with its parts."""
    return Energy(total=cost.energy_pj, parts=dict(cost.parts))


def plan_energy(steps: Sequence[Step], engines: Sequence[str]) -> PlanEnergy:
    """The energy of one inference: every part summed over the steps, and the parts over PARTS."""
    parts = {
        part: total([step.energy_pj.parts.get(part, ZERO) for step in steps]) for part in PARTS
    }
    by_engine = {
        name: total([step.energy_pj.total for step in steps if step.engine == name])
        for name in engines
    }
    return PlanEnergy(
        total=total([parts[part] for part in PARTS]), parts=parts, by_engine=by_engine
    )


def macs_of(steps: Sequence[Step], engines: Sequence[str], before: int | None) -> Macs:
    """Multiply-accumulates before and after, and by engine."""
    by_engine = {name: sum(step.macs for step in steps if step.engine == name) for name in engines}
    return Macs(before=before, after=sum(by_engine.values()), by_engine=by_engine)


def use_of(draft: StepDraft, graph: Graph, target: Target) -> Use | None:
    """How much of the arrays a product uses: cells of its analog tiles, or multiplier cycles of its digital blocks."""
    node = draft.main
    shape = product_shape(node, graph) if node is not None and len(draft.nodes) == 1 else None
    if node is None or shape is None:
        return None
    unit = target.chip.engines[draft.engine]
    if isinstance(unit, Analog):
        layout = cells_of(node, graph, unit)
        assert layout is not None
        return Use(used=layout.used_cells, total=layout.array_cells, unit="cells")
    if isinstance(unit, Digital) and unit.array is not None:
        blocks = digital_layout(shape, line_of(node, graph), unit.array)
        total = blocks.lane_steps(unit.array)
        return Use(used=shape.macs, total=total, unit="multiplier cycles")
    return None


def utilization(steps: Sequence[Step]) -> dict[str, Use]:
    """The use of each engine's arrays over all its products."""
    result: dict[str, Use] = {}
    for step in steps:
        use = step.utilization
        if use is not None:
            before = result.get(step.engine, Use(used=0, total=0, unit=use.unit))
            result[step.engine] = Use(
                used=before.used + use.used, total=before.total + use.total, unit=use.unit
            )
    return result


def resident_use(drafts: Sequence[StepDraft], graph: Graph, target: Target) -> dict[str, Use]:
    """What the weights that stay between inferences take of each engine: columns of arrays, bytes of weight memory."""
    used: dict[str, int] = {}
    for draft in drafts:
        node = draft.main
        if node is None or node.placement is None or not node.placement.resident:
            continue
        shape, unit = product_shape(node, graph), target.chip.engines[draft.engine]
        if shape is None or len(draft.nodes) > 1:
            continue
        if isinstance(unit, Analog):
            layout = cells_of(node, graph, unit)
            assert layout is not None
            used[draft.engine] = used.get(draft.engine, 0) + layout.columns_kept
        elif isinstance(unit, Digital) and unit.array is not None:
            bytes_kept = digital_layout(shape, line_of(node, graph), unit.array).weight_bytes_kept
            used[draft.engine] = used.get(draft.engine, 0) + bytes_kept
    result = {}
    for name, unit in target.chip.engines.items():
        if isinstance(unit, Analog):
            result[name] = Use(used=used.get(name, 0), total=unit.total_columns, unit="columns")
        elif isinstance(unit, Digital) and unit.array is not None:
            capacity = unit.weight_memory_bytes
            result[name] = Use(used=used.get(name, 0), total=capacity, unit="bytes")
    return result


def one_time_load(drafts: Sequence[StepDraft], loads: Sequence[StepCost]) -> Load:
    """Loading the resident weights before the first inference."""
    once = [
        load
        for draft, load in zip(drafts, loads, strict=True)
        if draft.main is not None
        and draft.main.placement is not None
        and draft.main.placement.resident
    ]
    return Load(
        energy_pj=total([load.energy_pj for load in once]),
        latency_ns=sum(load.latency_ns for load in once),
    )


def efficiency(steps: Sequence[Step], energy: PlanEnergy, target: Target) -> dict[str, Efficiency]:
    """TOPS/W of the analog array alone (its cells, drivers, converters and recombination) and of the whole inference."""
    array = _array_efficiency(steps, target)
    macs = sum(step.macs for step in steps)
    system = Efficiency(
        value=_tops_per_watt(macs, energy.total),
        scope="one inference: every step, memories, host and static power",
        at=_formats(steps, target),
    )
    return {"system": system} if array is None else {"array": array, "system": system}


def _array_efficiency(steps: Sequence[Step], target: Target) -> Efficiency | None:
    if not target.analog_engines:
        return None
    name, unit = next(iter(target.analog_engines.items()))
    mine = [step for step in steps if step.engine == name]
    spent = total(
        [
            step.energy_pj.parts.get(part, ZERO)
            for part in ("compute", "conversion")
            for step in mine
        ]
    )
    digits = max((step.digits for step in mine), default=1)
    return Efficiency(
        value=_tops_per_watt(sum(step.macs for step in mine), spent),
        scope="the analog array: cells, row drivers, converters, recombination",
        at=_analog_format(unit, digits),
    )


def _tops_per_watt(macs: int, energy: Estimate) -> Estimate | None:
    """None where nothing was done or nothing spent."""
    return tops_per_watt(macs, energy) if macs and energy.low else None


def _analog_format(unit: Analog, digits: int) -> str:
    cells = f"{unit.cell_levels.value}-level cells"
    several = f", up to {digits} a weight" if digits > 1 else ", one a weight"
    serial = f" in {unit.steps} steps" if unit.steps > 1 else ""
    return f"{unit.input_bits.value}-bit inputs{serial}, {cells}{several}, {unit.converter_bits.value}-bit converter"


def _formats(steps: Sequence[Step], target: Target) -> str:
    """The number formats of the MACs, each with its share."""
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
            digits = max(step.digits for step in steps if step.engine == name)
            form = _analog_format(unit, digits)
        else:
            form = "8-bit integers" if isinstance(unit, Digital) else "as the model has them"
        words.append(f"{100 * count / everything:.1f} % of the MACs on {name} ({form})")
    return "; ".join(words)
