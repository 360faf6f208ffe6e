"""Checks the rules of a model's graph.

Every name is made once and before it is read, every operation is known.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

import onnx

from compiler.errors import ModelError, nearest
from compiler.frontend.nesting import all_graphs, captures, every_graph, every_node, subgraphs
from compiler.frontend.qonnx import QONNX_DOMAINS
from compiler.frontend.qonnx import REWRITES as QONNX
from compiler.ir.graph import Array
from compiler.ir.protos import dtype_number

OLDEST_OPSET = 7  # the oldest that ONNX Runtime, our reference, promises to run


def label_nodes(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Gives every node a name of its own: the one it has, else its operation and position.

    The names, in order.
    """
    taken: set[str] = set()
    for index, node in enumerate(graph.node):
        label = name = node.name or f"{node.op_type}_{index}"
        count = 0
        while name in taken:
            count += 1
            name = f"{label}.{count}"
        taken.add(name)
        node.name = name
    return tuple(node.name for node in graph.node)


def check_texts(model: onnx.ModelProto) -> None:
    """Raises ModelError M002 for a name that is not UTF-8 (protobuf gives bytes for it)."""
    names: list[str] = []
    for graph in every_graph(model):
        values = [*graph.input, *graph.output, *graph.value_info]
        dims = [dim for value in values for dim in value.type.tensor_type.shape.dim]
        names += [graph.name, *(value.name for value in values), *(dim.dim_param for dim in dims)]
        names += [tensor.name for tensor in graph.initializer]
    for function in model.functions:
        names += [function.domain, function.name, function.overload]
        names += [*function.input, *function.output, *function.attribute]
        names += [attribute.name for attribute in function.attribute_proto]
    for node in every_node(model):
        names += [node.name, node.op_type, node.domain, node.overload, *node.input, *node.output]
        for attribute in node.attribute:
            names += [attribute.name, attribute.ref_attr_name]
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise ModelError(f"the name {wrong!r} is not UTF-8 text", code="M002")


def sort_nodes(graph: onnx.GraphProto, weights: Mapping[str, Array]) -> bool:
    """Puts the nodes in execution order; returns whether they were out of order in the file.

    ModelError M007 when there is none.
    """
    maker = _makers(graph, weights)
    reads = [[*(name for name in node.input if name), *captures(node)] for node in graph.node]
    for node, names in zip(graph.node, reads, strict=True):
        for name in names:
            if name not in maker:
                later = any(name in inner.output for g in _inner_graphs(node) for inner in g.node)
                fault = (
                    "before it is made: its graph is out of order, or holds a cycle"
                    if later
                    else "which nothing makes"
                )
                raise ModelError(
                    f"{node.op_type} reads {name!r}, {fault}",
                    code="M007", node=node.name, hint=nearest(name, [n for n in maker if n]),
                )  # fmt: skip
    for value in graph.output:
        if value.name not in maker:
            raise ModelError(f"nothing makes the output {value.name!r}", code="M007")
    needs = [{maker[name] for name in names} - {-1} for names in reads]
    if all(not need or max(need) < index for index, need in enumerate(needs)):
        return False
    order = _execution_order(needs)
    if len(order) < len(needs):
        raise ModelError(f"its nodes form a cycle: {_cycle(graph, needs, set(order))}", code="M007")
    nodes = [graph.node[index] for index in order]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    return True


def check_operations(model: onnx.ModelProto) -> None:
    """Raises ModelError M003 for what neither ONNX nor ONNX Runtime knows.

    That may be an opset, a domain or an operation.
    """
    newest = onnx.defs.onnx_opset_version()
    opsets: dict[str, int] = {}
    for opset in model.opset_import:
        if opset.domain in opsets and opsets[opset.domain] != opset.version:
            raise ModelError(f"two opsets are declared for domain {opset.domain!r}", code="M003")
        if not 0 < opset.version < 1 << 31:
            raise ModelError(
                f"domain {opset.domain or 'ai.onnx'!r} has no opset {opset.version}", code="M003"
            )
        opsets[opset.domain] = opset.version
    opset_of_default = opsets.get("", OLDEST_OPSET)
    if opset_of_default > newest:
        raise ModelError(
            f"the model is of opset {opset_of_default}, the newest known is {newest}", code="M003",
            hint="export it with an older opset, or install a newer onnx package",
        )  # fmt: skip
    for graph in all_graphs(model.graph):
        for node in graph.node:
            if node.domain not in opsets:
                domain = node.domain or "ai.onnx"
                raise ModelError(
                    f"{node.op_type} is of domain {domain!r}, for which the model imports no opset",
                    code="M003", node=node.name,
                )  # fmt: skip
            _check_operation(node, opsets[node.domain])
            if any(attribute.ref_attr_name for attribute in node.attribute):
                raise ModelError(
                    f"{node.op_type} refers to an attribute of a function, and stands in none",
                    code="M002", node=node.name,
                )  # fmt: skip


def check_rules(model: onnx.ModelProto, weights: Mapping[str, Array]) -> None:
    """Raises ModelError M002 with the fault that ONNX's own checker finds in the model.

    The checker sees the weights as inputs.
    """
    untyped = next((v.name for v in model.graph.input if not v.type.WhichOneof("value")), None)
    if untyped is not None:
        raise ModelError(f"input {untyped!r} has no type", code="M002")
    for value in model.graph.input:
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            raise ModelError(
                f"input {value.name!r} does not say how many axes it has", code="M002",
                hint="export the model with the shapes of its inputs; "
                "an axis of any size may carry a name",
            )  # fmt: skip
    trial = onnx.ModelProto()
    trial.CopyFrom(model)
    trial.ir_version = max(trial.ir_version, 4)
    del trial.graph.value_info[:]
    for value in trial.graph.output:  # what is left out here, inference finds
        if value.type.WhichOneof("value") in (None, "tensor_type"):
            value.type.tensor_type.shape.SetInParent()
            value.type.tensor_type.elem_type = value.type.tensor_type.elem_type or 1
    inputs = {value.name for value in trial.graph.input}
    for name, data in weights.items():
        if name not in inputs:
            kind = "string" if data.dtype == object else data.dtype.name
            number = dtype_number(kind)
            trial.graph.input.append(
                onnx.helper.make_tensor_value_info(name, number, list(data.shape))
            )
    if not model.ir_version:
        raise ModelError("the model does not say its IR version", code="M002")
    try:
        onnx.checker.check_model(trial)
    except onnx.checker.ValidationError as error:
        reason, _, context = str(error).partition("==> Context:")
        raise ModelError(" ".join(reason.split()), code="M002", node=_named(context)) from error


def _named(context: str) -> str:
    """Finds the node that the checker speaks of."""
    name = context.partition("Name: ")[2]
    return name.partition(" OpType: ")[0].strip()


def _check_operation(node: onnx.NodeProto, opset: int) -> None:
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        pass
    else:
        if schema.deprecated:
            raise ModelError(
                f"{node.op_type} is withdrawn in opset {opset}", code="M003", node=node.name,
                hint="export the model with a newer opset",
            )  # fmt: skip
        _check_list_of_inputs(node, schema)
        return
    if node.domain not in ("", "ai.onnx.ml"):
        _check_foreign(node)
        return
    where = "ONNX" if not node.domain else node.domain
    if onnx.defs.has(node.op_type, node.domain):
        since = min(
            schema.since_version
            for schema in onnx.defs.get_all_schemas_with_history()
            if schema.name == node.op_type and schema.domain == node.domain
        )
        raise ModelError(
            f"{node.op_type} is an operation of {where} since opset {since}, the model declares "
            f"opset {opset}",
            code="M003", node=node.name,
        )  # fmt: skip
    known = [schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == node.domain]
    raise ModelError(
        f"{where} has no operation {node.op_type!r}", code="M003", node=node.name,
        hint=nearest(node.op_type, known),
    )  # fmt: skip


def _check_list_of_inputs(node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> None:
    """Raises ModelError M002 where an input is left out of a list of inputs of any length.

    ONNX's checker lets it pass, and ONNX Runtime ends the process.
    """
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    if not schema.inputs or schema.inputs[-1].option != variadic:
        return
    for position, name in enumerate(node.input):
        if not name and position >= len(schema.inputs) - 1:
            raise ModelError(
                f"{node.op_type} takes a list of inputs, of which none may be left out: input "
                f"{position} is",
                code="M002", node=node.name,
            )  # fmt: skip


def _check_foreign(node: onnx.NodeProto) -> None:
    """Raises ModelError M003 for a domain or operation that ONNX Runtime does not know.

    ONNX Runtime will run the node.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    schemas = runtime.get_all_operator_schema()
    known = [schema.name for schema in schemas if schema.domain == node.domain]
    if node.domain in QONNX_DOMAINS:
        known += QONNX
    if node.op_type in known:
        return
    if not known:
        domains = sorted({schema.domain for schema in schemas} | {*QONNX_DOMAINS})
        standard = "export the model with standard operations, such as QDQ for quantized ones"
        raise ModelError(
            f"{node.op_type} is of domain {node.domain!r}, which neither ONNX nor ONNX Runtime "
            "knows",
            code="M003", node=node.name, hint=nearest(node.domain, domains) or standard,
        )  # fmt: skip
    raise ModelError(
        f"domain {node.domain!r} has no operation {node.op_type!r}", code="M003", node=node.name,
        hint=nearest(node.op_type, known),
    )  # fmt: skip


def _inner_graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Returns the graphs inside a node, at any depth."""
    return [inner for graph in subgraphs(node) for inner in all_graphs(graph)]


def _makers(graph: onnx.GraphProto, weights: Iterable[str]) -> dict[str, int]:
    """Maps each name to the position of the node that makes it; -1 for inputs and weights."""
    maker: dict[str, int] = dict.fromkeys(weights, -1)
    inputs: set[str] = set()
    for value in graph.input:
        if value.name in inputs:
            raise ModelError(f"two inputs are named {value.name!r}", code="M007")
        inputs.add(value.name)
    maker.update(dict.fromkeys(inputs, -1))
    for index, node in enumerate(graph.node):
        for name in node.output:
            if name and name in maker:
                other = maker[name]
                by = f"node {graph.node[other].name!r}" if other >= 0 else "the model's inputs"
                raise ModelError(
                    f"{node.op_type} makes {name!r}, which {by} made before",
                    code="M007", node=node.name,
                )  # fmt: skip
            if name:
                maker[name] = index
    return maker


def _execution_order(needs: list[set[int]]) -> list[int]:
    """Orders positions so that each comes after those it needs.

    Those on or behind a cycle are missing.
    """
    readers: dict[int, list[int]] = {}
    open_needs = [len(need) for need in needs]
    for index, need in enumerate(needs):
        for other in need:
            readers.setdefault(other, []).append(index)
    ready = [index for index, count in enumerate(open_needs) if not count]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers.get(index, ()):
            open_needs[reader] -= 1
            if not open_needs[reader]:
                heapq.heappush(ready, reader)
    return order


def _cycle(graph: onnx.GraphProto, needs: list[set[int]], done: set[int]) -> str:
    """Returns the names of the nodes on one cycle."""
    here = min(set(range(len(needs))) - done)
    path: dict[int, None] = {}
    while here not in path:
        path[here] = None
        here = min(needs[here] - done)
    circle = list(path)
    circle = circle[circle.index(here) :][::-1]
    first = circle.index(min(circle))
    circle = circle[first:] + circle[:first]
    names = [graph.node[index].name for index in circle]
    shown = names if len(names) <= 6 else [*names[:5], f"... {len(names) - 6} more", names[-1]]
    return " -> ".join([*shown, names[0]])
