"""A convolution whose sizes do not belong together is refused by name, before a pass meets it."""

from __future__ import annotations

import pytest
from onnx import parser

from compiler.errors import ModelError
from compiler.onnx_import import import_onnx

MODEL = """<ir_version: 8, opset_import: ["" : 17]> g (float[1,4,6,6] x, float[8,4,3,3] w, float[8] b) => (float[N,M,O,P] y)
    {y = Conv <kernel_shape=[3,3], group=1> (x, w, b)}"""  # fmt: skip


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ("[1,4,6,6]", "[1,1,6,6]", "an input of 1 channels does not go with weights of shape"),
        ("group=1", "group=2", "in groups of 2"),
        ("group=1", "group=0", "it has 0 groups"),
        ("[8,4,3,3]", "[8,4,3]", "does not go with weights of shape"),
        ("[3,3]", "[3,2]", "kernel_shape (3, 2) is not that of"),
        ("float[8] b", "float[7] b", "a bias of shape [7] does not go with 8 output channels"),
    ],
)
def test_sizes_that_do_not_fit(was: str, now: str, words: str) -> None:
    import_onnx(parser.parse_model(MODEL).SerializeToString())
    with pytest.raises(ModelError) as caught:
        import_onnx(parser.parse_model(MODEL.replace(was, now)).SerializeToString())
    assert caught.value.code == "M004"
    assert words in str(caught.value)
