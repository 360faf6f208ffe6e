"""What does not belong together in one node is refused by name at import, where ONNX's own
inference lets it pass.
"""

from __future__ import annotations

import pytest
from onnx import parser

from compiler.errors import ModelError
from compiler.frontend.import_onnx import import_onnx

# Each with a word that is exchanged for another, and what is then said.
CONV = (
    "(float[1,4,6,6] x, float[8,4,3,3] w, float[8] b) "
    "=> (float[N,M,O,P] y) {y = Conv <kernel_shape=[3,3], group=1> (x, w, b)}"
)
INTEGERS = "(uint8[1,4,6,6] x, uint8[8,4,3,3] w) => (int32[N,M,O,P] y) {y = ConvInteger(x, w)}"
GEMM = "(float[2,3] a, float[3,5] b, float[5] c) => (float[N,M] y) {y = Gemm(a, b, c)}"
LAYER = (
    "(float[2,4] x, float[4] s, float[1] b) "
    "=> (float[2,4] y) {y = LayerNormalization<axis=-1>(x, s, b)}"
)
RMS = "(float[2,4] x, float[4] s) => (float[2,4] y) {y = RMSNormalization(x, s)}"
INSTANCE = (
    "(float[1,4,3,3] x, float[4] s, float[4] b) "
    "=> (float[1,4,3,3] y) {y = InstanceNormalization(x, s, b)}"
)
GROUP = (
    "(float[1,4,3,3] x, float[4] s, float[4] b) "
    "=> (float[1,4,3,3] y) {y = GroupNormalization<num_groups=2>(x, s, b)}"
)
LSTM = """(float[5,1,3] x, float[1,8,3] w, float[1,8,2] r, float[1,16] b, float[1,1,2] h) => \
(float[A,B,C,D] y)
    {y = LSTM<hidden_size=2>(x, w, r, b, , h)}"""
GRU = (
    "(float[5,1,3] x, float[2,6,3] w, float[2,6,2] r) "
    '=> (float[A,B,C,D] y) {y = GRU<direction="bidirectional", hidden_size=2>(x, w, r)}'
)
RNN = (
    "(float[5,1,3] x, float[1,2,3] w, float[1,2,2] r) "
    "=> (float[A,B,C,D] y) {y = RNN<hidden_size=2>(x, w, r)}"
)
TAKE = "(float[2,3] x) => (float[N,M] y) <int64[1,1] i = {1}> {y = GatherElements<axis=0>(x, i)}"
PUT = (
    "(float[2,3] x, float[1,1] u) => (float[2,3] y) <int64[1,1] i = {-2}> "
    "{y = ScatterElements<axis=0>(x, i, u)}"
)
TAKE_ND = "(float[2,3] x) => (float[N,M] y) <int64[1,1] i = {-1}> {y = GatherND(x, i)}"
PUT_ND = (
    "(float[2,3] x, float[1,3] u) => (float[2,3] y) <int64[1,1] i = {1}> {y = ScatterND(x, i, u)}"
)
PRELU = "(float[1,4,3,3] x, float[4,1,1] s) => (float[1,4,3,3] y) {y = PRelu(x, s)}"
EINSUM = '(float[2,3] a, float[3,5] b) => (float[N,M] y) {y = Einsum<equation="ij,jk->ik">(a, b)}'
DEPTH = "(float[1,4,2,2] x) => (float[A,B,C,D] y) {y = DepthToSpace<blocksize=2>(x)}"
SPACE = "(float[1,1,4,4] x) => (float[A,B,C,D] y) {y = SpaceToDepth<blocksize=2>(x)}"
POOL = "(float[1,2,3] x) => (float[A,B,C] y) {y = GlobalAveragePool(x)}"
CLIP = "(float[2] x) => (float[2] y) <float[1] l = {0}> {y = Clip(x, l)}"
SCALES = (
    "(float[2,6] x, float[6] s, uint8[6] z) => (uint8[2,6] y) {y = QuantizeLinear<axis=1>(x, s, z)}"
)
BLOCKS = (
    "(uint8[2,6] x, float[2,2] s) => (float[2,6] y) "
    "{y = DequantizeLinear<axis=1, block_size=3>(x, s)}"
)
HEADS = (
    "(float[1,4,6] q, float[1,4,6] k, float[1,4,6] v) "
    "=> (float[A,B,C] y) {y = Attention<q_num_heads=2, kv_num_heads=2>(q, k, v)}"
)
RUNNING = "(float[2,3] x) => (float[N,M] y) <int64 a = {1}> {y = CumSum(x, a)}"


@pytest.mark.parametrize(
    ("text", "was", "now", "words"),
    [
        (
            CONV, "[1,4,6,6]", "[1,1,6,6]",
            "an input of 1 channels does not go with weights of shape",
        ),
        (CONV, "group=1", "group=2", "in groups of 2"),
        (CONV, "group=1", "group=0", "it has 0 groups"),
        (CONV, "[8,4,3,3]", "[8,4,3]", "does not go with weights of shape"),
        (CONV, "[3,3]", "[3,2]", "kernel_shape (3, 2) is not that of"),
        (
            CONV, "float[8] b", "float[7] b",
            "a bias of shape [7] does not go with 8 output channels",
        ),
        (CONV, "[1,4,6,6]", "[1,4,2,6]", "its result would be of shape [1, 8, 0, 4]"),
        (INTEGERS, "[1,4,6,6]", "[1,3,6,6]", "an input of 3 channels does not go with weights"),
        (GEMM, "[5] c", "[4] c", "a bias of shape [4] does not go with a product of shape [2, 5]"),
        (LAYER, "[4] s", "[3] s", "a scale of shape [3] does not go with a value of shape [2, 4]"),
        (LAYER, "[1] b", "[3] b", "a bias of shape [3] does not go with a value of shape [2, 4]"),
        (LAYER, "-1", "3", "axis 3 is none of a value of 2 axes"),
        (RMS, "[4] s", "[3] s", "a scale of shape [3] does not go with a value of shape [2, 4]"),
        (INSTANCE, "[4] b", "[3] b", "a bias of shape [3] does not go with 4 channels"),
        (GROUP, "[4] s", "[3] s", "a scale of shape [3] does not go with 4 channels"),
        (GROUP, "num_groups=2", "num_groups=3", "4 channels do not make 3 groups"),
        (LSTM, "[1,8,3] w", "[1,8,4] w", "it has weights W of shape [1, 8, 4], wanted [1, 8, 3]"),
        (LSTM, "[1,16] b", "[1,15] b", "it has a bias B of shape [1, 15], wanted [1, 16]"),
        (
            LSTM, "[1,1,2] h", "[1,2,2] h",
            "it has an initial_h of shape [1, 2, 2], wanted [1, 1, 2]",
        ),
        (
            GRU, "[2,6,2] r", "[1,6,2] r",
            "it has recurrence weights R of shape [1, 6, 2], wanted [2, 6, 2]",
        ),
        (
            RNN, "hidden_size=2", "hidden_size=3",
            "it has weights W of shape [1, 2, 3], wanted [1, 3, 3]",
        ),
        (TAKE, "{1}", "{2}", "index 2 lies outside of axis 0, which has 2"),
        (TAKE, "[1,1] i", "[1] i", "indices of shape [1] do not go with data of 2 axes"),
        (PUT, "{-2}", "{-3}", "index -3 lies outside of axis 0, which has 2"),
        (
            PUT, "[1,1] u", "[1,2] u",
            "updates of shape [1, 2] do not go with indices of shape [1, 1]",
        ),
        (TAKE_ND, "{-1}", "{-3}", "index -3 lies outside of axis 0, which has 2"),
        (PUT_ND, "[1,3] u", "[1,4] u", "updates are of shape [1, 4], wanted [1, 3]"),
        (PUT_ND, "{1}", "{2}", "index 2 lies outside of axis 0, which has 2"),
        (PRELU, "[4,1,1] s", "[5,1,1] s", "a slope of shape [5, 1, 1] does not go with data"),
        (EINSUM, "[3,5] b", "[4,5] b", "in 'ij,jk->ik' 'j' is 3 and 4"),
        (DEPTH, "[1,4,2,2]", "[1,6,2,2]", "in a value of shape [1, 6, 2, 2] 6 is no multiple of 4"),
        (SPACE, "[1,1,4,4]", "[1,1,4,3]", "in a value of shape [1, 1, 4, 3] 3 is no multiple of 2"),
        (POOL, "[1,2,3] x", "[1,2] x", "a value of shape [1, 2] has nothing behind its channels"),
        (CLIP, "[1] l = {0}", "[2] l = {0, 1}", "a bound is of shape [2], wanted one number"),
        (SCALES, "[6] z", "[5] z", "its zero points are of shape [5], its scales of [6]"),
        (SCALES, "[6] s", "[2,6] s", "its zero points are of shape [6], its scales of [2, 6]"),
        (
            BLOCKS, "block_size=3", "block_size=2",
            "scales are of shape [2, 2], wanted [2, 3] for blocks of 2",
        ),
        (BLOCKS, ", block_size=3", "", "do not go with data of shape [2, 6] without a block_size"),
        (HEADS, "q_num_heads=2", "q_num_heads=4", "queries of size 6 do not make 4 heads"),
        (RUNNING, "{1}", "{4}", "axis 4 is none of a value of 2 axes"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together(text: str, was: str, now: str, words: str) -> None:
    head = '<ir_version: 10, opset_import: ["" : 23]> g '
    import_onnx(parser.parse_model(head + text))
    with pytest.raises(ModelError) as caught:
        import_onnx(parser.parse_model(head + text.replace(was, now)))
    assert caught.value.code == "M004"
    assert words in str(caught.value)
    assert caught.value.node


@pytest.mark.parametrize(
    "text",
    [
        "(float[2,3] x, float[1,3] s) => (float[2,3] y) {y = LayerNormalization(x, s)}",
        "(float[2,3] x, float[2,3] s) => (float[2,3] y) {y = LayerNormalization(x, s)}",
        "(float x, float[1] s) => (float y) {y = PRelu(x, s)}",
    ],
)
def test_what_onnx_runtime_spreads_is_no_misfit(text: str) -> None:
    import_onnx(parser.parse_model(f'<ir_version: 10, opset_import: ["" : 23]> g {text}'))
