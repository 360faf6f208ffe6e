"""What --place asks for: followed wherever an engine can, refused where none can, never silent."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import inf

import numpy as np
import pytest

from compiler.choices import Place
from compiler.errors import CapacityError, UsageError
from compiler.flow.notes import place_notes
from compiler.ir.formats import INT8
from compiler.ir.graph import Calibration, Graph
from compiler.ir.text import from_text
from compiler.target.chip import load_target
from passes.partition import Partition
from passes.partitioning.assignment import Assignment
from passes.partitioning.places import fewest_elsewhere
from tests.passes.test_partition import network, random_problem
from tests.support.chips import only_digital

DIANA = load_target("diana")
TILE16 = load_target("tile16")
__all__ = ["network"]  # a fixture


@pytest.mark.parametrize("seed", range(60))
def test_as_few_nodes_as_brute_force_finds_go_elsewhere(seed: int) -> None:
    problem = random_problem(seed)
    alone = tuple(
        tuple(replace(one, covers=()) for one in options) for options in problem.candidates
    )
    problem = replace(problem, candidates=alone)
    random = np.random.default_rng(seed)
    engines = ["", "analog", "second", "digital"]
    wanted = [("*", str(e)) if e else None for e in random.choice(engines, len(alone))]

    def elsewhere(chosen: tuple[int, ...]) -> list[int]:
        return [
            node
            for node, (place, one) in enumerate(zip(chosen, wanted, strict=True))
            if one is not None
            and alone[node][place].engine != one[1]
            and any(option.engine == one[1] for option in alone[node])
        ]

    allowed = [
        elsewhere(chosen)
        for chosen in product(*(range(len(options)) for options in alone))
        if not Assignment(problem, chosen).why_infeasible()
    ]
    found = fewest_elsewhere(problem, wanted)
    assert list(found) in allowed
    assert len(found) == min(map(len, allowed))


CHAIN = """\
graph net(x: float32[1, 8]) -> (y)
w: float32[1, 8, 8] = const random(1, -0.5, 0.5)
a: float32[1, 8] = Product(x, w)
b: float32[1, 8] = Relu(a)
c: float32[1, 8] = Product(b, w)
y: float32[1, 8] = Softmax(c)
"""


def chain(*divergences: float) -> Graph:
    """A graph whose a, b and c have these divergences in int8."""
    graph = from_text(CHAIN)
    formats = {
        name: {INT8: divergence}
        for name, divergence in zip(("a", "b", "c"), divergences, strict=True)
    }
    ranges = dict.fromkeys(("x", "a", "b", "c", "y"), (-1.0, 1.0))
    ledger = {**dict.fromkeys("abcy", ""), "scale": "folded", "loose": "removed"}
    return replace(graph, calibration=Calibration(ranges, formats, "KL", ""), ledger=ledger)


def placed(graph: Graph, place: Place, budget: float = 0.02) -> tuple[dict[str, str], list[str]]:
    """The engines of the nodes, and what is noted."""
    found = Partition(max_divergence=budget, place=place)(graph, TILE16)
    notes = [note.line() for note in place_notes(found, place)]
    return {node.name: node.engine for node in found}, notes


def test_all_go_where_they_are_wanted_but_what_that_engine_lacks() -> None:
    engines, notes = placed(chain(0.001, 0.001, 0.001), (("*", "digital"),))
    assert engines == {"a": "digital", "b": "digital", "c": "digital", "y": "host"}
    assert notes == [
        "--place *=digital: 1 of the 4 nodes that it matches runs elsewhere: "
        "'y': the vector unit has no Softmax"
    ]


@pytest.mark.parametrize(
    ("divergences", "elsewhere", "why"),
    [
        ((0.001, 0.001, inf), "c", "beyond measure, beyond the 0.02 allowed"),
        ((0.001, 0.5, 0.001), "b", "0.502, beyond the 0.02 allowed"),
        ((0.001, 0.015, 0.015), "", "0.031, beyond the 0.02 allowed"),
    ],
)
def test_one_node_beyond_the_budget_does_not_stop_the_others(
    divergences: tuple[float, ...], elsewhere: str, why: str
) -> None:
    engines, notes = placed(chain(*divergences), (("[abc]", "digital"),))
    there = {name for name in "abc" if engines[name] == "digital"}
    assert len(there) == 2
    assert not elsewhere or elsewhere not in there
    (left,) = set("abc") - there
    assert notes == [
        "--place [abc]=digital: 1 of the 3 nodes that it matches runs elsewhere: "
        f"'{left}': the divergences add up to {why}"
    ]


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (
            (("d", "digital"),),
            "error[U004]: --place d=digital: no node has a name like that; there are 'a', 'b', 'c' "
            "and 1 more",
        ),
        (
            (("scale", "digital"),),
            "error[U004]: --place scale=digital: it matches only what runs on no engine: 'scale' "
            "is computed while compiling; leave it out",
        ),
        (
            (("lo*", "digital"),),
            "error[U004]: --place lo*=digital: it matches only what runs on no engine: 'loose' is "
            "removed; leave it out",
        ),
        (
            (("b", "analog"),),
            "error[U004]: --place b=analog: analog cannot take the node that it matches: 'b': Relu "
            "is not a matrix product with constant weights",
        ),
        (
            (("[by]", "analog"),),
            "error[U004]: --place [by]=analog: analog cannot take any of the 2 nodes that it "
            "matches: 'b': Relu is not a matrix product with constant weights; 'y': Softmax is not "
            "a matrix product with constant weights",
        ),
        (
            (("[yc]", "digital"),),
            "error[U004]: --place [yc]=digital: digital cannot take any of the 2 nodes that it "
            "matches: 'c': the divergences add up to 0.502, beyond the 0.02 allowed; 'y': the "
            "vector unit has no Softmax; raise --max-divergence, or place fewer nodes",
        ),
        (
            (("c", "digital"),),
            "error[U004]: --place c=digital: digital cannot take the node that it matches: 'c': "
            "the divergences add up to 0.502, beyond the 0.02 allowed; raise --max-divergence, or "
            "place fewer nodes",
        ),
    ],
)
def test_what_cannot_be_followed_at_all_is_refused(place: Place, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        placed(chain(0.001, 0.001, 0.5), place)
    assert caught.value.line() == line


def test_a_near_name_is_offered(network: Graph) -> None:
    named = replace(network, nodes=tuple(replace(n, origin=(f"conv_{n.name}",)) for n in network))
    with pytest.raises(UsageError) as caught:
        Partition(place=(("cnv_a*", "digital"),))(named, DIANA)
    assert caught.value.hint == "did you mean 'conv_a*'?"


def test_a_name_with_brackets_is_found_as_it_is_written() -> None:
    graph = chain(0.001, 0.001, 0.001)
    nodes = tuple(replace(node, origin=(f"layers[0]/{node.name}",)) for node in graph)
    engines, notes = placed(replace(graph, nodes=nodes), (("layers[0]/a", "host"),))
    assert engines["a"] == "host"
    assert notes == []


def test_a_pattern_that_others_leave_nothing_is_said() -> None:
    place = (("a", "host"), ("*", "digital"), ("a*", "digital"))
    engines, notes = placed(chain(0.001, 0.001, 0.001), place)
    assert (engines["a"], engines["c"]) == ("host", "digital")
    assert notes[-1] == (
        "warning[W004]: --place a*=digital places nothing: an earlier --place has all that it "
        "matches"
    )


# -- weights that must stay


def small(bytes_of_digital: int, arrays: int) -> object:
    """tile16 with so much room for weights."""
    table = TILE16.chip.model_dump(by_alias=True)
    table["engines"]["digital"]["array"]["weight_memory_bytes"]["value"] = bytes_of_digital
    table["engines"]["analog"]["arrays"]["value"] = arrays
    return type(TILE16)(type(TILE16.chip).model_validate(table), "")


def test_a_layer_that_is_larger_than_its_engine_is_not_reloaded_in_silence(network: Graph) -> None:
    """The first layer takes 1,152 bytes of the digital engine and more arrays than there are."""
    tight = small(200, 1)
    assert isinstance(tight, type(TILE16))
    assert only_digital(tight).weight_memory_bytes == 200
    Partition("energy", inf, "auto")(network, tight)
    with pytest.raises(CapacityError) as caught:
        Partition("energy", inf, "resident")(network, tight)
    assert caught.value.node == "a"
    assert "with weights that stay, 1 layer does not fit the engines" in caught.value.message
    for reason in (
        "1,152 bytes of digital weight memory are wanted, and there are 200",
        "5 arrays of analog are wanted, and there are 1",
    ):
        assert reason in caught.value.message
    assert caught.value.hint == "take --weights auto, prune, or a chip with more room"
    # Where one engine can hold it, it goes there and stays.
    roomy = small(2000, 1)
    assert isinstance(roomy, type(TILE16))
    for node in Partition("latency", inf, "resident")(network, roomy):
        assert node.placement is not None
        if node.op == "Product":
            assert node.placement.mapping.resident
