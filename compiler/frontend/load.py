"""Reads an ONNX model from a file, bytes or a message, and checks it.

Whatever comes in, a sound model or one plain line comes out.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError

from compiler.errors import CompileError, Diagnostic, ModelError, UsageError, one_line
from compiler.frontend.external_data import External
from compiler.frontend.functions import inline_functions
from compiler.frontend.nesting import every_node
from compiler.frontend.old_opsets import not_older_than_7
from compiler.frontend.rules import (
    check_operations,
    check_rules,
    check_texts,
    label_nodes,
    sort_nodes,
)
from compiler.frontend.tensors import (
    MICROSOFT,
    Limits,
    check_finite,
    every_tensor,
    take_inside,
    take_weights,
)
from compiler.ir.graph import Array
from compiler.storage.files import stem_of
from compiler.storage.mistaken import why_mistaken

LARGEST_MESSAGE = (1 << 31) - 1  # protobuf's own limit

# How other files that people take for models begin: (offset, bytes, what it looks like).
_OTHER_FORMATS = (
    (4, b"TFL3", "a TensorFlow Lite model; convert it with tf2onnx --tflite"),
    (4, b"ORTM", "a model in ONNX Runtime's own .ort format; hand in the .onnx it was made from"),
    (0, b"PK\x03\x04", "a zip archive (a PyTorch .pt or Keras file?); "
                       "export it with torch.onnx.export or tf2onnx"),
    (0, b"\x80\x02", "a Python pickle (an old PyTorch file?); export it with torch.onnx.export"),
    (0, b"\x80\x03", "a Python pickle; export the model with torch.onnx.export"),
    (0, b"\x80\x04", "a Python pickle; export the model with torch.onnx.export"),
    (0, b"\x80\x05", "a Python pickle; export the model with torch.onnx.export"),
    (0, b"\x89HDF", "an HDF5 file (a Keras model?); convert it with tf2onnx"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"\x1f\x8b", "a gzip file; unpack it first"),
    (0, b"version https://git-lfs", "a Git LFS pointer; run git lfs pull"),
    (0, b"{", "a JSON text"),
    (0, b"<", "a web page or XML text"),
    (8, b'{"', "a safetensors file, which has weights and no graph"),
)  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """A sound model.

    `model` has its nodes named, in execution order and free of local functions; its initializers
    are not in it but in `weights`. `order` gives the nodes' names in the order of the file;
    `sha256` is over all bytes read, `files` what was read; `notes` say what was put right.
    """

    model: onnx.ModelProto
    weights: Mapping[str, Array]
    order: tuple[str, ...]
    name: str
    sha256: str
    files: tuple[Path, ...]
    notes: tuple[Diagnostic, ...] = ()

    @property
    def opset(self) -> int:
        """The opset of ONNX's default domain."""
        return next((o.version for o in self.model.opset_import if not o.domain), 1)


def load_model(source: str | Path | bytes | onnx.ModelProto, limits: Limits) -> Loaded:
    """Reads and checks a model.

    Raises UsageError U001 for a missing file and ModelError for anything else that is wrong.
    """
    try:
        return _load(source, limits)
    except CompileError:
        raise
    except UnicodeDecodeError as error:
        raise ModelError("a text of the model is not UTF-8", code="M002") from error
    except RecursionError as error:
        raise ModelError("its graphs are nested too deeply", code="M008") from error
    except (RuntimeError, EncodeError, TypeError) as error:
        raise ModelError(f"it cannot be read: {error}", code="M002") from error


def whole_message(path: Path) -> onnx.ModelProto:
    """Reads a model's message as it is, and puts its external data inside.

    Raises as `load_model` for a file, or data, that cannot be read.
    """
    model = _parse(_read(path), repr(str(path)))
    external = External(path.parent)
    for tensor, _ in every_tensor(model):
        take_inside(tensor, external)
    return model


def external_files(path: Path) -> tuple[Path, ...]:
    """Finds the files with external data of a model, sound or not, that are what they should be."""
    external = External(path.parent)
    with contextlib.suppress(CompileError):
        for tensor, _ in every_tensor(_parse(_read(path), "the model")):
            with contextlib.suppress(CompileError):
                external.open(tensor)
    return tuple(external.files)


def _load(source: str | Path | bytes | onnx.ModelProto, limits: Limits) -> Loaded:
    model, digest, path = _message(source)
    limits.check_nodes(model)
    check_texts(model)
    _join_default_domain(model)
    model = not_older_than_7(model)
    external = External(path.parent if path else None, limits.tensor_bytes)
    weights = take_weights(model, limits, external)
    inlined = inline_functions(model, limits)
    order = label_nodes(model.graph)
    unsorted = sort_nodes(model.graph, weights)
    implied = _import_microsoft(model)
    check_operations(model)
    check_rules(model, weights)
    check_finite(model.graph, weights)
    for file in external.digests():
        digest.update(file)
    name = stem_of(path) if path else model.graph.name or "model"
    files = (path, *external.files) if path else ()
    notes: list[str] = []
    if unsorted:
        notes.append("the nodes of the file were not in execution order: sorted")
    if implied:
        notes.append(
            f"the model has operations of {MICROSOFT} and imports no opset of it: taken as 1"
        )
    return Loaded(
        model=model,
        weights=weights,
        order=order,
        name=name,
        sha256=digest.hexdigest(),
        files=files,
        notes=(*inlined, *(Diagnostic(message=note) for note in notes)),
    )


def _message(
    source: str | Path | bytes | onnx.ModelProto,
) -> tuple[onnx.ModelProto, hashlib._Hash, Path | None]:
    """Reads the model as a message of our own, the hash of its bytes, and the path it came from."""
    if isinstance(source, onnx.ModelProto):
        try:
            data = source.SerializeToString(deterministic=True)
        except (EncodeError, ValueError) as error:
            raise ModelError(
                "the model is larger than 2 GiB", code="M008",
                hint="save it with external data and hand in the file",
            ) from error  # fmt: skip
        return _parse(data, "the model"), hashlib.sha256(data), None
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        return _parse(data, "the data"), hashlib.sha256(data), None
    if not isinstance(source, str | os.PathLike):
        kind = one_line(type(source).__name__)
        raise UsageError(f"the model is of type {kind}, wanted is a path, bytes or a ModelProto")
    path = Path(source)
    data = _read(path)
    mistaken = why_mistaken(path, "an ONNX model")
    if mistaken.endswith("swapped?"):
        raise ModelError(mistaken, code="M001")
    return _parse(data, repr(str(path))), hashlib.sha256(data), path


def _read(path: Path) -> bytes:
    try:
        mode = os.stat(path)
        if stat.S_ISDIR(mode.st_mode):
            models = sorted(item.name for item in path.iterdir() if item.suffix == ".onnx")
            hint = f"hand in the file, such as {models[0]!r} in it" if models else ""
            raise ModelError(why_mistaken(path, "an ONNX model"), code="M001", hint=hint)
        if not stat.S_ISREG(mode.st_mode):
            raise ModelError(f"{str(path)!r} is not a regular file", code="M001")
        if mode.st_size > LARGEST_MESSAGE:
            raise ModelError(
                f"{str(path)!r} has {mode.st_size} bytes, an ONNX file can have {LARGEST_MESSAGE}",
                code="M008", hint="save it with external data",
            )  # fmt: skip
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {str(path)!r}", code="U001") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or str(error)
        raise UsageError(f"{str(path)!r} cannot be read: {reason}", code="U001") from error


def _parse(data: bytes, called: str) -> onnx.ModelProto:
    if not data:
        raise ModelError(f"{called} is empty, not an ONNX model", code="M001")
    looks = next(
        (text for at, mark, text in _OTHER_FORMATS if data[at : at + len(mark)] == mark), ""
    )
    what, _, way_out = looks.partition("; ")
    reason = f"{called} is not an ONNX model" + (f", it looks like {what}" if what else "")
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        if "depth" in str(error).lower():
            raise ModelError(f"{called}: its graphs are nested too deeply", code="M008") from error
        if not looks and len(data) > 100 and _declares_a_graph(data):
            reason = f"{called} ends in the middle, after {len(data):,} bytes: it is cut short, "
            reason += "or not an ONNX model"
        raise ModelError(reason, code="M001", hint=way_out) from error
    if not model.HasField("graph"):
        raise ModelError(f"{reason}: it holds no graph", code="M001", hint=way_out)
    if not (model.graph.node or model.graph.output):
        raise ModelError(
            f"{reason}: its graph has neither nodes nor outputs", code="M001", hint=way_out
        )
    if not model.graph.output:
        raise ModelError(
            "the model has no outputs, so nothing of it would be computed",
            code="M002",
            hint="export it with what it shall compute as outputs",
        )
    return model


def _declares_a_graph(data: bytes) -> bool:
    """Whether bytes begin as ONNX files do: the IR version, as field 1."""
    return data[0] == 0x08 and 1 <= data[1] <= 64


def _import_microsoft(model: onnx.ModelProto) -> bool:
    """Imports the one opset of com.microsoft where nodes are of it and the model does not say so.

    ONNX Runtime does the same.
    """
    if any(opset.domain == MICROSOFT for opset in model.opset_import):
        return False
    if all(node.domain != MICROSOFT for node in every_node(model)):
        return False
    model.opset_import.add(domain=MICROSOFT, version=1)
    return True


def _join_default_domain(model: onnx.ModelProto) -> None:
    """Calls the default domain by its short name everywhere."""
    opsets = [*model.opset_import, *(o for f in model.functions for o in f.opset_import)]
    for part in (*opsets, *model.functions, *every_node(model)):
        if part.domain == "ai.onnx":
            part.domain = ""
