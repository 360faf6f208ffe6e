"""Tells whether a package is already what a compilation would make, from the hashes in its plan."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import stat
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from compiler.errors import CompileError
from compiler.flow.declare import declarations, files_of
from compiler.flow.options import Options
from compiler.plan.check import check_package
from compiler.plan.package import Package, read_package
from compiler.plan.schema import BuiltFrom, Plan
from compiler.storage.files import stem_of
from compiler.target.chip import Target

# Other people's code that numbers in a plan come from.
DEPENDENCIES = (
    "highspy", "ml_dtypes", "numpy", "onnx", "onnxruntime", "protobuf", "pydantic",
    "threadpoolctl",
)  # fmt: skip
SOURCES = ("joulec", "compiler", "passes", "backends")  # what a wheel holds
NOTHING = ""


def built_from(
    model_files: Sequence[Path], options: Options, digests: Mapping[str, str] | None = None
) -> BuiltFrom:
    """Records what a compilation is made from.

    `model_files` are the model's own file and those of its external data, `digests` the hashes of
    the files that options name, where these were read before (None: they are read now).
    """
    external = tuple(path.relative_to(model_files[0].parent).as_posix() for path in model_files[1:])
    digests = file_digests(options) if digests is None else digests
    return BuiltFrom(
        external=external,
        data=digests.get("data", NOTHING),
        options=_options_digest(options, digests),
        joulec=own_digest(),
    )


def file_digests(options: Options) -> dict[str, str]:
    """Hashes the files that options name, by the option's name; see `digest_of`."""
    return {name: digest_of(path) for name, path in files_of(options).items()}


def up_to_date_package(
    folder: Path, model: Path, target: Target, options: Options
) -> Package | None:
    """The package in a folder when it is sound and a compilation would make the same; else None."""
    try:
        package = read_package(folder)
        if not _is_made_from(package.plan, model, target, options):
            return None
        check_package(package)
    except (CompileError, OSError, ValueError):
        return None
    return package


def external_files(plan: Plan, model: Path) -> tuple[Path, ...]:
    """The files that the model of a plan keeps its weights in."""
    built = plan.built_from
    return tuple(model.parent / name for name in built.external) if built is not None else ()


def _is_made_from(plan: Plan, model: Path, target: Target, options: Options) -> bool:
    built = plan.built_from
    if built is None or any(not _lies_inside(name) for name in built.external):
        return False
    now = built_from((model, *external_files(plan, model)), options)
    asked_for_data = options.data is not None
    return (
        now == built
        and (now.data != NOTHING) == asked_for_data
        and (plan.target.name, plan.target.sha256) == (target.name, target.sha256)
        and plan.model.name == stem_of(model)
        and plan.model.sha256 == _model_digest(model, external_files(plan, model))
    )


def _lies_inside(name: str) -> bool:
    """Whether the name of an external file is one that the compiler would have opened."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _model_digest(model: Path, external: Iterable[Path]) -> str:
    """As the import makes it: over the model's bytes, then the hash of each external file."""
    digest = hashlib.sha256()
    if not _feed(digest, model, follow=True):
        return NOTHING
    for path in external:
        part = hashlib.sha256()
        if not _feed(part, path, follow=False):
            return NOTHING
        digest.update(part.digest())
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    """The hash of a plain file, "" for anything else: whoever reads it next says what is wrong."""
    digest = hashlib.sha256()
    return digest.hexdigest() if _feed(digest, path, follow=True) else NOTHING


def _feed(digest: hashlib._Hash, path: Path, *, follow: bool) -> bool:
    """Hashes a plain file; False when it is none or cannot be read.

    A pipe or a device is not waited for.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    flags |= 0 if follow else getattr(os, "O_NOFOLLOW", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return False
            while block := file.read(1 << 20):
                digest.update(block)
    except (OSError, ValueError):
        return False
    return True


def _options_digest(options: Options, digests: Mapping[str, str]) -> str:
    """Hashes the options that a plan depends on: their values, and the bytes of files they name."""
    key: dict[str, object] = {}
    for name, declared in declarations(type(options)).items():
        if declared.keyed == "value":
            key[name] = getattr(options, name)
        elif declared.keyed == "file" and name in digests:
            key[name] = digests[name]
    table = json.dumps(key, sort_keys=True, default=dict)
    return hashlib.sha256(table.encode()).hexdigest()


@cache  # the code that runs stays what it is, whatever becomes of its files meanwhile
def own_digest() -> str:
    """The hash of the compiler that runs."""
    return digest_of_compiler(Path(__file__).resolve().parents[2])


def digest_of_compiler(root: Path) -> str:
    """Hashes the compiler in a folder: its source, and what else its numbers depend on.

    That is the versions of libraries and the kind of machine.
    """
    digest = hashlib.sha256()
    for path in sorted(_source_files(root), key=lambda path: path.relative_to(root).as_posix()):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(data)}\n".encode())
        digest.update(data)
    for name in DEPENDENCIES:
        digest.update(f"{name} {_version(name)}\n".encode())
    digest.update(f"python {platform.python_version()} {platform.machine()}\n".encode())
    return digest.hexdigest()


def _source_files(root: Path) -> Iterable[Path]:
    for name in SOURCES:
        place = root / name
        if place.is_file():
            yield place
        for pattern in ("*.py", "*.toml"):
            yield from place.rglob(pattern)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
