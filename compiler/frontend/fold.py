"""Evaluates nodes whose inputs are all known, so that sizes become numbers."""

from __future__ import annotations

import numpy as np
import onnx

from compiler.errors import ModelError, one_line
from compiler.execute.session import open_session
from compiler.frontend.builder import Builder
from compiler.frontend.constants import has_negative_scale, is_dequantized_constant
from compiler.frontend.host_segment import is_tensor
from compiler.ir.graph import DTYPE_BITS, OPSET, Array, Node
from compiler.ir.protos import attribute_protos

LARGEST_BYTES = 16 << 20  # of one folded output
LARGEST_TOTAL_BYTES = 512 << 20  # of all folded outputs of a model

# Never evaluated: quantization is meaning, not arithmetic, and random numbers differ from run to
# run.
_NEVER_FOLDED = (
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
    "Bernoulli", "Multinomial", "Dropout", "Segment",
)  # fmt: skip
# Their output sizes are known by running only.
_BOUNDED = ("NonZero", "Unique", "Compress", "NonMaxSuppression")


class Folder:
    """Folds the nodes a builder was given last, within limits of size."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.total_bytes = 0

    def fold_from(self, start: int) -> None:
        """Evaluates the nodes from a position on where possible."""
        builder = self.builder
        nodes, builder.nodes[start:] = builder.nodes[start:], []
        for node in nodes:
            if any(name in builder.constants for name in node.inputs):
                builder.types.update(builder.types_of(node))
            results = self._evaluate(node)
            if results is None:
                builder.nodes.append(node)
                continue
            for name, data in zip(node.outputs, results, strict=True):
                if name:
                    builder.set_constant(name, data)

    def _evaluate(self, node: Node) -> list[Array] | None:
        op, inputs = node.op, node.inputs
        builder = self.builder
        if op in ("Shape", "Size") and builder.types[inputs[0]].is_static:
            sizes = builder.types[inputs[0]].sizes
            if op == "Size":
                return [np.array(int(np.prod(sizes, dtype=np.int64)), np.int64)]
            end = node.integer("end", len(sizes))
            return [np.array(sizes[node.integer("start", 0) : end], np.int64)]
        negative = self._is_weight_of_negative_scale(node)
        barred = op in _NEVER_FOLDED and not negative
        if barred or "::" in op or any(n and n not in builder.constants for n in inputs):
            return None
        if not all(is_tensor(builder.types[name]) for name in node.outputs if name):
            return None
        if op not in _BOUNDED and not negative and not self._fits(node.outputs):
            return None
        proto = onnx.NodeProto(name=node.name, op_type=op, input=inputs, output=node.outputs)
        proto.attribute.extend(attribute_protos(node))
        data = {name: np.asarray(builder.constants[name]) for name in inputs if name}
        results = run_node(proto, data)
        if results is not None:
            self.total_bytes += sum(array.nbytes for array in results)
        return results

    def _is_weight_of_negative_scale(self, node: Node) -> bool:
        """Whether integers stand for weights by a negative scale.

        NNCF gives -128 to the largest weight of either sign.

        No engine's format has such scales, and -128 cannot change its sign in 8 bits, so such
        weights become the floats that they stand for.
        """
        constants = self.builder.constants
        return is_dequantized_constant(node, constants) and has_negative_scale(node, constants)

    def _fits(self, outputs: tuple[str, ...]) -> bool:
        """Whether the outputs' sizes are known and within the limits."""
        kinds = [self.builder.types[name] for name in outputs if name]
        if not all(kind.is_static for kind in kinds):
            return False
        sizes = [kind.elements * max(1, DTYPE_BITS.get(kind.dtype, 64) // 8) for kind in kinds]
        return max(sizes) <= LARGEST_BYTES and self.total_bytes + sum(sizes) <= LARGEST_TOTAL_BYTES


def run_node(proto: onnx.NodeProto, data: dict[str, Array]) -> list[Array] | None:
    """Runs one node of the graph's opset on known inputs and returns its outputs.

    None when ONNX Runtime has no kernel for it. Raises ModelError when the inputs are none that the
    operation takes.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    graph = onnx.GraphProto(name="fold", node=[proto])
    for name, array in data.items():
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in proto.output if name)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10
    )
    try:
        session = open_session(model.SerializeToString())
        arrays = [np.array(value.numpy()) for value in session.run_with_ort_values(None, {})]
    except (runtime.InvalidArgument, runtime.RuntimeException) as error:
        raise ModelError(
            f"{proto.op_type} cannot be computed: {one_line(str(error).rpartition(' : ')[2])}",
            code="M004", node=proto.name,
        ) from error  # fmt: skip
    except Exception:  # ONNX Runtime's errors share no base; what has no kernel is left to run time
        return None
    by_name = dict(zip((name for name in proto.output if name), arrays, strict=True))
    return [by_name.get(name, np.zeros(0)) for name in proto.output]
