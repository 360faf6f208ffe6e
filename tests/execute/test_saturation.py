"""Products of unsigned by signed bytes are what ONNX says, whatever the processor does."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.execute import session
from compiler.execute.saturation import has_products, with_unsigned_weights

FULL = np.full((1, 64), 255, np.uint8)  # 255 * 127 twice is more than 16 bits hold
WEIGHTS = np.full((64, 16), 127, np.int8)


def model(nodes: list[onnx.NodeProto], *constants: tuple[str, object]) -> bytes:
    """A model of x: uint8[1, 64] and y with these nodes."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 16])],
        [numpy_helper.from_array(np.asarray(data), name) for name, data in constants],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    data: bytes = made.SerializeToString()
    return data


def product(*inputs: str) -> onnx.NodeProto:
    return helper.make_node("MatMulInteger", list(inputs), ["y"])


@pytest.mark.parametrize("zero_point", [None, 0, -128, 5])
def test_a_product_is_exact(zero_point: int | None) -> None:
    names = ("x", "w") if zero_point is None else ("x", "w", "", "z")
    constants: list[tuple[str, object]] = [("w", WEIGHTS)]
    if zero_point is not None:
        constants.append(("z", np.int8(zero_point)))
    (found,) = session.open_session(model([product(*names)], *constants)).run(None, {"x": FULL})
    assert np.all(found == 64 * 255 * (127 - (zero_point or 0)))


def test_the_rewritten_model_is_the_same_everywhere() -> None:
    """Also where the processor does not saturate: the rewriting itself changes no number."""
    given = model([product("x", "w")], ("w", WEIGHTS))
    exact = with_unsigned_weights(given)
    assert exact != given
    onnx.checker.check_model(onnx.ModelProto.FromString(exact))
    (found,) = session.open_session(exact).run(None, {"x": FULL})
    assert np.all(found == 64 * 255 * 127)


def test_what_needs_nothing_stays() -> None:
    unsigned = model([product("x", "w")], ("w", WEIGHTS.astype(np.uint8)))
    assert with_unsigned_weights(unsigned) is unsigned
    assert not has_products(b"MatMul")
