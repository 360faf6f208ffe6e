"""Writes a model's local functions out where they are called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import onnx

from compiler.errors import Diagnostic, ModelError, nearest
from compiler.frontend.nesting import (
    all_graphs,
    captures,
    graphs_of,
    nodes_inside,
    subgraphs,
    value_names,
)
from compiler.frontend.renaming import rename_in_graph, rename_values
from compiler.frontend.tensors import MICROSOFT, Limits

LONGEST_PREFIX = 200  # characters of the names of calls that a name inside a function begins with

Key = tuple[str, str, str]  # domain, name, overload


def inline_functions(model: onnx.ModelProto, limits: Limits) -> list[Diagnostic]:
    """Inlines every call of a local function into the graph that calls it; returns notes.

    What ONNX leaves to the runtime is as in ONNX Runtime: where an operation has the name of a
    function, the operation runs; a body runs in the model's opsets, whatever its function declares.

    Raises ModelError where calls run in a circle (M007), would make too many nodes (M008), or do
    not fit their function (M002).
    """
    if not model.functions:
        return []
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    functions: dict[Key, onnx.FunctionProto] = {}
    for function in model.functions:
        key = (function.domain, function.name, function.overload)
        if key in functions:
            raise ModelError(f"it has two local functions {_words(key)}", code="M007")
        if not _is_operation(key, opsets):
            functions[key] = function
    sizes: dict[Key, int] = {}
    for key in functions:
        _measure(key, functions, sizes)
    nodes = [node for graph in all_graphs(model.graph) for node in graph.node]
    limits.check_count(sum(sizes.get(_key(node), 1) for node in nodes))
    inliner = _Inliner(functions, set(value_names(model.graph)), limits)
    inliner.expand_graph(model.graph)
    notes = [_other_opset(key, functions[key], opsets) for key in sorted(inliner.used)]
    for function in model.functions:
        for opset in function.opset_import:
            if opset.domain not in opsets:
                model.opset_import.add(domain=opset.domain, version=opset.version)
                opsets[opset.domain] = opset.version
    del model.functions[:]
    return [Diagnostic(message=note) for note in notes if note]


class _Inliner:
    """Writes out calls; `used` are the functions that were called."""

    def __init__(
        self, functions: Mapping[Key, onnx.FunctionProto], taken: set[str], limits: Limits
    ) -> None:
        self.functions = functions
        self.limits = limits
        self.used: set[Key] = set()
        self._taken = taken
        self._nodes = 0
        self._handed_nodes = 0
        self._handed_bytes = 0

    def expand_graph(self, graph: onnx.GraphProto) -> None:
        """Writes out the calls in a graph and in the graphs inside it."""
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
        del graph.node[:]
        graph.node.extend(self._expanded(nodes))

    def _expanded(self, nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        """Yields the nodes with every call written out; a chain of calls may be of any length."""
        pending = [*nodes][::-1]
        while pending:
            node = pending.pop()
            if _key(node) in self.functions:
                pending.extend([*self._body(node)][::-1])
                continue
            self._nodes += 1
            self.limits.check_count(self._nodes)
            for graph in subgraphs(node):
                self.expand_graph(graph)
            yield node

    def _body(self, call: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """Yields the nodes of a called function, in the names and with the attributes of a call."""
        key = _key(call)
        function = self.functions[key]
        if key not in self.used:
            _check_names(key, function)
            self.used.add(key)
        inputs = _by_formal("inputs", function.input, call.input, call)
        outputs = _by_formal("outputs", function.output, call.output, call)
        attributes = {a.name: a for a in (*function.attribute_proto, *call.attribute)}
        prefix = f"{call.name or call.op_type}/" if len(call.name) < LONGEST_PREFIX else ""
        scope = {"": "", **dict(inputs)}
        for formal, actual in outputs:
            if actual:
                scope.setdefault(formal, actual)
        for name in (name for node in function.node for name in node.output):
            if name not in scope:
                scope[name] = self._fresh(prefix + name)
        for position, node in enumerate(function.node):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{prefix}{node.name or f'{node.op_type}_{position}'}"
            rename_values(copy, scope, lambda name: self._fresh(prefix + name))
            self._resolve(copy, attributes)
            yield copy
        for formal, actual in outputs:
            if actual and scope[formal] != actual:  # an input of the function, or an output twice
                yield onnx.NodeProto(op_type="Identity", input=[scope[formal]], output=[actual])

    def _resolve(self, node: onnx.NodeProto, attributes: Mapping[str, onnx.AttributeProto]) -> None:
        """Replaces references to a function's attributes by the values, in graphs inside too.

        One without a value is left out, so that the operation's own default counts.
        """
        found = [*node.attribute]
        del node.attribute[:]
        for attribute in found:
            if not attribute.ref_attr_name:
                for graph in graphs_of(attribute):
                    for inner in graph.node:
                        self._resolve(inner, attributes)
            elif attribute.ref_attr_name in attributes:
                name = attribute.name
                attribute.CopyFrom(attributes[attribute.ref_attr_name])
                attribute.name = name
                self._count_handed(attribute)
                for graph in graphs_of(attribute):
                    rename_in_graph(graph, {}, self._fresh)
            else:
                continue
            node.attribute.append(attribute)

    def _count_handed(self, attribute: onnx.AttributeProto) -> None:
        """Raises ModelError M008 where what calls hand to functions grows past the limits."""
        self._handed_bytes += attribute.ByteSize()
        self.limits.check_bytes(attribute.name, self._handed_bytes)
        graphs = graphs_of(attribute)
        if graphs:
            self._handed_nodes += sum(len(graph.node) for graph in all_graphs(*graphs))
            self.limits.check_count(self._handed_nodes)

    def _fresh(self, wanted: str) -> str:
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}.{count}"
        self._taken.add(name)
        return name


def _by_formal(
    what: str, formal: Sequence[str], given: Sequence[str], call: onnx.NodeProto
) -> list[tuple[str, str]]:
    """Pairs a function's inputs or outputs with a call's; what the call leaves out is ""."""
    if len(given) > len(formal):
        raise ModelError(
            f"it calls the local function {_words(_key(call))}, which has {len(formal)} {what}, "
            f"with {len(given)}",
            code="M002", node=call.name,
        )  # fmt: skip
    return list(zip(formal, (*given, *[""] * (len(formal) - len(given))), strict=True))


def _check_names(key: Key, function: onnx.FunctionProto) -> None:
    """Raises ModelError M007 where a function reads or gives what nothing in it makes."""
    made = {"", *function.input, *(name for node in function.node for name in node.output)}
    reads = (n for node in function.node for n in (*node.input, *captures(node)))
    for name in (*reads, *function.output):
        if name not in made:
            raise ModelError(
                f"the local function {_words(key)} reads or gives {name!r}, which nothing in it "
                "makes",
                code="M007", hint=nearest(name, sorted(made)),
            )  # fmt: skip


def _is_operation(key: Key, opsets: Mapping[str, int]) -> bool:
    """Whether ONNX or ONNX Runtime has an operation of a function's name."""
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    domain, name, _ = key
    if onnx.defs.has(name, opsets.get(domain, 1), domain):
        return True
    if domain != MICROSOFT:
        return False
    schemas = runtime.get_all_operator_schema()
    return any(schema.domain == domain and schema.name == name for schema in schemas)


def _other_opset(key: Key, function: onnx.FunctionProto, opsets: Mapping[str, int]) -> str:
    """Says where a function declares an opset in which its operations mean something else."""
    declared = {opset.domain: opset.version for opset in function.opset_import}
    for node in nodes_inside(function):
        mine, models = declared.get(node.domain), opsets.get(node.domain)
        if mine is None or models is None or mine == models:
            continue
        found = [_since(node, mine), _since(node, models)]
        if found[0] != found[1]:
            return (
                f"the local function {_words(key)} declares opset {mine} of "
                f"{node.domain or 'ai.onnx'}, the model {models}: its {node.op_type} runs as of "
                "the model's, as in ONNX Runtime"
            )
    return ""


def _since(node: onnx.NodeProto, opset: int) -> int:
    """Finds the opset in which a node's operation got the meaning that it has in a later one."""
    if not onnx.defs.has(node.op_type, opset, node.domain):
        return 0
    return int(onnx.defs.get_schema(node.op_type, opset, node.domain).since_version)


def _key(node: onnx.NodeProto) -> Key:
    return node.domain, node.op_type, node.overload


def _words(key: Key) -> str:
    domain, name, overload = key
    return f"{domain or 'ai.onnx'}.{name}" + (f" ({overload})" if overload else "")


def _measure(
    start: Key, functions: Mapping[Key, onnx.FunctionProto], sizes: dict[Key, int]
) -> None:
    """Counts the nodes a function grows to, for it and all it calls, without recursion."""
    path = [start]
    while path:
        key = path[-1]
        inside = nodes_inside(functions[key])
        calls = [called for node in inside if (called := _key(node)) in functions]
        missing = next((called for called in calls if called not in sizes), None)
        if missing is None:
            plain = len(inside) - len(calls)
            sizes[key] = min(plain + sum(sizes[called] for called in calls), 1 << 62)
            path.pop()
        elif missing in path:
            circle = " -> ".join(name for _, name, _ in [*path[path.index(missing) :], missing])
            raise ModelError(
                f"its local functions call each other in a circle: {circle}", code="M007"
            )
        else:
            path.append(missing)
