"""Work inside of nodes counts as the same work written in the open."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

import joulec
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.multiply_accumulates import Call, UnknownSizeError, multiply_accumulates
from compiler.ir.ops import macs, why_not_counted

CONV = 16 * 8 * 8 * 3 * 3 * 4  # of y = Conv(x, w): results times weights of each
# What makes `y` of `x`: float[1,4,8,8], `w`: float[16,4,3,3], `c`: bool and `n`: an input int64.
# The MACs are counted by hand; None where they cannot be known before it runs, with words of why.
INSIDE: dict[str, tuple[str, int | str]] = {
    "in the open": ("y = Conv<pads = [1,1,1,1]>(x, w)", CONV),
    "the dearest of two branches": (
        """y = If(c)<then_branch = t () => (float[1,16,8,8] p) { p = Conv<pads = [1,1,1,1]>(x, w) },
           else_branch = e () => (float[1,16,8,8] q) {
               q0 = Conv<pads = [1,1,1,1]>(x, w) q1 = Relu(q0) q = Conv(q1, v) }>""",
        CONV + 16 * 16 * 8 * 8,
    ),
    "a branch in a branch": (
        """y = If(c)<else_branch = t () => (float[1,4,8,8] p) { p = Relu(x) },
           then_branch = e () => (float[1,16,8,8] q) {
               q = If(c)<then_branch = a () => (r) { r = Conv<pads = [1,1,1,1]>(x, w) },
                         else_branch = b () => (s) { s = Conv<pads = [1,1,1,1]>(x, w) }> }>""",
        CONV,
    ),
    "a loop": (
        """k = Constant<value_int = 5>()
           y = Loop<body = b (int64 i, bool g, s) => (h, t) {
               h = Identity(g) a = Conv<pads = [1,1,1,1]>(x, w) t = Add(s, a) }>(k, , zero)""",
        5 * CONV,
    ),
    "a loop in a loop, whose state is multiplied": (
        """k = Constant<value_int = 5>()
           y = Loop<body = b (int64 i, bool g, s) => (h, t) { h = Identity(g)
               t = Loop<body = d (int64 j, bool p, u) => (q, o) { q = Identity(p) o = Conv(u, v) }
               >(k, , s) }>(k, , zero)""",
        5 * 5 * 16 * 16 * 8 * 8,
    ),
    "a loop whose state grows": (
        """k = Constant<value_int = 5>()
           y = Loop<body = b (int64 i, bool g, s) => (h, t) { h = Identity(g)
               t = Concat<axis = 0>(s, s) a = Conv(t, v) }>(k, , zero)""",
        "the size of what Conv",
    ),
    "a loop of unknown turns": (
        """y = Loop<body = b (int64 i, bool g, s) => (h, t) { h = Identity(g)
               t = Conv(s, v) }>(n, , zero)""",
        "how often Loop turns is not known",
    ),
    "a loop that only its condition ends": (
        """k = Constant<value_int = 9223372036854775807>()
           y = Loop<body = b (int64 i, bool g, s) => (h, t) { h = Identity(g)
               t = Conv(s, v) }>(k, c, zero)""",
        "how often Loop turns is not known",
    ),
    "a loop of unknown turns without products": (
        """y = Loop<body = b (int64 i, bool g, s) => (h, t) { h = Identity(g)
               t = Neg(s) }>(n, , zero)""",
        0,
    ),
    "a scan along the third axis": (
        """e, y = Scan<num_scan_inputs = 1,
           scan_input_axes = [2],
           body = b (s, r) => (t, o) { t = Add(s, r) o = MatMul(r, square) }>(start, x)""",
        8 * 4 * 8 * 8,
    ),
    "an einsum": ("y = Einsum<equation = \"bchw,ocij->bohw\">(x, w)", 16 * 8 * 8 * 4),
    "an einsum that is a matrix product": (
        "y = Einsum<equation = \"...hw,wv->...hv\">(x, square)", 4 * 8 * 8 * 8,
    ),
    "an einsum that sums nothing": ("y = Einsum<equation = \"bchw->bhwc\">(x)", 0),
    "integers": (
        """a, b, p = DynamicQuantizeLinear(x) d, e, f = DynamicQuantizeLinear(w)
           i = ConvInteger<pads = [1,1,1,1]>(a, d, p, f) y = Cast<to = 1>(i)""",
        CONV,
    ),
    "attention": (
        # 2 heads of depth 4 over 32 positions: scores and sums.
        """s = Constant<value_ints = [1, 32, 8]>() q = Reshape(x, s)
           y = Attention<q_num_heads = 2, kv_num_heads = 2>(q, q, q)""",
        2 * (2 * 32 * 32 * 4),
    ),
    "a recurrent layer that gives its state alone": (
        """s = Constant<value_ints = [32, 1, 8]>() q = Reshape(x, s)
           , y = GRU<hidden_size = 4>(q, gru_w, gru_r)""",
        32 * (12 * 8 + 12 * 4),
    ),
}  # fmt: skip


def model(text: str) -> onnx.ModelProto:
    """A model of the text, with its weights."""
    made = parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 23]> g (float[1,4,8,8] x, bool c, int64 n) => (y) '
        f"{{ {text} }}"
    )
    shapes = {
        "w": (16, 4, 3, 3), "v": (16, 16, 1, 1), "square": (8, 8), "zero": (1, 16, 8, 8),
        "start": (1, 4, 8), "gru_w": (1, 12, 8), "gru_r": (1, 12, 4),
    }  # fmt: skip
    for name, shape in shapes.items():
        made.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    return made


@pytest.mark.parametrize("case", INSIDE)
def test_what_is_inside_counts(case: str) -> None:
    text, wanted = INSIDE[case]
    graph = import_onnx(model(text)).graph
    reasons = [why for node in graph if (why := why_not_counted(node, graph))]
    if isinstance(wanted, int):
        assert (sum(macs(node, graph) for node in graph), reasons) == (wanted, [])
    else:
        assert len(reasons) == 1
        assert reasons[0].startswith(wanted)


def test_a_branch_costs_on_the_host_what_it_costs_in_the_open() -> None:
    options = joulec.Options(precision="float")
    in_the_open, inside = (
        joulec.compile(model(text), "diana_digital", options=options).plan
        for text in (
            "y = Conv<pads = [1,1,1,1]>(x, w)",
            """y = If(c)<then_branch = t () => (p) { p = Conv<pads = [1,1,1,1]>(x, w) },
               else_branch = e () => (q) { q = Conv<pads = [1,1,1,1]>(x, w) }>""",
        )
    )
    assert inside.macs.after == in_the_open.macs.after == CONV
    assert inside.energy_pj.total.value == pytest.approx(
        in_the_open.energy_pj.total.value, rel=0.01
    )


def test_the_headline_says_what_it_leaves_out() -> None:
    text, reason = INSIDE["a loop of unknown turns"]
    made = joulec.compile(model(text), "diana_digital", options=joulec.Options(precision="float"))
    report = made.report
    assert ": at least " in report.splitlines()[0]
    assert f"not all of Loop_0 is counted: {reason}" in " ".join(report.split())
    assert "W003" in [found.code for found in made.diagnostics]


def test_the_count_of_loops_in_loops_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a state grows, the loops inside are looked at once more for each loop around them."""
    text = "t9 = Concat<axis = 0>(s9, s9)"
    for depth in range(8, -1, -1):
        text = (
            f"t{depth} = Loop<body = b (int64 i{depth}, bool g{depth}, s{depth + 1}) => "
            f"(h{depth}, t{depth + 1}) {{ h{depth} = Identity(g{depth}) {text} }}>(k, , s{depth})"
        )
    monkeypatch.setattr("compiler.ir.inner_work.MOST_NODES", 100)
    graph = import_onnx(
        model(f"k = Constant<value_int = 2>() s0 = Neg(x) {text} y = Neg(t0)")
    ).graph
    assert any("too many nodes" in why_not_counted(node, graph) for node in graph)


def test_what_nothing_is_known_of_is_not_counted_as_nothing() -> None:
    with pytest.raises(UnknownSizeError, match=r"how much MoE of com\.microsoft multiplies"):
        multiply_accumulates(Call("com.microsoft::MoE", [(1, 2)], [(1, 2)], {}))
    assert multiply_accumulates(Call("com.microsoft::QLinearAdd", [(1, 2)], [(1, 2)], {})) == 0
    with pytest.raises(UnknownSizeError, match="MatMul reads"):
        multiply_accumulates(Call("MatMul", [(1, None), (2, 2)], [(1, 2)], {}))
