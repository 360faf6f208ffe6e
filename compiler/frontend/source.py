"""Finds where in the user's own code a node comes from, as `FILE:LINE in SCOPE`.

Exporters write it into the node's metadata.
"""

from __future__ import annotations

import re

import onnx

from compiler.errors import one_line

_FRAME = re.compile(r'File "([^"\n]+)", line (\d+)')
_OLD_FRAME = re.compile(r"^(\S[^\n(]*\.py)\((\d+)\):", re.MULTILINE)
# Frames of the framework lie between the user's line and the operation.
_LIBRARY = ("site-packages", "dist-packages", "/torch/", "\\torch\\")
_MOST_CHARACTERS = 20_000  # of metadata that are looked at


def source_of(node: onnx.NodeProto) -> str:
    """Finds the line that made a node, and the module it belongs to.

    Parts that the exporter did not write are left out.

    torch.onnx writes a stack trace and the names of the modules around the operation (dynamo: as
    metadata; TorchScript: the stack, innermost frame first, as documentation).
    """
    notes = {entry.key: entry.value[:_MOST_CHARACTERS] for entry in node.metadata_props}
    frames = _FRAME.findall(notes.get("pkg.torch.onnx.stack_trace", ""))
    frames = frames or _OLD_FRAME.findall(node.doc_string[:_MOST_CHARACTERS])[::-1]
    own = [frame for frame in frames if not any(part in frame[0] for part in _LIBRARY)]
    line = ":".join((own or frames)[-1]) if frames else ""
    scope = _scope(notes)
    return one_line(" in ".join(part for part in (line, scope) if part))


def _scope(notes: dict[str, str]) -> str:
    """Finds the innermost module's name, such as `encoder.0.conv`.

    The last name stands for the operation itself.
    """
    scopes = re.findall(r"'([^']*)'", notes.get("pkg.torch.onnx.name_scopes", ""))
    if not scopes:
        scopes = [part.partition(": ")[0] for part in notes.get("namespace", "").split("/")]
    return scopes[-2] if len(scopes) > 1 else ""
