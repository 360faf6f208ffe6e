"""Long networks: the work grows with the number of nodes, not with its square nor with the
number of paths.
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any

import pytest

import joulec
import passes.calibration.measurement_budget
import passes.quantize
from compiler.engines.legality import why_not
from compiler.engines.numerics import asymmetric
from compiler.execute.export_onnx import export_onnx
from compiler.execute.interpreter import Interpreter
from compiler.ir.graph import Array, Graph
from compiler.ir.text import from_text
from compiler.target.chip import load_target
from passes.patterns import integer_forms
from tests.support.mappings import cost_on


def in_a_row(count: int, line: Callable[[int, str], str]) -> Graph:
    """A graph of nodes that each read the one before; `line` gives a node's right side from its
    position and what it reads.
    """
    lines, value = [f"graph net(x: float32[1, 8]) -> (v{count - 1})"], "x"
    for index in range(count):
        lines.append(f"v{index}: float32[1, 8] = {line(index, value)}")
        value = f"v{index}"
    return from_text("\n".join(lines) + "\n")


def chain(count: int) -> Graph:
    return in_a_row(count, lambda _, value: f"Relu({value})")


def diamonds(count: int) -> Graph:
    return in_a_row(count, lambda _, value: f"Add({value}, {value})")


def sums_of_inputs(count: int) -> Graph:
    """A node that reads as many values as are alive together."""
    names = [f"x{index}" for index in range(count)]
    inputs = ", ".join(f"{name}: float32[1, 8]" for name in names)
    return from_text(f"graph net({inputs}) -> (y)\ny: float32[1, 8] = Sum({', '.join(names)})\n")


def splits(count: int) -> Graph:
    """A node that makes as many outputs."""
    outputs = [f"y{index}" for index in range(count)]
    made = ", ".join(f"{name}: float32[1, 1]" for name in outputs)
    return from_text(
        f"graph net(x: float32[1, {count}]) -> ({', '.join(outputs)})\n"
        f"{made} = Split(x) axis=1 num_outputs={count}\n"
    )


def compile_seconds(graph: Graph) -> float:
    """CPU seconds that this process takes to compile a graph."""
    model = export_onnx(graph)
    start = process_time()
    joulec.compile(model, "diana")
    return process_time() - start


def test_functions_alike_share_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of ONNX Runtime takes more time than a table: two for thirty tables of two
    functions, whatever their scales.
    """
    built: list[Graph] = []

    def counted(graph: Graph) -> Interpreter:
        built.append(graph)
        return Interpreter(graph)

    integer_forms._runner.cache_clear()
    monkeypatch.setattr(integer_forms, "Interpreter", counted)
    graph = in_a_row(30, lambda index, value: f"{('Sigmoid', 'Tanh')[index % 2]}({value})")
    package = joulec.compile(
        export_onnx(graph), "diana", options=joulec.Options(max_divergence=1e9)
    )
    tables = [step for step in package.plan.steps if step.op == "IntegerTable"]
    assert len(tables) > 2
    assert len(built) == 2
    integer_forms._runner.cache_clear()


def test_functions_alike_between_formats_alike_share_one_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind the first Relu all values have one range, and so all tables but the first are the
    same.
    """
    made: list[bytes] = []

    def counted(*asked: Any) -> Array:
        made.append(integer_forms.table_of(*asked).tobytes())
        return integer_forms.table_of(*asked)

    monkeypatch.setattr(passes.quantize, "table_of", counted)
    package = joulec.compile(export_onnx(chain(6)), "diana")
    assert [step.op for step in package.plan.steps].count("IntegerTable") == 6
    assert len(made) == len(set(made)) == 2


def test_functions_that_differ_in_an_attribute_or_constant_have_tables_of_their_own() -> None:
    graph = from_text("""\
graph net(x: float32[1, 8]) -> (a, b, c, d)
one: float32[] = const [1.0]
two: float32[] = const [2.0]
a: float32[1, 8] = LeakyRelu(x) alpha=0.5
b: float32[1, 8] = LeakyRelu(x) alpha=0.25
c: float32[1, 8] = Clip(x, one, two)
d: float32[1, 8] = Clip(x, "", two)
""")
    quant = asymmetric(8, -4.0, 4.0)
    tables = [integer_forms.table_of((node,), graph, quant, quant).tobytes() for node in graph]
    assert len(set(tables)) == 4


def test_a_remembered_cost_is_that_of_a_chip_that_remembers_nothing() -> None:
    """Nodes that differ in one thing only: the same value twice, a constant, a window, the type
    or size of a value, the memory it lies in.
    """
    graph = from_text("""\
graph net(x: float32[1, 2, 8, 8], z: float32[1, 2, 8, 8], \
q: int8[1, 2, 8, 8]{scale=0.5}, s: float32[2]) -> (h)
k: float32[1, 2, 8, 8] = const random(1, -1, 1)
a: float32[1, 2, 8, 8] = Add(x, x)
b: float32[1, 2, 8, 8] = Add(x, z)
c: float32[1, 2, 8, 8] = Add(x, k)
d: float32[1, 2, 4, 4] = MaxPool(x) kernel_shape=[2, 2] strides=[2, 2]
e: float32[1, 2, 2, 2] = MaxPool(x) kernel_shape=[4, 4] strides=[4, 4]
f: float32[2] = Relu(s)
g: float32[1, 2, 8, 8] = Relu(x)
h: float32[1, 2, 8, 8] = Sigmoid(x)
""")
    used = load_target("diana")
    homes = [{"x": memory} for memory in used.memories]
    cases = [
        (node, engine, home) for node in graph for engine in used.chip.engines for home in homes
    ]
    cases = [case for case in cases if not why_not(case[1], case[0], graph, used)]
    for node, engine, home in (*cases, *reversed(cases)):
        fresh = cost_on(node, graph, engine, load_target("diana"), homes=home)
        assert cost_on(node, graph, engine, used, homes=home) == fresh
    assert len(used.costs) > 8


def test_twice_the_nodes_take_about_twice_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a long model, most divergences are estimated.
    monkeypatch.setattr(passes.calibration.measurement_budget, "MOST_RUNS", 1000)
    compile_seconds(chain(4))  # the imports
    shorter, longer = (min(compile_seconds(chain(n)) for _ in range(2)) for n in (150, 300))
    assert longer < 3 * shorter


@pytest.mark.parametrize("wide", [sums_of_inputs, pytest.param(splits, marks=pytest.mark.slow)])
def test_four_times_the_values_take_about_four_times_the_time(
    wide: Callable[[int], Graph],
) -> None:
    """All of them are alive at once, and lie in memory next to each other."""
    compile_seconds(wide(4))
    few, many = (min(compile_seconds(wide(size)) for _ in range(2)) for size in (200, 800))
    assert many < 10 * few  # 4 in proportion, 16 where each is looked at beside each other


def test_paths_do_not_count() -> None:
    """64 sums of a value and itself are 2 to the 64 paths, and 64 nodes."""
    compile_seconds(chain(4))
    assert compile_seconds(diamonds(64)) < 4 * compile_seconds(chain(64))
