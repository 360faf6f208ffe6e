"""The plan seen as a graph: a networkx view of its steps and buffers, and the critical path."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from compiler.plan.schema import Plan, Port, Step

if TYPE_CHECKING:
    import networkx

Vertex: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class CriticalPath:
    """The steps that make a plan's latency, in order, and the time between them.

    Each begins when the one before it ends, since it reads what that one makes or needs its
    engine. The latency is the sum of the steps' times and `waits_ns`, which is 0 in every plan of
    this compiler: another scheduler may let a step begin later than it could.
    """

    steps: tuple[Step, ...]
    waits_ns: float

    @property
    def latency_ns(self) -> float:
        """The time from the start of the inference to the end of the last step."""
        return self.waits_ns + sum(step.end_ns - step.start_ns for step in self.steps)


def critical_path(plan: Plan) -> CriticalPath:
    """Finds the critical path of a plan's schedule, from the step that ends last back to the start.

    Of several steps that end when the next begins, the path takes one whose output it reads before
    one that only had its engine, then the later one. Without networkx: every report prints this
    path, and a walk back along known times is no longer than a call of a library.
    """
    before = _waited_for(plan)
    steps = plan.steps
    here = max(range(len(steps)), key=lambda position: steps[position].end_ns, default=-1)
    path: list[Step] = []
    waits_ns = 0.0
    while here >= 0:
        path.append(steps[here])
        made, same_engine = before[here]
        earlier = [(steps[position].end_ns, True, position) for position in made]
        earlier += [(steps[position].end_ns, False, position) for position in same_engine]
        latest_ns, _, latest = max(earlier, default=(0.0, False, -1))
        waits_ns += steps[here].start_ns - latest_ns
        here = latest
    return CriticalPath(tuple(reversed(path)), waits_ns)


def plan_graph(plan: Plan) -> networkx.DiGraph[Vertex]:
    """Builds a networkx view of a plan's steps and buffers.

    Vertices are ("step", NAME) and ("buffer", NAME). A step has the attributes `kind` ("step"),
    `index`, `op`, `engine`, `energy_pj`, `latency_ns`, `start_ns`, `end_ns`, `macs` and `nodes` (of
    the ONNX file); a buffer `kind` ("buffer"), `dtype`, `shape`, `memory`, `address`, `size_bytes`
    and `same_as`. Arcs have a `kind`: "read" from buffer to step, "write" from step to buffer, and
    "order" from a step to the next one on its engine. Their `latency_ns` is the time that passes
    along them: that of the step they come from, 0 from a buffer. So
    `networkx.dag_longest_path(graph, weight="latency_ns")` is a critical path, and its length the
    plan's latency where no step waits for longer than it must.
    """
    import networkx

    graph: networkx.DiGraph[Vertex] = networkx.DiGraph(
        model=plan.model.name, target=plan.target.name, latency_ns=plan.latency_ns.value
    )
    for buffer in plan.buffers:
        graph.add_node(
            ("buffer", buffer.name),
            kind="buffer",
            dtype=buffer.dtype,
            shape=buffer.shape,
            memory=buffer.memory,
            address=buffer.address,
            size_bytes=buffer.size_bytes,
            same_as=buffer.same_as,
        )
    for step in plan.steps:
        here = ("step", step.name)
        graph.add_node(
            here,
            kind="step",
            index=step.index,
            op=step.op,
            engine=step.engine,
            energy_pj=step.energy_pj.total.value,
            latency_ns=step.latency_ns.value,
            start_ns=step.start_ns,
            end_ns=step.end_ns,
            macs=step.macs,
            nodes=step.nodes,
        )
        for name in step.inputs:
            if ("buffer", name) in graph:
                graph.add_edge(("buffer", name), here, kind="read", latency_ns=0.0)
        for name in filter(None, step.outputs):
            graph.add_edge(here, ("buffer", name), kind="write", latency_ns=step.latency_ns.value)
    for step, (_, same_engine) in zip(plan.steps, _waited_for(plan), strict=True):
        for position in same_engine:
            other = plan.steps[position]
            graph.add_edge(
                ("step", other.name),
                ("step", step.name),
                kind="order",
                latency_ns=other.latency_ns.value,
            )
    return graph


def _waited_for(plan: Plan) -> list[tuple[list[int], list[int]]]:
    """The earlier steps that each step waits for, by position.

    Those that make what it reads, and the one before it on its engine (or none).
    """
    maker: dict[str, int] = {}
    latest: dict[str, int] = {}
    found = []
    for position, step in enumerate(plan.steps):
        made = dict.fromkeys(maker[name] for name in step.inputs if name in maker)
        found.append((list(made), [latest[step.engine]] if step.engine in latest else []))
        maker.update((name, position) for name in step.outputs if name)
        latest[step.engine] = position
    return found


def samples_of(inputs: Iterable[Port]) -> int | None:
    """Finds how many samples an inference has, from its inputs.

    That is their size along the batch axis; None where no input has one, or not all the same.
    """
    sizes = {
        port.shape[port.batch_axis]
        for port in inputs
        if port.batch_axis is not None
        and port.shape is not None
        and port.batch_axis < len(port.shape)
    }
    return sizes.pop() if len(sizes) == 1 else None
