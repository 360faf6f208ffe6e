"""The 8-bit format that a model itself gives a float value, where it does."""

from __future__ import annotations

from compiler.ir.graph import Graph, Quant


def given_format(value: str, graph: Graph) -> Quant | None:
    """Finds the format of the integers a value is dequantized from, or is first quantized to.

    None where it has neither.
    """
    made = graph.producer.get(value)
    if made is not None and made.op == "DequantizeLinear":
        return _per_tensor(made.inputs[0], graph)
    for reader in graph.consumers.get(value, ()):
        if reader.op == "QuantizeLinear" and reader.inputs[0] == value:
            return _per_tensor(reader.outputs[0], graph)
    return None


def _per_tensor(integers: str, graph: Graph) -> Quant | None:
    quant = graph.types[integers].quant
    return quant if quant is not None and len(quant.scale) == 1 and quant.bits <= 8 else None
