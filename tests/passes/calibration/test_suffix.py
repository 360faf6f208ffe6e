"""Suffix evaluation, whole or in pieces, gives what ONNX Runtime computes of the whole network."""

from __future__ import annotations

import numpy as np
import pytest

import passes.calibration.suffix
from compiler.execute.interpreter import Interpreter, RunError
from compiler.ir.graph import Graph
from compiler.ir.text import from_text
from passes.calibration.suffix import SuffixRunner

# `a` is read far behind, `unread` by nobody, `k` is an output that is a constant, and `a` one that
# is read as well.
NETWORK = """\
graph net(x: float32[4], unread: float32[2]) -> (y, a, k)
k: float32[2] = const [1.0, 2.0]
a: float32[4] = Sigmoid(x)
b: float32[4] = Tanh(a)
c: float32[4] = Add(b, x)
d: float32[4] = Mul(c, a)
y: float32[4] = Tanh(d)
"""


@pytest.mark.parametrize("starts", [(), (1,), (0, 1, 2, 3, 4)])
def test_the_outputs_from_any_node_on(starts: tuple[int, ...]) -> None:
    graph, random = from_text(NETWORK), np.random.default_rng(0)
    follower = SuffixRunner(graph, starts)
    given = {"x": random.random((3, 4), np.float32), "unread": np.zeros((3, 2), np.float32)}
    alive = [["x", "a"], ["x", "a", "b"], ["a", "c"], ["a", "d"], ["a", "y"]]
    seen = Interpreter(graph, outputs=("x", "a", "b", "c", "d", "y")).run_all(given)
    for position, names in enumerate(alive):
        values = {name: seen[name] for name in names}
        made = graph.nodes[position].outputs[0]
        values[made] = random.random((3, 4), np.float32)  # something else than it was
        wanted = Interpreter(graph, inputs=names).run_all(values)
        found = follower.outputs(position, values)
        assert list(found) == ["y", "a", "k"]
        for name, data in found.items():
            np.testing.assert_array_equal(data, wanted[name])
    np.testing.assert_array_equal(follower.outputs(-1, given)["y"], seen["y"])


@pytest.mark.parametrize("unknown", ["b", "a"], ids=["which a node reads", "an output"])
def test_a_value_that_nobody_knows_is_told(unknown: str) -> None:
    """It is missing where the node that makes it could not run on the samples."""
    values = {name: np.zeros((1, 4), np.float32) for name in "xab" if name != unknown}
    with pytest.raises(RunError, match=f"value '{unknown}' is not known"):
        SuffixRunner(from_text(NETWORK)).outputs(1, values)


def test_every_node_between_cuts_is_made_into_a_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(part: Graph) -> Interpreter:
        made.extend(node.name for node in part)
        return Interpreter(part)

    monkeypatch.setattr(passes.calibration.suffix, "Interpreter", counted)
    graph = from_text(NETWORK)
    follower = SuffixRunner(graph, (1, 3))
    values = {"x": np.zeros((1, 4), np.float32), "unread": np.zeros((1, 2), np.float32)}
    follower.outputs(-1, values)
    seen = {name: np.zeros((1, 4), np.float32) for name in "xabcdy"}
    for position in (1, 3, 3, 1):
        follower.outputs(position, seen)
    assert made.count("c") == made.count("d") == made.count("y") == 1


def test_no_cut_where_a_value_cannot_be_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime hands out no bfloat16: cut behind `b`, both sides would have to leave it."""
    made: list[Interpreter] = []

    def kept(part: Graph) -> Interpreter:
        made.append(Interpreter(part))
        return made[-1]

    monkeypatch.setattr(passes.calibration.suffix, "Interpreter", kept)
    graph = from_text("""\
graph net(x: float32[4]) -> (y)
a: float32[4] = Tanh(x)
b: bfloat16[4] = Cast(a) to=16
c: float32[4] = Cast(b) to=1
y: float32[4] = Tanh(c)
""")
    values = {"x": np.linspace(-1, 1, 4, dtype=np.float32)[None]}
    SuffixRunner(graph, (0, 1, 2)).outputs(-1, values)
    assert [[node.name for node in piece.graph] for piece in made] == [["a"], ["b", "c"], ["y"]]
    assert not any(piece.on_reference for piece in made)
