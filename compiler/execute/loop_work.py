"""Limits the work of Loops and Scans: a run stops where they would not end, or not for years.

Neither ONNX Runtime nor onnx's evaluator can be asked to stop, so a copy of the model is run whose
Loops and Scans count their own work and fail beyond the limit. Values are those of the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from compiler.choices import MAX_LOOP_WORK
from compiler.errors import ModelError, one_line
from compiler.execute.loop_cost import Costs, body_of, costs_of, inner_graphs, is_batched, loops_in

if TYPE_CHECKING:
    import onnx

# A Gather from a table of this size fails beyond the limit; no model has one of it by chance.
TABLE = 9973
TURN = 16  # what a turn costs beyond the nodes of its body, in nodes
REFERENCE_SHARE = 100  # so many times slower is a node on onnx's evaluator
FEW_TURNS = 1000  # one that is known to take no more is as a list of nodes, and counts nothing

_limits = [MAX_LOOP_WORK]  # of the process, as memory's and time's are; the last holds
_STOPPED = re.compile(r"Name:'work of (Loop|Scan) (.*?)' Status Message")


@contextmanager
def limited_loop_work(limit: int | None) -> Iterator[None]:
    """Sets the most work of the Loops and Scans of a node in one run; None leaves it as it is."""
    _limits.append(_limits[-1] if limit is None else limit)
    try:
        yield
    finally:
        _limits.pop()


def with_limit(model: bytes, *, on_reference: bool = False) -> bytes:
    """Writes a model whose Loops and Scans fail past the limit; the same bytes where none could."""
    if b"Loop" not in model and b"Scan" not in model:
        return model
    import onnx

    # Functions stay calls: the judge of numbers runs the file as given, and what the import makes
    # of it has none. A Loop inside one is not limited here.
    proto = onnx.ModelProto.FromString(model)
    if not loops_in(proto.graph):
        return model
    limit = max(1, min(_limits[-1], 1 << 62) // (REFERENCE_SHARE if on_reference else 1))
    costs = costs_of(proto)
    given = frozenset(value.name for value in (*proto.graph.input, *proto.graph.initializer))
    if all(_is_small(node, costs, limit, given) for node in proto.graph.node):
        return model
    writer = _Writer(proto, costs, limit)
    return writer.finish()


def refusal_of(error: Exception) -> ModelError | None:
    """Makes the refusal of a run that failed at the limit of work; None for any other failure."""
    text = str(error)
    if str(TABLE) not in text or ("out of bounds" not in text and "out of data bounds" not in text):
        return None
    found = _STOPPED.findall(text)
    kind, name = found[-1] if found else ("Loop or Scan", "")
    return refusal(name, "does more work in a run than", kind)


def refusal(loop: str, reason: str, kind: str) -> ModelError:
    """Makes the refusal of a Loop or Scan (its kind) that passes the limit of work."""
    return ModelError(
        f"its {kind} {reason} the {_limits[-1]:,} of --max-loop-work "
        "(1 for each node that is executed, more for one of many elements)",
        code="M008",
        node=one_line(loop),
        hint=("does it ever end? " if kind != "Scan" else "") + "--max-loop-work allows more",
    )


def endless_loop(graph: onnx.GraphProto, costs: Costs) -> onnx.NodeProto | None:
    """Finds a Loop or Scan that provably passes the limit of work.

    A Loop's condition is always true, and it has no trip count or one that is known and too large;
    a Scan's input is too long.
    """
    constants = costs.constants
    node: onnx.NodeProto
    for node in graph.node:
        if _is_loop(node):
            body = body_of(node)
            turns = costs.turns(node)
            is_scan = node.op_type == "Scan"
            going = is_scan or not body.output or costs.is_always_true(body, node)
            uncounted = not is_scan and not (node.input and node.input[0])
            many = turns is not None and turns * (TURN + len(body.node)) > _limits[-1]
            if going and (uncounted or many):
                return node
        for inner in inner_graphs(node):
            found: onnx.NodeProto | None = endless_loop(inner, costs.inside(inner, constants))
            if found is not None:
                return found
    return None


def _is_loop(node: onnx.NodeProto) -> bool:
    """Whether a node is a Loop or Scan; one without a body is left to what refuses to run it."""
    is_named = node.op_type in ("Loop", "Scan") and node.domain in ("", "ai.onnx")
    return is_named and bool(inner_graphs(node))


def _is_small(node: onnx.NodeProto, costs: Costs, limit: int, given: frozenset[str]) -> bool:
    """Whether the Loops in a node certainly end, after few turns or little work."""
    if not _is_loop(node) and not any(loops_in(inner) for inner in inner_graphs(node)):
        return True
    turns, work = _most_turns(node, costs, given)
    return (turns is not None and turns <= FEW_TURNS) or (work is not None and work <= limit)


def _most_turns(
    node: onnx.NodeProto, costs: Costs, given: frozenset[str] = frozenset()
) -> tuple[int | None, int | None]:
    """Counts the most turns, and the most work, that the Loops in a node can take.

    None for what is not known before it runs. The length of a Scan is where it reads what is
    `given` to the model: nothing holds other values to the shapes that a model declares.
    """
    times: int | None = 1
    if node.op_type == "Scan" and not given.issuperset(node.input[-1:]):
        times = None
    elif _is_loop(node):
        times = costs.turns(node)
    elif node.op_type != "If":
        times = None  # as often as a sequence is long
    turns: int | None = 0
    work: int | None = TURN if _is_loop(node) else 0
    for inner in inner_graphs(node):
        within = costs.inside(inner)
        parts: list[tuple[int | None, int | None]] = [(1, within.static(inner))]
        parts += [_most_turns(one, within) for one in inner.node if inner_graphs(one)]
        turns = _sum([turns, *(part[0] for part in parts)])
        work = _sum([work, *(part[1] for part in parts)])
    if times is None:
        return None, None
    return None if turns is None else times * turns, None if work is None else times * work


def _sum(parts: list[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


class _Writer:
    """Writes the counting into a model, graph by graph."""

    def __init__(self, model: onnx.ModelProto, costs: Costs, limit: int) -> None:
        self.model = model
        self.costs = costs
        self.prefix = "joulec.work"
        data = model.SerializeToString()
        while self.prefix.encode() in data:
            self.prefix += "_"
        self.count = 0
        self.pending: list[onnx.NodeProto] = []  # of the graph whose nodes are being walked
        self.numbers: dict[int, str] = {}
        # Places in the table are `unit` apart, and the count starts where it ends at limit + 1.
        self.unit = -(-(limit + 1) // TABLE)
        self.start = TABLE * self.unit - (limit + 1)

    def finish(self) -> bytes:
        """Returns the bytes of the model that counts."""
        import numpy as np
        import onnx

        graph = self.model.graph
        start = self._number(self.start)
        for node in graph.node:  # each on its own: their order in the file may be any
            self._holder(node, start, self.costs, node.name)
        graph.node.extend(self._taken())
        constants = [
            onnx.helper.make_node(
                "Constant", [], [name], value=onnx.numpy_helper.from_array(np.array(value))
            )
            for value, name in self.numbers.items()
        ]
        table = onnx.numpy_helper.from_array(np.zeros(TABLE, np.uint8))
        constants.append(onnx.helper.make_node("Constant", [], [self._table], value=table))
        nodes = [
            *constants,
            *(onnx.NodeProto.FromString(n.SerializeToString()) for n in graph.node),
        ]
        del graph.node[:]
        graph.node.extend(nodes)
        data: bytes = self.model.SerializeToString()
        return data

    @property
    def _table(self) -> str:
        return f"{self.prefix}.table"

    def _holder(self, node: onnx.NodeProto, spent: str, costs: Costs, name: str) -> str:
        """Lets the Loops in a node count on from `spent`; returns what holds the sum behind it."""
        graphs = inner_graphs(node)
        if not _is_loop(node) and not any(loops_in(inner) for inner in graphs):
            return spent
        if _is_loop(node) and node.op_type == "Loop":
            return self._loop(node, spent, costs, name)
        if _is_loop(node) and is_batched(node):
            return self._batched(node, spent, costs, name)
        if _is_loop(node):
            return self._carried(node, body_of(node), spent, costs, name, inputs=0, outputs=0)
        if node.op_type == "If":
            ends = [self._graph(inner, spent, costs.inside(inner), name) for inner in graphs]
            for inner, end in zip(graphs, ends, strict=True):
                inner.output.append(_scalar(self._copied(inner, end)))
            after = self._fresh()
            node.output.append(after)
            return after
        for inner in graphs:
            self._graph(inner, spent, costs.inside(inner), name)
        return spent

    def _graph(self, graph: onnx.GraphProto, spent: str, costs: Costs, name: str) -> str:
        """Counts through the nodes of a graph in order; returns what holds the sum at its end."""
        added: list[onnx.NodeProto] = []
        for index, node in enumerate(graph.node):
            own = f"{name}/{node.name or f'{node.op_type}_{index}'}"
            spent = self._holder(node, spent, costs, own)
            added += self._taken()
        graph.node.extend(added)
        return spent

    def _taken(self) -> list[onnx.NodeProto]:
        taken, self.pending = self.pending, []
        return taken

    def _loop(self, node: onnx.NodeProto, spent: str, costs: Costs, name: str) -> str:
        while len(node.input) < 2:
            node.input.append("")
        return self._carried(node, body_of(node), spent, costs, name, inputs=2, outputs=1)

    def _carried(
        self,
        node: onnx.NodeProto,
        body: onnx.GraphProto,
        spent: str,
        costs: Costs,
        name: str,
        inputs: int,
        outputs: int,
    ) -> str:
        """Adds a carried value to a Loop or Scan, to which each turn adds its work.

        It stands behind the first `inputs` of the node's (and its body's) inputs and the first
        `outputs` of its body's outputs.
        """
        inner = costs.inside(body)
        before = self._fresh()
        end = self._graph(body, before, inner, name)
        end = self._charge(body, end, inner, f"{node.op_type} {name}")
        _insert(node.input, inputs, spent)
        _insert_values(body.input, inputs, _scalar(before))
        _insert_values(body.output, outputs, _scalar(self._copied(body, end)))
        after = self._fresh()
        _insert(node.output, 0, after)
        return after

    def _charge(self, body: onnx.GraphProto, spent: str, costs: Costs, name: str) -> str:
        """Adds the work of a turn to what is spent, and a node that fails past the limit."""
        import onnx

        fixed, nodes, terms = costs.charge(body, self._fresh, self._number)
        body.node.extend(nodes)
        for term in [self._number(TURN + fixed), *terms]:
            total = self._fresh()
            body.node.append(onnx.helper.make_node("Add", [spent, term], [total]))
            spent = total
        body.node.extend(self._guard(spent, name))
        return spent

    def _guard(self, spent: str, name: str) -> list[onnx.NodeProto]:
        """Makes the nodes that fail past the limit; the last makes a zero of uint8."""
        import onnx

        place = self._fresh()
        return [
            onnx.helper.make_node("Div", [spent, self._number(self.unit)], [place]),
            onnx.helper.make_node(
                "Gather", [self._table, place], [self._fresh()], name=f"work of {name}"
            ),
        ]

    def _batched(self, scan: onnx.NodeProto, spent: str, costs: Costs, name: str) -> str:
        """Lets a Scan of opset 8 read its input through nodes that fail where it is too long.

        It carries no scalar; its turns are the input's first two sizes, batch and length.
        """
        import onnx

        body = body_of(scan)
        inner = costs.inside(body)
        self._graph(body, spent, inner, name)
        fixed, _, _ = inner.charge(body, self._fresh, self._number)
        nodes: list[onnx.NodeProto] = []

        def emit(op: str, *inputs: str, **attributes: Any) -> str:
            nodes.append(onnx.helper.make_node(op, inputs, [self._fresh()], **attributes))
            return str(nodes[-1].output[0])

        shape = emit("Shape", scan.input[-1])
        ends = emit("Slice", shape, axes=[0], starts=[0], ends=[2])
        turns = emit("ReduceProd", ends, keepdims=0)
        total = emit("Add", spent, emit("Mul", turns, self._number(TURN + fixed)))
        nodes += self._guard(total, f"Scan {name}")
        zero = emit("Cast", nodes[-1].output[0], to=onnx.TensorProto.INT64)
        scan.input[-1] = emit("Reshape", scan.input[-1], emit("Add", shape, zero))
        self.pending = nodes
        return total

    def _copied(self, graph: onnx.GraphProto, name: str) -> str:
        """Makes a value of the graph's own, which an outer name is not: outputs have to be such."""
        import onnx

        copy = self._fresh()
        graph.node.append(onnx.helper.make_node("Identity", [name], [copy]))
        return copy

    def _fresh(self) -> str:
        self.count += 1
        return f"{self.prefix}.{self.count}"

    def _number(self, value: int) -> str:
        """Names a constant of the outermost graph."""
        return self.numbers.setdefault(value, f"{self.prefix}.of.{value}")


def _scalar(name: str) -> onnx.ValueInfoProto:
    import onnx

    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, [])


def _insert(names: object, position: int, name: str) -> None:
    found = list(names)  # type: ignore[call-overload]
    names[:] = [*found[:position], name, *found[position:]]  # type: ignore[index]


def _insert_values(values: object, position: int, value: onnx.ValueInfoProto) -> None:
    import onnx

    found = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in values]  # type: ignore[attr-defined]
    del values[:]  # type: ignore[attr-defined]
    values.extend([*found[:position], value, *found[position:]])  # type: ignore[attr-defined]
