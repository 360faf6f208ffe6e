"""Reads an ONNX model from a file, bytes or a message, with all its weights in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from compiler.errors import ModelError, UsageError


@dataclass(frozen=True)
class Loaded:
    """A model as it was handed in: the message, a name for people, the hash of all its bytes, and the files that were read."""

    model: onnx.ModelProto
    name: str
    sha256: str
    files: tuple[Path, ...]


def load_model(source: str | Path | bytes | onnx.ModelProto) -> Loaded:
    """FIRST VERSION."""
    if isinstance(source, onnx.ModelProto):
        model = onnx.ModelProto()
        model.CopyFrom(source)
        sha = hashlib.sha256(source.SerializeToString(deterministic=True)).hexdigest()
        name = source.graph.name or "model"
        files: tuple[Path, ...] = ()
    elif isinstance(source, bytes):
        model = onnx.ModelProto.FromString(source)
        sha = hashlib.sha256(source).hexdigest()
        name = model.graph.name or "model"
        files = ()
    else:
        path = Path(source)
        try:
            model = onnx.load(str(path))
        except FileNotFoundError as error:
            raise UsageError(f"no file {str(path)!r}", code="U001") from error
        except DecodeError as error:
            raise ModelError(f"{str(path)!r} is not an ONNX model", code="M001") from error
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        name, files = path.stem, (path,)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(str(error), code="M002") from error
    return Loaded(model, name, sha, files)
