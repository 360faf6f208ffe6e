"""Computes what the host processor takes: cycles by kind of operation, at its energy per cycle.

cycles = MACs * c_mac + elements * c_element + function values * c_function
"""

from __future__ import annotations

from compiler.cost.memory import read_energy, write_energy
from compiler.cost.step import StepCost, clock_time
from compiler.target.chip import Host, Target

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


def host_cost(
    macs: int,
    elements: int,
    functions: int,
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
    mac, element, function = (
        host.cycles_per_mac.estimate,
        host.cycles_per_element.estimate,
        host.cycles_per_function.estimate,
    )
    cycles = mac.times(macs) + element.times(elements) + function.times(functions)
    memory = read_energy(input_bytes, input_home, target) + write_energy(
        output_bytes, output_home, target
    )
    parts = {"host": cycles * per_cycle, "memory": memory}
    return StepCost(clock_time(cycles, target.cycle), parts)
