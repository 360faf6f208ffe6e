"""Finds the memory that holds a value, and computes what transfers take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compiler.cost.step import StepCost, clock_time
from compiler.errors import CapacityError
from compiler.ir.graph import Graph
from compiler.target.chip import Target
from compiler.units import ZERO, Estimate, longest


def home_of(size_bytes: int, target: Target) -> str:
    """Finds the nearest memory that could hold a value of this size.

    Raises CapacityError when none can.
    """
    for name, memory in target.memories.items():
        if size_bytes <= memory.capacity_bytes.value:
            return name
    largest = max(memory.capacity_bytes.value for memory in target.memories.values())
    raise CapacityError(
        f"a value of {size_bytes:,} bytes fits no memory of {target.name}; "
        f"its largest holds {largest:,} bytes",
        hint="take a chip with more memory, or a smaller input",
    )


def weight_home(stored_bytes_before: int, size_bytes: int, target: Target) -> str:
    """Finds the memory that stores a layer's weights between inferences.

    Weights are stored in node order: in the second memory while they fit, else in the last. A chip
    with one memory stores everything there. The first memory is left to activations.
    """
    names = list(target.memories)
    if len(names) == 1:
        return names[0]
    second = target.memories[names[1]]
    if stored_bytes_before + size_bytes <= second.capacity_bytes.value:
        return names[1]
    return names[-1]


def weight_homes(sizes_bytes: Iterable[int], target: Target) -> list[str]:
    """Finds the memories of weights of these sizes, stored in this order.

    Those that go to the last memory take no room of the second.
    """
    homes, stored_bytes = [], 0
    outermost = list(target.memories)[-1]
    for size_bytes in sizes_bytes:
        homes.append(weight_home(stored_bytes, size_bytes, target))
        stored_bytes += size_bytes if homes[-1] != outermost else 0
    return homes


def fewest_weight_bytes(graph: Graph, target: Target) -> int:
    """Computes the least bytes that a graph's constants could take.

    A number takes one byte, or one digit in the cells of an analog array where that is less.
    """
    cells = [unit.cell_storage_bits.value for unit in target.analog_engines.values()]
    bits = min([8, *cells])
    numbers = sum(data.size for data in graph.constants.values())
    return numbers * bits // 8


def require_room(weight_bytes: int, target: Target) -> None:
    """Checks that the chip's memories hold that many bytes of weights, before they are fitted.

    Raises CapacityError when they do not.
    """
    total = sum(memory.capacity_bytes.value for memory in target.memories.values())
    if weight_bytes > total:
        raise CapacityError(
            f"the weights take at least {weight_bytes:,} bytes; "
            f"the memories of {target.name} hold {total:,}",
            hint="take a chip with more memory, prune, or split the model",
        )


def require_room_for_values(graph: Graph, target: Target) -> None:
    """Checks that a memory holds each value at a byte an element, before anything runs the model.

    Raises CapacityError for a value that none holds.
    """
    largest = max(memory.capacity_bytes.value for memory in target.memories.values())
    for name in (*graph.inputs, *graph.producer):
        kind = graph.types[name]
        if not kind.is_static or kind.elements <= largest:
            continue
        node = graph.producer.get(name)
        what = f"{node.op} makes" if node else f"input {name!r} is"
        raise CapacityError(
            f"{what} a value of {kind.elements:,} elements, "
            f"the largest memory of {target.name} holds {largest:,} bytes",
            node=node.name if node else "",
            hint="take a chip with more memory, or a smaller input",
        )


def read_energy(size_bytes: float, home: str, target: Target) -> Estimate:
    """Computes reading bytes: bytes * pJ per byte of the memory."""
    return target.memories[home].read_pj_per_byte.estimate.times(size_bytes)


def write_energy(size_bytes: float, home: str, target: Target) -> Estimate:
    """Computes writing bytes: bytes * pJ per byte of the memory."""
    return target.memories[home].write_pj_per_byte.estimate.times(size_bytes)


def transfer_cycles(size_bytes: float, home: str, target: Target) -> Estimate:
    """Computes a transfer's cycles: set-up and bytes through the memory's port (0 for no bytes)."""
    memory = target.memories[home]
    if not size_bytes:
        return ZERO
    setup = memory.setup_cycles.estimate if memory.setup_cycles else ZERO
    return setup + memory.bytes_per_cycle.estimate.inverse(size_bytes)


def move(
    read_bytes: float, source: str, written_bytes: float, sink: str, target: Target
) -> StepCost:
    """Computes a transfer between memories: the energy of both, the time of the slower port."""
    cycles = longest(
        [transfer_cycles(read_bytes, source, target), transfer_cycles(written_bytes, sink, target)]
    )
    energy = read_energy(read_bytes, source, target) + write_energy(written_bytes, sink, target)
    return StepCost(clock_time(cycles, target.cycle), {"memory": energy})


@dataclass(frozen=True)
class Transfers:
    """What moving a product's values takes: cycles of the busiest port, and energy (pJ)."""

    cycles: Estimate
    energy_pj: Estimate


def product_transfers(
    input_bytes: float,
    reads: float,
    input_home: str,
    output_bytes: float,
    output_home: str,
    target: Target,
) -> Transfers:
    """Computes what a matrix product moves: its input `reads` times over, its output once.

    Each memory's port sets its own pace. An input that lies farther out is brought into the nearest
    memory, line by line, and read again from there, where that takes less.
    """
    near = next(iter(target.memories))
    energy = read_energy(input_bytes * reads, input_home, target)
    ports = {input_home: transfer_cycles(input_bytes * reads, input_home, target)}
    staged = read_energy(input_bytes, input_home, target) + write_energy(input_bytes, near, target)
    staged += read_energy(input_bytes * reads, near, target)
    if input_home != near and staged.value < energy.value:
        energy = staged
        ports = {
            input_home: transfer_cycles(input_bytes, input_home, target),
            near: transfer_cycles(input_bytes * (1 + reads), near, target),
        }
    written = transfer_cycles(output_bytes, output_home, target)
    ports[output_home] = ports.get(output_home, ZERO) + written
    energy += write_energy(output_bytes, output_home, target)
    return Transfers(longest(list(ports.values())), energy)
