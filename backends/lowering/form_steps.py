"""Forms drafts of steps from a placed graph: one node each, or host nodes that share a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import PurePosixPath

import numpy as np

from backends.lowering.operations import form_of
from compiler.cost.node import node_cost
from compiler.errors import ModelError
from compiler.execute.export_onnx import export_nodes
from compiler.execute.external_constants import pack_external, refer
from compiler.execute.host_split import nodes_on_reference
from compiler.execute.reference_evaluator import deciding_values
from compiler.ir.graph import Array, Graph, Node
from compiler.ir.mapping import NodeMapping
from compiler.ir.ops import VIEWS
from compiler.plan.package import host_weights_name
from compiler.plan.schema import Attribute
from compiler.storage.payload import Payload
from compiler.target.chip import Target

HOST_SEGMENT = "HostSegment"


@dataclass(frozen=True)
class StepDraft:
    """What becomes a step.

    `main_index` is that of the node which takes the most energy.

    `stored` are constants it reads from the weights payload, `inside` those its own `model` holds.
    `scratch` are values that only this draft makes and reads. A model (of ONNX; `weights` are its
    external data) takes `inputs` and gives `outputs` by position.
    """

    name: str
    op: str
    engine: str
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    stored: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    model: bytes = b""
    weights: Payload | None = None
    scratch: tuple[str, ...] = ()
    main_index: int = 0

    @property
    def main(self) -> Node | None:
        """The node that stands for the draft; None where it only hands out constants."""
        return self.nodes[self.main_index] if self.nodes else None

    @property
    def main_first(self) -> tuple[Node, ...]:
        """The nodes, the main one before the others."""
        at = self.main_index
        return (*self.nodes[at : at + 1], *self.nodes[:at], *self.nodes[at + 1 :])

    @cached_property
    def model_payload(self) -> Payload:
        """Its model as a file of the package."""
        return Payload.of(self.model)

    @property
    def scratch_buffer(self) -> str:
        """The buffer for what a host segment makes and reads itself."""
        return f"{self.name}.scratch"

    @property
    def model_constant(self) -> str:
        """The constant that stands for the weights inside a node left whole."""
        return f"{self.name}.model"

    def view_of(self, graph: Graph) -> str:
        """Finds the value whose bytes the output shares, or "" where it has bytes of its own."""
        is_view = self.op in VIEWS and not self.model and self.inputs[0] not in graph.constants
        return self.inputs[0] if is_view else ""


def form_steps(graph: Graph, target: Target) -> list[StepDraft]:
    """Forms the drafts of a placed graph, in its order; neighbours on the host share one draft."""
    host = target.host[0]
    drafts: list[StepDraft] = []
    reads = _reads(graph)
    groups = _groups(graph, host)
    together = groupby(enumerate(graph.nodes), key=lambda item: groups[item[0]])
    for (_, shared), items in together:
        nodes = tuple(node for _, node in items)
        if not shared or all(_view(node, graph) is not None for node in nodes):
            drafts.extend(_single(node, graph) for node in nodes)
        else:
            drafts.append(_run_of_host_nodes(nodes, graph, target, reads))
    handed_out = tuple(name for name in dict.fromkeys(graph.outputs) if name in graph.constants)
    if handed_out:
        model, weights = _host_model(graph, (), (), handed_out)
        drafts.append(
            StepDraft(
                name="constants",
                op=HOST_SEGMENT,
                engine=host,
                nodes=(),
                inputs=(),
                outputs=handed_out,
                model=model,
                weights=weights,
            )
        )
    return _with_own_names(drafts, graph)


def _with_own_names(drafts: list[StepDraft], graph: Graph) -> list[StepDraft]:
    """Renames drafts whose names, or those of what they own, a node or a value has already."""
    taken = {node.name for node in graph.nodes}
    result = []
    for draft in drafts:
        named, count = draft, 0
        while (
            named.scratch_buffer in graph.types
            or named.model_constant in graph.types
            or (len(draft.nodes) != 1 and named.name in taken)
        ):
            count += 1
            named = replace(draft, name=f"{draft.name}.{count}")
        taken.add(named.name)
        result.append(named)
    return result


def _groups(graph: Graph, host: str) -> list[tuple[int, bool]]:
    """Gives each node what neighbours must have in common to share a model.

    They are host nodes of the graph's opset, all on ONNX Runtime or all not.
    """
    alike = [node for node in graph.nodes if _engine(node) == host and node.op != "Segment"]
    inside = {node.name for node in alike}
    ports = {
        name
        for node in graph.nodes
        if node.name not in inside
        for name in (*node.inputs, *node.outputs)
    }
    on_reference = nodes_on_reference(alike, graph, (*graph.inputs, *graph.outputs, *ports))
    return [
        (-2 if node.name in on_reference else -1, True)
        if node.name in inside
        else (position, False)
        for position, node in enumerate(graph.nodes)
    ]


def mapping_of(node: Node) -> NodeMapping:
    """Returns how a placed node lies on its engine."""
    assert node.placement is not None, f"{node.name} is not placed"
    return node.placement.mapping


def _engine(node: Node) -> str:
    if node.placement is None:
        raise ValueError(f"node {node.name!r} is not placed")
    return node.placement.engine


def _reads(graph: Graph) -> dict[str, list[str]]:
    """Lists the names of the nodes that read each value.

    The graph's outputs are read by the outside ("").
    """
    readers = {name: [node.name for node in nodes] for name, nodes in graph.consumers.items()}
    for name in graph.outputs:
        readers.setdefault(name, []).append("")
    return readers


def _view(node: Node, graph: Graph) -> StepDraft | None:
    """Makes a draft without a model of a node that only gives the same bytes another shape."""
    form = form_of(node, graph) if node.op in VIEWS else None
    if form is None or form.inputs[0] in graph.constants:
        return None
    return StepDraft(
        name=node.name,
        op=node.op,
        engine=_engine(node),
        nodes=(node,),
        inputs=form.inputs,
        outputs=node.outputs,
    )


def _single(node: Node, graph: Graph) -> StepDraft:
    """Makes one node a draft of its own: for the kernels where they know it, else ONNX Runtime."""
    engine = _engine(node)
    view = _view(node, graph)
    if view is not None:
        return view
    form = None if node.op == "Segment" else form_of(node, graph)
    if form is not None:
        stored = tuple(n for n in dict.fromkeys(form.inputs) if n in graph.constants)
        return StepDraft(
            name=node.name,
            op=node.op,
            engine=engine,
            nodes=(node,),
            inputs=form.inputs,
            outputs=node.outputs,
            attributes=form.attributes,
            stored=stored,
        )
    outputs = tuple(name for name in node.outputs if name)
    if node.op == "Segment":
        read = [name for name in node.inputs if name]
        inputs = tuple(name for name in read if name not in graph.constants)
        model = _closed(node, read, graph)
        return StepDraft(
            name=node.name,
            op=node.op,
            engine=engine,
            nodes=(node,),
            inputs=inputs,
            outputs=outputs,
            model=model,
        )
    names = tuple(dict.fromkeys(name for name in node.inputs if name))
    inside = tuple(name for name in names if name in graph.constants)
    inputs = tuple(name for name in names if name not in graph.constants)
    model, weights = _host_model(graph, (node,), inputs, outputs)
    return StepDraft(
        name=node.name,
        op=node.op,
        engine=engine,
        nodes=(node,),
        inputs=inputs,
        outputs=outputs,
        inside=inside,
        model=model,
        weights=weights,
    )


def _closed(node: Node, read: list[str], graph: Graph) -> bytes:
    """Writes the model of a node left whole; inputs made constant since import lie inside."""
    data = node.attrs["model"]
    assert isinstance(data, bytes)
    if not any(name in graph.constants for name in read):
        return data
    import onnx

    model = onnx.ModelProto.FromString(data)
    ports = list(model.graph.input)
    del model.graph.input[:]
    for port, name in zip(ports, read, strict=True):
        constant = graph.constants.get(name)
        if constant is None:
            model.graph.input.append(port)
        else:
            tensor = onnx.numpy_helper.from_array(np.asarray(constant), port.name)
            model.graph.initializer.append(tensor)
    return _bytes(model)


def _run_of_host_nodes(
    nodes: tuple[Node, ...], graph: Graph, target: Target, reads: Mapping[str, list[str]]
) -> StepDraft:
    """Makes neighbours on the host one draft, named after the node that takes the most energy."""
    own = {node.name for node in nodes}
    made = [name for node in nodes for name in node.outputs if name]
    read = dict.fromkeys(name for node in nodes for name in node.inputs if name)
    inputs = tuple(name for name in read if name not in graph.constants and name not in set(made))
    inside = tuple(name for name in read if name in graph.constants)
    outputs = tuple(
        name for name in made if any(reader not in own for reader in reads.get(name, ()))
    )
    read_outside = set(outputs)
    model, weights = _host_model(graph, nodes, inputs, outputs)
    main_index = _dearest(nodes, graph, target)
    main = nodes[main_index]
    return StepDraft(
        name=main.name if len(nodes) == 1 else f"{main.name}+{len(nodes) - 1}",
        op=main.op if len(nodes) == 1 else HOST_SEGMENT,
        engine=target.host[0],
        main_index=main_index,
        nodes=nodes,
        inputs=inputs,
        outputs=outputs,
        inside=inside,
        model=model,
        weights=weights,
        scratch=tuple(name for name in made if name not in read_outside),
    )


def _dearest(nodes: tuple[Node, ...], graph: Graph, target: Target) -> int:
    """Finds the node that takes the most energy, all values in the same memory."""
    memory = next(reversed(target.memories))
    spent = [
        node_cost(
            node,
            graph,
            mapping_of(node),
            target,
            homes=dict.fromkeys((*node.inputs, *node.outputs), memory),
        ).energy_pj.value
        for node in nodes
    ]
    return spent.index(max(spent))


def _host_model(
    graph: Graph, nodes: tuple[Node, ...], inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> tuple[bytes, Payload | None]:
    """Writes some nodes as a model, and its larger constants as a file where they lie outside."""
    external: dict[str, Array] = {}
    value_info = deciding_values(nodes)
    model = export_nodes(graph, nodes, inputs, outputs, external=external, value_info=value_info)
    if not external:
        return _bytes(model), None
    weights = pack_external(external)
    refer(model, external, weights, PurePosixPath(host_weights_name(weights)).name)
    return _bytes(model), weights


def _bytes(model: object) -> bytes:
    """Writes a model the same way every time.

    ModelError when it is larger than the format allows.
    """
    import onnx
    from google.protobuf.message import EncodeError

    assert isinstance(model, onnx.ModelProto)
    try:
        data: bytes = model.SerializeToString(deterministic=True)
        return data
    except (EncodeError, ValueError) as error:
        raise ModelError(
            "a segment for the host is larger than an ONNX file can be (2 GiB)", code="M008"
        ) from error
