"""Holds a plan with its payloads, in memory or as a folder.

A folder is written whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compiler.errors import ModelError, PackageError, UsageError, one_line
from compiler.plan.canonical_json import MAX_PLAN_BYTES, parse_plan, render_plan, sealed
from compiler.plan.schema import File, Plan
from compiler.storage.mapped import map_file
from compiler.storage.mistaken import why_mistaken
from compiler.storage.payload import Payload

PLAN_FILE = "plan.json"
HOST_FOLDER = "host"
WEIGHTS_NAME = re.compile(r"weights\.[0-9a-f]{16}\.bin")
HOST_NAME = re.compile(r"[0-9a-f]{16}\.(onnx|bin)")
TEMPORARY_NAME = re.compile(r"\.joulec-[0-9]+-[0-9]+\.tmp")


@dataclass(frozen=True)
class Package:
    """A plan and access to its payloads: from memory when just made, else from `folder`.

    `text` is its plan.json where that is at hand.
    """

    plan: Plan
    payloads: Mapping[str, Payload] = field(default_factory=dict, repr=False)
    folder: Path | None = None
    text: bytes = field(default=b"", repr=False, compare=False)
    _verified: dict[str, Payload] = field(default_factory=dict, repr=False, compare=False)

    @property
    def paths(self) -> list[Path]:
        """Its files; none for a package that was just made."""
        return [self.folder / name for name in (PLAN_FILE, *self.plan.files)] if self.folder else []

    def payload(self, name: str) -> Payload:
        """A payload, mapped where it lies in the folder.

        PackageError unless its bytes are what the plan says.
        """
        if name in self._verified:
            return self._verified[name]
        stated = self.plan.files.get(name)
        if stated is None:
            raise PackageError(f"the plan names no file {one_line(name)!r}")
        if name in self.payloads:
            data = self.payloads[name]
        elif self.folder is not None:
            data = _mapped(self.folder, name, stated.size_bytes)
        else:
            raise PackageError(f"file {name} is missing")
        if data.size_bytes != stated.size_bytes or data.sha256 != stated.sha256:
            raise PackageError(f"file {name} was changed: its hash is not what the plan says")
        self._verified[name] = data
        return data


def weights_name(data: Payload) -> str:
    """The name of the payload that holds the weights of all engines but the host."""
    return f"weights.{data.sha256[:16]}.bin"


def host_model_name(data: Payload) -> str:
    """The name of a model for the host."""
    return f"{HOST_FOLDER}/{data.sha256[:16]}.onnx"


def host_weights_name(data: Payload) -> str:
    """The name of the weights of a model for the host that are too large to lie inside it."""
    return f"{HOST_FOLDER}/{data.sha256[:16]}.bin"


def seal(plan: Plan, payloads: Mapping[str, Payload]) -> Package:
    """A package of a plan that still lacks its files and its own hash."""
    files = {
        name: File(sha256=data.sha256, size_bytes=data.size_bytes)
        for name, data in payloads.items()
    }
    plan, text = sealed(plan.model_copy(update={"files": files}))
    return Package(plan, dict(payloads), text=text)


def write_package(
    package: Package, folder: str | Path, progress: Callable[[str, int], None] = lambda *_: None
) -> None:
    """Writes a package into a folder.

    First come the payloads; then plan.json is renamed into its place, which is the commit; then
    payloads that no plan names and files that a killed run left are removed. Payloads that are
    there already stay untouched; plan.json is always renewed. A second writer of the same folder
    waits for the first. `progress` is called with the name and the bytes of each payload before the
    payload is written.

    Raises: UsageError (U007) when the folder holds anything else than a package, or cannot be
    written; the files and folders made so far are then removed.
    """
    folder = Path(folder)
    with _as_usage_error(folder):
        _refuse_strange(folder)
        text = package.text or render_plan(package.plan)
        with _rolled_back(folder / PLAN_FILE, text) as made:
            _make_folder(folder, made)
            with _locked(folder):
                for name in package.plan.files:
                    data = package.payload(name)
                    target = folder / name
                    _make_folder(target.parent, made)
                    if not _holds(folder, name, data):
                        progress(name, data.size_bytes)
                        made.append(target)
                        _replace(target, data)
                        _require_unchanged(name, data)
                _replace(folder / PLAN_FILE, Payload.of(text))
                for path in _our_files(folder):
                    if path.relative_to(folder).as_posix() not in package.plan.files:
                        path.unlink()
                with contextlib.suppress(OSError):
                    (folder / HOST_FOLDER).rmdir()  # only goes when it is empty


def require_place(folder: Path) -> None:
    """Requires, before there is a package, a folder that `write_package` can write.

    Raises: UsageError (U007), as `write_package` would.
    """
    with _as_usage_error(folder):
        _refuse_strange(folder)
        nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        shown = one_line(str(nearest))
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{shown!r} is no folder")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"folder {shown!r} cannot be written to")


@contextlib.contextmanager
def _as_usage_error(folder: Path) -> Iterator[None]:
    """Raises UsageError (U007) in place of an error of the system."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"cannot write package {one_line(str(folder))!r}: {reason}", code="U007"
        ) from error


@contextlib.contextmanager
def _rolled_back(plan_file: Path, text: bytes) -> Iterator[list[Path]]:
    """Yields an empty list for the paths made; removes these where the block fails.

    They stay where the plan with the bytes `text` is already in place.
    """
    made: list[Path] = []
    try:
        yield made
    except BaseException:
        with contextlib.suppress(OSError):
            if plan_file.read_bytes() == text:  # stopped after the commit
                made.clear()
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        raise


def _make_folder(folder: Path, made: list[Path]) -> None:
    """Makes a folder with those it lies in, and notes each."""
    if not folder.is_dir():
        _make_folder(folder.parent, made)
        folder.mkdir(exist_ok=True)
        made.append(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks a folder against other writers, where the system can.

    The system ends the lock with the process, however that ends.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def renew_package(folder: str | Path) -> None:
    """Renews the time of plan.json and leaves its bytes, as a write of the same package would.

    make compares times.

    Raises: UsageError (U007) when the file is missing or cannot be touched.
    """
    try:
        os.utime(Path(folder) / PLAN_FILE)
    except OSError as error:
        shown = one_line(str(folder))
        raise UsageError(
            f"cannot write package {shown!r}: {error.strerror}", code="U007"
        ) from error


def _refuse_strange(folder: Path) -> None:
    """Refuses a folder with contents that are not a package's: they might be somebody's work.

    Raises: UsageError (U007).
    """
    if folder.is_file() or (folder.is_symlink() and not folder.exists()):
        raise UsageError(
            f"output {one_line(str(folder))!r} is no folder",
            code="U007",
            hint="give the name of a new folder",
        )
    if not folder.exists():
        return
    entries = sorted(item.name for item in folder.iterdir())
    ours = [name for name in entries if _is_ours(name)]
    if PLAN_FILE in entries:
        strange = "" if _is_plan(folder / PLAN_FILE) else PLAN_FILE
    else:
        strange = next((name for name in entries if name not in ours), "")
    if (folder / HOST_FOLDER).is_symlink():
        strange = HOST_FOLDER
    if strange:
        raise UsageError(
            f"folder {one_line(str(folder))!r} is not empty and no joulec package "
            f"(it holds {one_line(strange)!r})",
            code="U007",
            hint="give a new folder, or remove what is in it",
        )


def _is_ours(name: str) -> bool:
    patterns = (WEIGHTS_NAME, TEMPORARY_NAME)
    return name == HOST_FOLDER or any(pattern.fullmatch(name) for pattern in patterns)


def _is_plan(path: Path) -> bool:
    """Whether a file is a plan of any version, damaged or not."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_PLAN_BYTES:
        return False
    return b'"schema": "joulec.plan/' in path.read_bytes()


def _our_files(folder: Path) -> Iterator[Path]:
    """Files in a package folder that bear a payload's name or that of an unfinished file."""
    host = folder / HOST_FOLDER
    places = [(folder, WEIGHTS_NAME)]
    if host.is_dir() and not host.is_symlink():
        places.append((host, HOST_NAME))
    for place, name in places:
        for path in sorted(place.iterdir()):
            if name.fullmatch(path.name) or TEMPORARY_NAME.fullmatch(path.name):
                yield path


def _holds(folder: Path, name: str, data: Payload) -> bool:
    """Whether a payload is there already."""
    try:
        return _mapped(folder, name, data.size_bytes).sha256 == data.sha256
    except PackageError:
        return False


def _require_unchanged(name: str, data: Payload) -> None:
    if not data.is_unchanged():
        raise ModelError(
            f"the model's external data changed while {name} was made of them", code="M006",
            hint="compile again when they are complete",
        )  # fmt: skip


def _replace(path: Path, data: Payload) -> None:
    """Puts a file in place at once: readers see the old bytes or the new, never a part."""
    temporary = path.parent / f".joulec-{os.getpid()}-{threading.get_ident()}.tmp"
    try:
        temporary.unlink(missing_ok=True)  # of a killed process that had our number
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            data.write(handle)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_package(folder: str | Path) -> Package:
    """Reads a package from a folder, whoever wrote it.

    The plan is read strictly; a payload is verified when it is first read.

    Raises: UsageError (U001) when there is no such folder, PackageError when it holds no sound
    plan.
    """
    folder = Path(folder)
    try:
        is_folder = folder.is_dir()
    except (OSError, ValueError):
        is_folder = False
    if not is_folder:
        if mistaken := why_mistaken(folder, "the folder of a joulec package"):
            raise UsageError(mistaken, code="U001", hint="give the folder that compile wrote")
        raise UsageError(
            f"no folder {one_line(str(folder))!r}",
            code="U001",
            hint="give the folder that compile wrote",
        )
    return Package(parse_plan(_read(folder, PLAN_FILE, MAX_PLAN_BYTES)), {}, folder)


def _read(folder: Path, name: str, limit: int) -> bytes:
    """The bytes of a plain file of a package, of at most `limit`."""
    with _opened(folder, name, limit) as handle, os.fdopen(os.dup(handle), "rb") as stream:
        found = os.fstat(handle)
        return stream.read(found.st_size + 1)  # not `limit`: it is a stranger's number


def _mapped(folder: Path, name: str, limit: int) -> Payload:
    """A plain file of a package, of at most `limit` bytes, mapped."""
    with _opened(folder, name, limit) as handle:
        return Payload.of(map_file(os.dup(handle)))


@contextlib.contextmanager
def _opened(folder: Path, name: str, limit: int) -> Iterator[int]:
    """A handle of a plain file of a package, of at most `limit` bytes.

    PackageError for links, devices and what cannot be read.
    """
    if name.startswith(f"{HOST_FOLDER}/") and (folder / HOST_FOLDER).is_symlink():
        raise PackageError(f"folder {HOST_FOLDER} is a link")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(folder / name, flags | getattr(os, "O_BINARY", 0))
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise PackageError(f"file {name} is no plain file")
            if found.st_size > limit:
                raise PackageError(f"file {name} is larger than {limit:,} bytes")
            yield handle
        finally:
            os.close(handle)
    except FileNotFoundError as error:
        hint = "this is no package folder" if name == PLAN_FILE else "the package is incomplete"
        raise PackageError(f"file {name} is missing; {hint}") from error
    except OSError as error:
        raise PackageError(f"file {name} cannot be read: {error.strerror}") from error
