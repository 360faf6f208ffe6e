"""Lists the operations that a vector unit may have, by its arithmetic; it loads nothing else."""

from __future__ import annotations

# One float value in, one out: in integers a table of 256 entries.
UNARY = (
    "Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu", "Gelu",
    "Softplus", "Softsign", "Erf", "Exp", "Sqrt", "Abs", "Neg", "Mish", "Celu", "Selu",
    "ThresholdedRelu",
)  # fmt: skip
# What a vector unit that computes in floats may have; see backends.simulator.float_kernels.
FLOAT_VECTOR = (
    "Add", "Sub", "Mul", "Div", "Max", "Min", "Abs", "Neg", "Sqrt", "Exp", "Relu", "LeakyRelu",
    "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "MaxPool", "AveragePool",
    "GlobalAveragePool",
)  # fmt: skip
# What a vector unit that computes in int8 may have; Requantize changes the scale of integers.
INTEGER_VECTOR = (
    "Add", "Mul", "MaxPool", "AveragePool", "GlobalAveragePool", "Requantize", *UNARY,
)  # fmt: skip
