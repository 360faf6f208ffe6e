"""Imports run one way: up the floors that docs/architecture.md lists. A module that its table
does not place fails.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("compiler", "passes", "backends", "joulec")

PAGE = ROOT / "docs" / "architecture.md"


def floors_of(page: str) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The patterns of each floor from the ground up, and those that stand in brackets: blind to
    one another.
    """
    table = page.split("<!-- floors", 1)[1].split("<!-- end of floors", 1)[0]
    cells = [row.split("|")[2] for row in table.splitlines() if re.match(r"\| \d", row)]
    floors = tuple(tuple(re.findall(r"`([^`]+)`", cell)) for cell in cells)
    return floors, tuple(re.findall(r"\[`([^`]+)`\]", "".join(cells)))


FLOORS, BLIND = floors_of(PAGE.read_text(encoding="utf-8"))
# What `--help` must not wait for.
HEAVY = {"numpy", "onnx", "onnxruntime", "pydantic", "highspy", "networkx"}


def module_files() -> dict[str, Path]:
    """Every module of the project; a package's __init__ goes by the package's name."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    names = {}
    for path in paths:
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = module_files()
# The public face is the one package that holds code.
INITS = {n for n, path in MODULES.items() if path.name == "__init__.py" and n != "joulec"}
# A script that runs inside a room sees the room first: a name of the standard library would be
# taken by ours.
TAKEN = {
    *sys.stdlib_module_names - {"__main__"},
    "onnx",
    "numpy",
    "yaml",
    "rich",
    "typer",
    "networkx",
    "pydantic",
}


def floor_of(module: str) -> int | None:
    """The floor a module stands on, or None when the table does not place it."""
    for floor, patterns in enumerate(FLOORS):
        if any(_is_in(module, pattern) for pattern in patterns):
            return floor
    return None


def _is_in(module: str, pattern: str) -> bool:
    return fnmatch(module, pattern) or module == pattern.removesuffix(".*")


def imports(source: str) -> Iterator[tuple[str, int]]:
    """The modules of the project that a source imports, anywhere in it, with the line."""
    for node in ast.walk(ast.parse(source)):
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            inner = [f"{module}.{alias.name}" for alias in node.names]
            found = [name if name in MODULES else module for name in inner]
        for name in dict.fromkeys(found):
            if name.split(".")[0] in (*PACKAGES, ""):
                yield name, node.lineno  # type: ignore[attr-defined]  # both kinds have a line


def complaint(importer: str, imported: str) -> str:
    """What is wrong with an import, or an empty string."""
    if imported.startswith("."):
        return "is relative; imports are written in full"
    if imported in INITS:
        return "" if imported == importer else "is a package; import a module of it"
    sides = [next((p for p in BLIND if _is_in(name, p)), "") for name in (importer, imported)]
    if all(sides) and sides[0] != sides[1]:
        return f"joins {sides[0]} and {sides[1]}, which see nothing of each other"
    above, below = floor_of(importer), floor_of(imported)
    if above is None or below is None:
        return ""  # test_every_module_has_its_floor says so
    return "points up" if below > above else ""


def test_every_module_has_its_floor() -> None:
    lost = [name for name in MODULES if name not in INITS and floor_of(name) is None]
    assert not lost, "place these modules in the table of floors in docs/architecture.md"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    source = MODULES[module].read_text(encoding="utf-8")
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{line}: import of {name} {problem}"
        for name, line in imports(source)
        if (problem := complaint(module, name))
    ]
    assert not wrong


def test_no_circles() -> None:
    arrows = {
        module: {name for name, _ in imports(path.read_text(encoding="utf-8")) if name != module}
        for module, path in MODULES.items()
    }
    TopologicalSorter(arrows).prepare()  # raises CycleError with the circle


def test_no_room_hides_a_library() -> None:
    names = {name.rsplit(".", 1)[-1] for name in MODULES if name not in INITS and "." in name}
    assert not names & TAKEN


@pytest.mark.parametrize("package", sorted(INITS))
def test_a_package_is_a_docstring(package: str) -> None:
    body = ast.parse(MODULES[package].read_text(encoding="utf-8")).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        (
            "compiler.ir.ops", "def f():\n    from compiler.cost.node import node_cost\n",
            "points up",
        ),
        ("compiler.ir.ops", "from compiler.cost import node", "points up"),
        ("compiler.ir.ops", "import compiler.ir.graph", ""),
        ("compiler.ir.ops", "from .graph import Graph", "is relative; imports are written in full"),
        ("compiler.ir.ops", "from compiler import nothing", "is a package; import a module of it"),
        (
            "passes.new", "import backends.new",
            "joins passes.* and backends.*, which see nothing of each other",
        ),
        (
            "backends.new", "if True:\n    import passes.base",
            "joins backends.* and passes.*, which see nothing of each other",
        ),
        ("passes.new", "import passes.base", ""),
        ("compiler.driver", "import compiler.cli.main", "points up"),
        ("joulec", "from compiler.driver import compile_model", ""),
    ],
)  # fmt: skip
def test_what_the_rules_say(module: str, source: str, problem: str) -> None:
    assert [complaint(module, name) for name, _ in imports(source)] == [problem]


@pytest.mark.skipif("compiler.cli.main" not in MODULES, reason="there is no command line yet")
def test_help_waits_for_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from compiler.cli import main\n"
        "assert main.run(['--help']) == 0\n"
        f"print('loaded', *({HEAVY!r} & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded"
