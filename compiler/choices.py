"""Names the choices a compilation may be asked for, and the limits it has when nobody asks."""

from __future__ import annotations

from typing import Literal, TypeAlias

Objective: TypeAlias = Literal["energy", "latency", "edp"]  # edp: energy times latency
Weights: TypeAlias = Literal["auto", "resident", "reload"]
PruneMethod: TypeAlias = Literal["second-order", "magnitude"]
Precision: TypeAlias = Literal["integer", "float"]
# A pattern of node names and the engine for what matches it; of several the first that matches
# counts.
Place: TypeAlias = tuple[tuple[str, str], ...]

MAX_NODES = 1_000_000
MAX_TENSOR_BYTES = 8 << 30
# What Loops and Scans of a node may do in a run, in executed nodes: some seconds of ONNX Runtime.
MAX_LOOP_WORK = 2_000_000
# The engines of a chip file that `targets new` writes.
AnalogCells: TypeAlias = Literal["sram", "reram", "pcm", "flash", "mram", "none"]
DigitalUnits: TypeAlias = Literal["vector", "array", "in-memory", "none"]
