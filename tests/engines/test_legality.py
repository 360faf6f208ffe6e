"""Why an engine cannot take a node, in the words that a user reads."""

from __future__ import annotations

import pytest

from compiler.engines.legality import why_not
from compiler.ir.text import from_text
from compiler.target.chip import load_target

TILE16, DIANA = load_target("tile16"), load_target("diana")


def reasons(node: str, header: str = "x: float32[1, 2]", constants: str = "") -> dict[str, str]:
    """Why each engine of diana cannot take the last node."""
    graph = from_text(f"graph g({header}) -> (y)\n{constants}{node}\n")
    return {name: why_not(name, graph.nodes[-1], graph, DIANA) for name in DIANA.chip.engines}


WEIGHTS = "w: float32[1, 2, 2] = const [1, 2, 3, 4]\n"


def test_the_host_takes_everything_and_a_product_goes_anywhere() -> None:
    found = reasons("y: float32[1, 2] = Product(x, w)", constants=WEIGHTS)
    assert found == {"digital": "", "analog": "", "host": ""}


@pytest.mark.parametrize(
    ("node", "header", "digital_says", "analog_says"),
    [
        (
            "y: float32[1, 2] = Relu(x)", "x: float32[1, 2]", "",
            "Relu is not a matrix product with constant weights",
        ),
        (
            "y: float32[1, 2] = Exp(x)", "x: float32[1, 2]", "the vector unit has no Exp",
            "Exp is not",
        ),
        (
            "y: float32[1, 1] = MatMul(x, z)", "x: float32[1, 2], z: float32[2, 1]",
            "MatMul multiplies two activations, and the array needs constant weights",
            "MatMul is not",
        ),
        (
            "y: float64[1, 2] = Relu(x)", "x: float64[1, 2]",
            "float64 is no type of the digital engine", "Relu is not a matrix product",
        ),
        (
            "y: int32[1, 2] = Relu(x)", "x: int32[1, 2]", "int32 is no type of the digital engine",
            "Relu is not",
        ),
        (
            "y: float32[1, ?] = Relu(x)", "x: float32[1, ?]",
            "the size of 'x' is not known before it runs", "Relu is not",
        ),
        ("y: int8[1, 2]{scale=0.5} = IntegerTable(x, x) of=\"Exp\"", "x: int8[1, 2]{scale=0.5}",
         "the vector unit has no Exp", "IntegerTable is not"),
        (
            "y: int8[1, 2]{scale=0.5} = IntegerTable(x, x) of=\"Tanh\"", "x: int8[1, 2]{scale=0.5}",
            "", "IntegerTable is not",
        ),
        ("y: float32[1, 2] = DequantizeLinear(x, x)", "x: int8[1, 2]{scale=0.5}",
         "the digital engine has no floating-point arithmetic", "DequantizeLinear is not"),
        (
            "y: float32[1, 1, 2, 2] = MaxPool(x) ceil_mode=1 kernel_shape=[2, 2] strides=[2, 2]",
            "x: float32[1, 1, 3, 3]", "the vector unit's pools have no ceil_mode", "MaxPool is not",
        ),
        (
            "y: float32[1, 1, 3, 3] = MaxPool(x) auto_pad=\"SAME_UPPER\" kernel_shape=[2, 2]",
            "x: float32[1, 1, 3, 3]", "its padding is automatic", "MaxPool is not",
        ),
        (
            "y: float32[1, 1, 1, 1] = MaxPool(x) dilations=[2, 2] kernel_shape=[2, 2]",
            "x: float32[1, 1, 3, 3]", "the vector unit's pools have no dilation", "MaxPool is not",
        ),
        (
            "y: float32[1, 1, 1, 1], i: int64[1, 1, 1, 1] = MaxPool(x) kernel_shape=[3, 3]",
            "x: float32[1, 1, 3, 3]", "the vector unit gives one result", "MaxPool is not",
        ),
        (
            "y: float32[1, 2] = Clip(x, l)", "x: float32[1, 2], l: float32[]",
            "its bounds are computed", "Clip is not",
        ),
        ("y: float32[1, 1, 1, 1, 1, 1, 2] = Relu(x)", "x: float32[1, 1, 1, 1, 1, 1, 2]",
         "a tensor of 7 axes is more than its address generator has (6)", "Relu is not"),
        (
            "y: float32[2] = RandomNormal() shape=[2]", "x: float32[1]",
            "RandomNormal lacks its first input or output", "RandomNormal is not",
        ),
        (
            '"", y: float32[1] = Odd(x)', "x: float32[1]", "Odd lacks its first input or output",
            "Odd is not",
        ),
        (
            'y: float32[1] = Odd("", x)', "x: float32[1]", "Odd lacks its first input or output",
            "Odd is not",
        ),
        ("y: float32[2, 1] = Transpose(x)", "x: float32[1, 2]", "", "Transpose is not"),
        ("y: float32[2] = Flatten(x)", "x: float32[1, 2]", "", "Flatten is not"),
    ],
)  # fmt: skip
def test_why_not(node: str, header: str, digital_says: str, analog_says: str) -> None:
    found = reasons(node, header)
    assert found["host"] == ""
    assert found["digital"] == digital_says
    assert found["analog"].startswith(analog_says)


@pytest.mark.parametrize("op", ["Add(x, m)", "Mul(x, m)", "Concat(x, m) axis=0", "Pad(x, p, v)"])
def test_no_integer_stands_for_an_infinity(op: str) -> None:
    """A mask of -inf added to scores stays in floats; the bounds of a Clip may be infinite."""
    constants = (
        "m: float32[1, 2] = const [0.0, -inf]\n"
        "p: int64[4] = const [0, 0, 0, 0]\n"
        "v: float32[] = const [-inf]\n"
    )
    found = reasons(f"y: float32[1, 2] = {op}", constants=constants)
    name = "v" if op.startswith("Pad") else "m"
    assert found["digital"] == f"its constant {name!r} is not finite, which no integer stands for"
    assert reasons("y: float32[1, 2] = Clip(x, v)", constants=constants)["digital"] == ""


def test_groups_lie_on_arrays_that_take_them() -> None:
    graph = from_text("""\
graph g(x: float32[1, 2, 3]) -> (y)
w: float32[2, 1, 1] = const [1, 2]
y: float32[1, 2, 3] = Product(x, w) kernel=[1]
""")
    says = "the arrays take no grouped convolution, and this one has 2 groups"
    assert why_not("analog", graph.nodes[0], graph, DIANA) == says
    assert why_not("analog", graph.nodes[0], graph, TILE16) == ""


def test_a_product_of_unknown_size_stays_on_the_host() -> None:
    found = reasons("y: float32[?, 2] = Product(x, w)", "x: float32[?, 2]", WEIGHTS)
    says = "the size of 'x' is not known before it runs"
    assert found == {"digital": says, "analog": says, "host": ""}
