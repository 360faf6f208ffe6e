"""The graph's own questions, and the Rewriter's promises, on graphs small enough to read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from compiler.ir.graph import Graph, Node, Quant, TensorType
from compiler.ir.rewriter import Rewriter
from compiler.ir.text import from_text, to_text
from compiler.ir.verify import verify

BEFORE = """\
graph g(x: float32[2]) -> (y)
a: float32[2] = Relu(x) from (Relu_0)
b: float32[2] = Identity(a) from (Identity_1)
y: float32[2] = Add(b, x) from (Add_2)
ledger (Relu_0, Identity_1, Add_2, Const_3 folded)
"""


def rewritten(text: str, decide: Callable[[Rewriter, Node], None], fate: str = "removed") -> str:
    graph = from_text(text)
    before = to_text(graph)
    rewriter = Rewriter(graph, fate)
    for node in graph:
        decide(rewriter, node)
    after = rewriter.finish()
    verify(after)
    assert to_text(graph) == before
    return to_text(after)


def drop_identities(rewriter: Rewriter, node: Node) -> None:
    if node.op == "Identity":
        rewriter.forward(node.outputs[0], node.inputs[0])
    else:
        rewriter.keep(node)


def test_forward_and_the_ledger() -> None:
    after = """\
graph g(x: float32[2]) -> (y)
a: float32[2] = Relu(x) from (Relu_0)
y: float32[2] = Add(a, x) from (Add_2)
ledger (Relu_0, Identity_1 merged, Add_2, Const_3 folded)
"""
    assert rewritten(BEFORE, drop_identities, fate="merged") == after
    assert rewritten(after, drop_identities, fate="never") == after


def test_the_same_object_when_nothing_changed() -> None:
    graph = from_text(BEFORE.replace("Identity(", "Abs("))
    rewriter = Rewriter(graph)
    for node in graph:
        drop_identities(rewriter, node)
    assert rewriter.finish() is graph


def test_a_chain_of_forwards() -> None:
    text = (
        "graph g(x: float32[2]) -> (y)\n"
        "a: float32[2] = Identity(x)\n"
        "b: float32[2] = Identity(a)\n"
        "y: float32[2] = Relu(b)\n"
    )
    assert rewritten(text, drop_identities) == (
        "graph g(x: float32[2]) -> (y)\ny: float32[2] = Relu(x)\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (  # the producer takes the output's name, and readers follow
            "graph g(x: float32[2]) -> (y, z)\n"
            "a: float32[2] = Relu(x)\n"
            "z: float32[2] = Abs(a)\n"
            "y: float32[2] = Identity(a)\n",
            "graph g(x: float32[2]) -> (y, z)\n"
            "y: float32[2] = Relu(x) named a\n"
            "z: float32[2] = Abs(y)\n",
        ),
        (  # an input cannot take the output's name
            "graph g(x: float32[2]) -> (y)\ny: float32[2] = Identity(x)\n",
            "graph g(x: float32[2]) -> (y)\ny: float32[2] = Identity(x) named y.copy\n",
        ),
        (  # nor a constant
            "graph g() -> (y)\nw: float32[2] = const [1.0, 2.0]\ny: float32[2] = Identity(w)\n",
            (
                "graph g() -> (y)\n"
                "w: float32[2] = const [1.0, 2.0]\n"
                "y: float32[2] = Identity(w) named y.copy\n"
            ),
        ),
        (  # nor another output
            (
                "graph g(x: float32[2]) -> (a, y)\n"
                "a: float32[2] = Relu(x)\n"
                "y: float32[2] = Identity(a)\n"
            ),
            (
                "graph g(x: float32[2]) -> (a, y)\n"
                "a: float32[2] = Relu(x)\n"
                "y: float32[2] = Identity(a) named y.copy\n"
            ),
        ),
        (  # one value for two outputs: one of them is a copy
            "graph g(x: float32[2]) -> (y, z)\n"
            "a: float32[2] = Relu(x)\n"
            "y: float32[2] = Identity(a)\n"
            "z: float32[2] = Identity(a)\n",
            "graph g(x: float32[2]) -> (y, z)\n"
            "z: float32[2] = Relu(x) named a\n"
            "y: float32[2] = Identity(z) named y.copy\n",
        ),
    ],
)
def test_outputs_keep_the_names_the_user_knows(before: str, after: str) -> None:
    assert rewritten(before, drop_identities) == after


def test_add_takes_new_types_and_constants() -> None:
    def halve(rewriter: Rewriter, node: Node) -> None:
        if node.op != "Abs":
            rewriter.keep(node)
            return
        half = rewriter.constant("half", np.full(2, 0.5, np.float32))
        wide = rewriter.unique(node.outputs[0])
        rewriter.add(
            Node(wide, "Mul", (node.inputs[0], half), (wide,)), {wide: TensorType("float32", (2,))}
        )
        rewriter.forward(node.outputs[0], wide)
        assert rewriter.type_of(node.outputs[0]) == TensorType("float32", (2,))

    text = """\
graph g(x: float32[2]) -> (y)
half: float32[2] = Abs(x)
y: float32[2] = Relu(half)
"""
    assert (
        rewritten(text, halve)
        == """\
graph g(x: float32[2]) -> (y)
half.1: float32[2] = const [0.5, 0.5]
half.2: float32[2] = Mul(x, half.1)
y: float32[2] = Relu(half.2)
"""
    )


def test_what_nobody_reads_goes() -> None:
    graph = from_text(
        "graph g(x: float32[2]) -> (y)\n"
        "w: float32[2] = const [1.0, 2.0]\n"
        "a: float32[2] = Add(x, w)\n"
        "y: float32[2] = Relu(x)\n"
    )
    rewriter = Rewriter(graph)
    rewriter.keep(graph.nodes[1])
    after = rewriter.finish()
    assert set(after.types) == {"x", "y"}
    assert after.constants == {}


def test_a_changed_constant_or_type_makes_a_new_graph() -> None:
    graph = from_text("graph g() -> (w)\nw: float32[2] = const [1.0, 2.0]\n")
    rewriter = Rewriter(graph)
    data = np.array([3.0, 4.0], np.float32)
    rewriter.set_constant("w", data)
    after = rewriter.finish()
    data[0] = 9
    assert to_text(after) == "graph g() -> (w)\nw: float32[2] = const [3.0, 4.0]\n"
    assert not after.constants["w"].flags.writeable
    rewriter = Rewriter(graph)
    rewriter.set_type("w", graph.types["w"])
    assert rewriter.finish() is graph


def test_what_a_graph_answers() -> None:
    graph = from_text(
        "graph g(x: float32[2]) -> (y)\n"
        "w: float32[2] = const [1.0, 2.0]\n"
        "a: float32[2] = Mul(x, x)\n"
        'b: float32[2], "", c: float32[2] = Odd(a, "", w)\n'
        "y: float32[2] = Add(b, w)\n"
    )
    first, odd, last = graph.nodes
    assert graph.producer == {"a": first, "b": odd, "c": odd, "y": last}
    assert graph.consumers == {"x": (first,), "a": (odd,), "w": (odd, last), "b": (last,)}
    assert graph.only_consumer("a") is odd
    assert graph.only_consumer("w") is None
    assert graph.only_consumer("c") is None
    assert dataclasses.replace(graph, outputs=("a",)).only_consumer("a") is None
    assert graph.constant("w") is graph.constants["w"]
    assert graph.constant("a") is None
    assert list(graph) == [first, odd, last]


def test_attributes_are_read_by_their_kind() -> None:
    node = Node("n", "Odd", (), (), {"i": 2, "f": 0.5, "t": "x", "l": (1, 2)})
    assert (node.integer("i", 0), node.integer("none", 7)) == (2, 7)
    assert (node.number("f", 0), node.number("i", 0)) == (0.5, 2.0)
    assert (node.text("t"), node.text("none")) == ("x", "")
    assert (node.ints("l", ()), node.ints("none", (3,))) == ((1, 2), (3,))
    with pytest.raises(TypeError, match="attribute t of n is not an integer"):
        node.integer("t", 0)
    with pytest.raises(TypeError, match="attribute i of n is not a list of integers"):
        node.ints("i", ())
    with pytest.raises(TypeError, match="attribute t of n is not a number"):
        node.number("t", 0)
    with pytest.raises(TypeError, match="attribute i of n is not a text"):
        node.text("i")


@pytest.mark.parametrize(
    ("quant", "ends", "storage"),
    [
        (Quant(8, True, (1.0,), (0,)), (-128, 127), "int8"),
        (Quant(7, True, (1.0,), (0,)), (-64, 63), "int8"),
        (Quant(8, False, (1.0,), (0,)), (0, 255), "uint8"),
        (Quant(9, True, (1.0,), (0,)), (-256, 255), "int16"),
        (Quant(32, True, (1.0,), (0,)), (-(2**31), 2**31 - 1), "int32"),
    ],
)
def test_formats(quant: Quant, ends: tuple[int, int], storage: str) -> None:
    assert (quant.lowest, quant.highest) == ends
    assert quant.storage == storage


def test_sizes() -> None:
    assert TensorType("float32", (2, 3)).elements == 6
    assert TensorType("float32", ()).elements == 1
    assert TensorType("int4", (3,)).size_bytes == 2
    assert TensorType("int8", (3,), Quant(7, True, (1.0,), (0,))).size_bytes == 3
    assert not TensorType("float32", (2, None)).is_static
    with pytest.raises(ValueError, match="unknown sizes"):
        _ = TensorType("float32", (2, None)).sizes
    with pytest.raises(ValueError, match="the rank is unknown"):
        _ = TensorType("float32", None).elements


def test_a_graph_is_frozen() -> None:
    graph = from_text("graph g(x: float32[2]) -> (x)")
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.name = "h"  # type: ignore[misc]
    assert isinstance(graph, Graph)
