"""Local functions are written out as ONNX Runtime runs them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import parser

from compiler.errors import ModelError
from compiler.execute.interpreter import Interpreter
from compiler.execute.onnx_runtime import RuntimeModel
from compiler.frontend.functions import inline_functions
from compiler.frontend.import_onnx import import_onnx
from compiler.frontend.tensors import Limits
from compiler.target.chip import Target, load_target
from tests.support.random_check import float_faults
from tests.support.random_functions import build

X = np.array([[-2, -1, 1, 2], [0.5, -0.5, 3, -3]], np.float32)
OWN = '<domain: "own", opset_import: ["" : 20, "own" : 1]>'
LEAKY = OWN + "Act <slope: float = -0.5>(a) => (b) { b = LeakyRelu<alpha: float = @slope>(a) }"
TRUE = "one = Constant<value_int = 1>() yes = Cast<to = 9>(one)"


def model(main: str, *functions: str, opset: int = 20) -> onnx.ModelProto:
    """A model that makes y of x, of shape [2, 4]; `functions` end it."""
    return parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : {opset}, "own" : 1, "com.microsoft" : 1]>'
        f"g (float[2, 4] x) => (float[2, 4] y) {{ {main} }}" + "\n".join(functions)
    )


# What each has of its own; ONNX Runtime runs the file.
AS_IN_ONNX_RUNTIME = {
    "a default": model("y = own.Act(x)", LEAKY),
    "a default that the call overrides": model("y = own.Act<slope = 0.25>(x)", LEAKY),
    "a default of what a function calls": model(
        "y = own.Outer(x)", LEAKY, OWN + "Outer (a) => (b) { b = own.Act(a) }"
    ),
    "a default handed through": model(
        "y = own.Outer(x)", LEAKY,
        OWN + "Outer <s: float = 0.75>(a) => (b) { b = own.Act<slope: float = @s>(a) }",
    ),
    "a reference to nothing leaves the default of the function called": model(
        "y = own.Outer(x)", LEAKY,
        OWN + "Outer <s>(a) => (b) { b = own.Act<slope: float = @s>(a) }",
    ),
    "a reference to nothing leaves the default of the operation": model(
        "y = own.f(x)", OWN + "f <s>(a) => (b) { b = LeakyRelu<alpha: float = @s>(a) }"
    ),
    "an attribute that the function does not declare": model(
        "y = own.f<s = 0.5>(x)", OWN + "f (a) => (b) { b = LeakyRelu<alpha: float = @s>(a) }"
    ),
    "a list, a text and a tensor": model(
        "y = own.f<p = [1, 0]>(x)",
        OWN + """f <p, m: string = "tanh", k: tensor = float[4] {1, -2, 3, 0.5}>(a) => (b) {
            c = Constant<value: tensor = @k>() d = Mul(a, c) e = Gelu<approximate: string = @m>(d)
            t = Transpose<perm: ints = @p>(e) b = Transpose(t) }""",
    ),
    "a reference inside a branch inside a loop": model(
        "y = own.f<s = 0.5>(x)",
        OWN + """f <s: float = 2.0>(a) => (b) {
            n = Constant<value_int = 3>() ANY
            b = Loop<body = turn (int64 i, bool c, float[2, 4] v) => (bool d, float[2, 4] w) {
                d = Identity(c)
                w = If(c)<then_branch = t () => (r) { r = LeakyRelu<alpha: float = @s>(v) },
                          else_branch = e () => (q) { q = Neg(a) }>
            }>(n, yes, a) }""".replace("ANY", TRUE),
    ),
    "names of the caller's inside": model(
        f"{TRUE} t = Neg(x) u = own.f(x, yes) y = Add(t, u)",
        OWN + """f (x, t) => (y) { u = Relu(x)
            y = If(t)<then_branch = g () => (k) <float[1] one = {3.0}> { k = Mul(u, one) },
                      else_branch = h () => (m) { m = Neg(x) }> }""",
    ),
    "inputs left out": model(
        "y = own.f(x)",
        OWN + "f (a, top) => (b) { b = own.h(a, top) }",
        OWN + "h (a, m) => (b) { b = Clip(a, m, m) }",
    ),
    "an output left out": model(
        ", y = own.f(x)", OWN + "f (a) => (b, c) { b = Relu(a) c = Neg(b) }"
    ),
    "overloads": model(
        "u = own.f:one(x) y = own.f:two(u)",
        '<domain: "own", overload: "one", opset_import: ["" : 20]> f (a) => (b) { b = Neg(a) }',
        '<domain: "own", overload: "two", opset_import: ["" : 20]> f (a) => (b) { b = Exp(a) }',
    ),
    "a function with the name of an operation": model(
        "y = own.Relu(x)", OWN + "Relu (a) => (b) { c = Relu(a) b = Neg(c) }"
    ),
    "a function in the place of ONNX's operation": model(
        "y = Relu(x)", '<domain: "", opset_import: ["" : 20]> Relu (a) => (b) { b = Neg(a) }'
    ),
    "a function in the place of ONNX Runtime's operation": model(
        "y = com.microsoft.Gelu(x)",
        '<domain: "com.microsoft", opset_import: ["" : 20]> Gelu (a) => (b) { b = Neg(a) }',
    ),
    "another opset": model(
        "k = Constant<value_ints = [0]>() z = Unsqueeze(x, k) w = own.f(z) y = Squeeze(w, k)",
        '<domain: "own", opset_import: ["" : 11]> f (a) => (b) { b = Softmax(a) }',
    ),
    "a loop's body as attribute": model(
        """y = own.f<turn = t (int64 i, bool c, float[2, 4] v) => (bool d, float[2, 4] w) {
            d = Identity(c) w = own.Act(v) }>(x)""",
        LEAKY,
        OWN + "f <turn>(a) => (b) { n = Constant<value_int = 2>() " + TRUE
        + " b = Loop<body: graph = @turn>(n, yes, a) }",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", AS_IN_ONNX_RUNTIME)
def test_a_function_is_as_in_onnx_runtime(case: str) -> None:
    given = AS_IN_ONNX_RUNTIME[case]
    wanted = RuntimeModel(given.SerializeToString()).run({"x": X})["y"]
    found = Interpreter(import_onnx(given).graph).run({"x": X})["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_a_branch_handed_to_a_function_reads_what_stands_at_the_call() -> None:
    """ONNX Runtime cannot infer its types, so the same written out is the judge."""
    branch = "then_branch{} = th () => (t) {{ t = Mul(a, k) }}"
    other = "else_branch = el () => (s) { s = Neg(x) }"
    handed = model(
        f"{TRUE} a = Neg(x) k = Exp(a) u = own.f<{branch.format('')}>(x, yes) "
        f"v = own.f<{branch.format('')}>(u, yes) y = Add(u, v)",
        OWN
        + """f <then_branch>(x, c) => (y) { k = Abs(x) a = Relu(k)
            z = If(c)<then_branch: graph = @then_branch, OTHER>
            y = Add(z, a) }""".replace("OTHER", other),
    )
    once = (
        "k{0} = Abs({1}) a{0} = Relu(k{0}) "
        "z{0} = If(yes)<{2}, else_branch = el () => (s{0}) {{ s{0} = Neg({1}) }}> "
        "u{0} = Add(z{0}, a{0})"
    )
    taken = "then_branch = th () => (t{0}) {{ t{0} = Mul(a, k) }}"
    written = model(
        f"{TRUE} a = Neg(x) k = Exp(a) {once.format(1, 'x', taken.format(1))} "
        f"{once.format(2, 'u1', taken.format(2))} y = Add(u1, u2)"
    )
    wanted = RuntimeModel(written.SerializeToString()).run({"x": X})["y"]
    found = Interpreter(import_onnx(handed).graph).run({"x": X})["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_what_is_inside_is_named_after_the_call() -> None:
    given = model(
        "[first] u = own.f(x) y = own.f(u)", OWN + "f (a) => (b) { c = Exp(a) [last] b = Neg(c) }"
    )
    graph = import_onnx(given).graph
    assert [node.name for node in graph] == ["first/Exp_0", "first/last", "f/Exp_0", "f/last"]
    assert [node.outputs[0] for node in graph] == ["first/c", "u", "f/c", "y"]


def test_a_body_of_another_opset_is_noted_where_that_matters() -> None:
    body = '<domain: "own", opset_import: ["" : 11]> f (a) => (b) {{ b = {}(a) }}'
    (note,) = import_onnx(model("y = own.f(x)", body.format("Softmax"))).notes
    assert note.message == (
        "the local function own.f declares opset 11 of ai.onnx, the model 20: its Softmax runs as "
        "of the model's, as in ONNX Runtime"
    )


REFUSED = {
    "more inputs than it has": (model("y = own.Act(x, x)", LEAKY), "M002", "which has 1 i"),
    "more outputs than it has": (model("y, z = own.Act(x)", LEAKY), "M002", "1 outputs, with 2"),
    "twice the same": (model("y = own.Act(x)", LEAKY, LEAKY), "M007", "two local functions"),
    "an overload that is not there": (model("y = own.Act:x(x)", LEAKY), "M003", "own"),
    "a value of the caller's": (
        model("z = Neg(x) y = own.f(x)", OWN + "f (a) => (b) { b = Add(a, z) }"), "M007", "'z'",
    ),
    "an output that nothing makes": (
        model("y = own.f(x)", OWN + "f (a) => (b) { c = Neg(a) }"), "M007", "'b'",
    ),
    "a needed attribute without a value": (
        model("y = own.f(x)", OWN + "f <to>(a) => (b) { b = Cast<to: int = @to>(a) }"),
        "M002", "to",
    ),
    "a number of the wrong type": (model("y = own.Act<slope = 1>(x)", LEAKY), "M002", "alpha"),
    "a circle through a default": (
        model("y = own.f(x)", OWN + f"""f <g: graph = b () => (t) {{
            u = Constant<value_float = 1.0>() t = own.f(u) }}>(a) => (b) {{ {TRUE}
            b = If(yes)<then_branch: graph = @g, else_branch: graph = @g> }}"""),
        "M007", "f -> f",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_call_that_does_not_fit_is_refused(case: str) -> None:
    given, code, words = REFUSED[case]
    with pytest.raises(ModelError, match=words) as caught:
        import_onnx(given)
    assert caught.value.code == code


def test_graphs_that_double_from_call_to_call_are_stopped() -> None:
    """Each function calls the next with a branch that has the one it was given twice."""
    leaf = "t () => (float[2, 4] r) { r = Constant<value_floats = [1.0]>() }"
    both = f"{TRUE} r = If(yes)<then_branch: graph = @g, else_branch: graph = @g>"
    twice = f"t () => (r) {{ {both} }}"
    functions = [
        OWN + f"f{i} <g>(a) => (b) {{ b = own.f{i + 1}<g = {twice}>(a) }}" for i in range(40)
    ]
    last = OWN + f"f40 <g>(a) => (r) {{ {both} }}"
    with pytest.raises(ModelError, match="the limit is 1000") as caught:
        inline_functions(
            model(f"y = own.f0<g = {leaf}>(x)", *functions, last), Limits(1000, 1 << 20)
        )
    assert caught.value.code == "M008"


@pytest.fixture(scope="module")
def chip() -> Target:
    return load_target("diana_digital")


@pytest.mark.parametrize("seed", range(30))
def test_a_random_model_with_functions(seed: int, chip: Target) -> None:
    model, feed = build(seed)
    assert float_faults(model, feed, chip) == []
