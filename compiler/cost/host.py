"""Computes what the host processor takes: cycles by kind of operation, at its energy per cycle.

    cycles = MACs * c_mac + elements * c_element + function values * c_function

and where the chip gives cycles by kind of layer

    cycles = scale * (start + W)
    W = MACs * c_kind                                    of a product
      = elements in windows * c_pooled                   of a pool
      = elements * c_element + function values * c_function    else
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.cost.layer_kind import LayerKind
from compiler.cost.memory import read_energy, write_energy
from compiler.cost.step import StepCost, clock_time
from compiler.target.chip import Host, Target
from compiler.target.layers import LayerCycles
from compiler.units import Estimate

# Operations whose every element is an exponential, a logarithm or the like.
FUNCTIONS = frozenset(
    [
        "Exp",
        "Log",
        "Sin",
        "Cos",
        "Tan",
        "Asin",
        "Acos",
        "Atan",
        "Sinh",
        "Cosh",
        "Tanh",
        "Asinh",
        "Acosh",
        "Atanh",
        "Sigmoid",
        "Softmax",
        "LogSoftmax",
        "Softplus",
        "Erf",
        "Gelu",
        "Pow",
        "Mish",
        "Elu",
        "Selu",
        "Celu",
        "HardSwish",
        "Sqrt",
        "Reciprocal",
        "LayerNormalization",
        "LSTM",
        "GRU",
        "RNN",
    ]
)


@dataclass(frozen=True)
class HostWork:
    """What an operation does on the host; `pooled` are the elements in the windows of a pool."""

    macs: int = 0
    elements: int = 0
    functions: int = 0
    pooled: int = 0
    kind: LayerKind | None = None


def host_cycles(work: HostWork, host: Host) -> Estimate:
    """Computes the cycles of one operation on the host."""
    if host.layers is not None:
        return _cycles_by_kind(work, host, host.layers)
    return host.cycles_per_mac.estimate.times(work.macs) + _cycles_by_element(work, host)


def _cycles_by_element(work: HostWork, host: Host) -> Estimate:
    return host.cycles_per_element.estimate.times(
        work.elements
    ) + host.cycles_per_function.estimate.times(work.functions)


def _cycles_by_kind(work: HostWork, host: Host, layers: LayerCycles) -> Estimate:
    """Computes the cycles of an operation where the chip gives them by kind of layer."""
    cycles = layers.cycles_per_start.estimate
    per_mac = {
        "convolution": layers.cycles_per_convolution_mac,
        "narrow": layers.cycles_per_narrow_mac,
        "depthwise": layers.cycles_per_depthwise_mac,
        "dense": layers.cycles_per_dense_mac,
    }
    if work.kind == "pool":
        cycles += layers.cycles_per_pooled_element.estimate.times(work.pooled)
    elif work.kind is not None:
        cycles += per_mac[work.kind].estimate.times(work.macs)
    else:
        cycles += host.cycles_per_mac.estimate.times(work.macs) + _cycles_by_element(work, host)
    return cycles * layers.cycle_scale.estimate


def host_cost(
    work: HostWork,
    input_bytes: float,
    output_bytes: float,
    input_home: str,
    output_home: str,
    host: Host,
    target: Target,
) -> StepCost:
    """Computes one operation on the host.

    The interval is that of cycles times that of the energy per cycle.
    """
    per_cycle = host.cycle_pj.estimate
    cycles = host_cycles(work, host)
    memory = read_energy(input_bytes, input_home, target) + write_energy(
        output_bytes, output_home, target
    )
    parts = {"host": cycles * per_cycle, "memory": memory}
    return StepCost(clock_time(cycles, target.cycle), parts)
