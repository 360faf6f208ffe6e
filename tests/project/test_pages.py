"""Pages have links that lead somewhere, commands that parse, and the outputs of a run.

What the compiler itself can say (keys, operations, labels) is compared with what they say.
"""

from __future__ import annotations

import ast
import doctest
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from backends.reports import text
from backends.reports.tables import engines_table, parts_table, pruning_table, steps_table
from backends.simulator.kernels import KERNELS
from compiler.cli.commands import app
from compiler.driver import compile_model
from compiler.engines import numerics, numerics_analog
from compiler.flow.options import Options
from compiler.ir.graph import Quant
from compiler.ir.ops import OWN
from compiler.target.chip import built_in, load_target, parse_target
from tests.support import chip_keys, readme
from tests.support.pages import DOCS, ROOT, generated

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "models/README.md")),
    *sorted(DOCS.rglob("*.md")),
]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
# What takes long to compile is left to `make test-all`.
SLOW = ("digits_resnet", "digits_dscnn", "dim20_diana")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    found: set[str] = set()
    for title in re.findall(r"(?m)^#+ (.*)$", prose(page)):
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = sum(1 for one in found if re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", one))
        found.add(f"{anchor}-{count}" if count else anchor)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    for groups in LINK.findall(prose(page)):
        link = groups[0] or groups[1]
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = [groups[0] for groups in LINK.findall(prose(page)) if groups[0]]
        targets = ((page.parent / link.partition("#")[0]).resolve() for link in links)
        waiting += [target for target in targets if target.is_file()]
    assert set(PAGES) - seen == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    told = prose(page)
    if page.name == "CHANGELOG.md":
        told = told.split("## 0.1.0")[0]
    for name in re.findall(r"`((?:compiler|passes|backends|models|tests|docs)/[\w/.\-]*)`", told):
        assert "NAME" in name or (ROOT / name).exists(), name


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "constants.md"], ids=name_of
)  # that page is printed by `make fit`
def test_prose_is_wrapped_at_100_columns(page: Path) -> None:
    long = [line for line in prose(page).splitlines() if len(line) > 100]
    assert [line for line in long if not line.startswith(("|", "    "))] == []


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=name_of)
def test_a_page_has_a_title_and_says_what_it_answers(page: Path) -> None:
    title, empty, first = page.read_text(encoding="utf-8").splitlines()[:3]
    assert title.startswith("# ")
    assert not empty
    assert first
    assert not first.startswith(("#", "|", "`", "-"))


# -- commands


def command_lines(page: Path) -> list[str]:
    """Every command of a page's console blocks and of its blocks of shell."""
    told = page.read_text(encoding="utf-8")
    lines = readme.commands(told)
    for block in re.findall(r"(?ms)^```sh\n(.*?)^```$", told):
        lines += block.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip()]


def parses(words: list[str]) -> None:
    """Raises the command line's own error where a line is none of joulec."""
    command: Any = typer.main.get_command(app)
    context = None
    while "commands" in vars(command):
        if words[0] == "--version":
            return
        assert words[0] in command.commands, f"there is no command {words[0]}"
        context = type(command).context_class(command, parent=context, info_name="joulec")
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, list(words), parent=context)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if command_lines(page)], ids=name_of
)  # fmt: skip
def test_commands_parse(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [goals] = re.findall(r"(?m)^\.PHONY: (.*)$", makefile)
    for line in command_lines(page):
        words = shlex.split(line.partition(" | ")[0], comments=True)
        if words[:1] == ["joulec"]:
            parses(words[1:])
        elif words[:1] == ["make"]:
            assert set(words[1:2]) <= set(goals.split()), line
        elif words[:2] == ["python", "-m"]:
            module = ROOT.joinpath(*words[2].split("."))
            assert words[2] in ("pytest", "pip") or module.with_suffix(".py").is_file(), line
        else:
            assert words[:1] in ([], ["pipx"], ["uv"], ["pip"], ["git"], ["."]), line


# -- outputs


def without_hashes(page: str) -> list[str]:
    """Lines without the plan's own hash, which every change of the compiler's source changes."""
    return [re.sub(r"plan [0-9a-f]{12}", "plan ...", line) for line in page.splitlines()]


def shown_pages() -> list[object]:
    slow = pytest.mark.slow
    return [
        pytest.param(
            page,
            id=name_of(page),
            marks=slow if any(name in page.read_text("utf-8") for name in SLOW) else (),
        )
        for page in readme.pages()
    ]


@pytest.mark.parametrize("page", shown_pages())
def test_outputs_are_those_of_a_run(page: Path, tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "build").mkdir()
    told = page.read_text(encoding="utf-8")
    blocks = "\n".join(block.group(0) for block in readme.BLOCK.finditer(told))
    found = readme.renewed(blocks, tmp_path)
    assert without_hashes(found) == without_hashes(blocks), "make readme"


# -- what the compiler says


def test_generated_pages_are_what_the_compiler_says() -> None:
    for path, wanted in generated().items():
        assert path.read_text(encoding="utf-8") == wanted, f"{name_of(path)}: make pages"
    assert {page.stem for page in (DOCS / "supported").glob("*.md")} == set(built_in())


def test_every_key_of_a_chip_file_is_explained() -> None:
    assert chip_keys.faults() == []


def test_the_minimal_chip_compiles() -> None:
    [chip] = re.findall(
        r"(?ms)^```toml\n(.*?)^```$", (DOCS / "chip-file.md").read_text(encoding="utf-8")
    )
    options = Options(data=ROOT / "models" / "dim20_calibration.npz")
    target = parse_target(chip.encode(), "my_chip.toml")
    compiled = compile_model(ROOT / "models" / "dim20.onnx", target, options)
    assert compiled.package.plan.macs.by_engine["analog"] == 2280


def labels_in(source: str) -> set[str]:
    """The labels of a report's lines: firsts of yielded pairs and of `_line("LABEL", ...)`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        pair = node.value if isinstance(node, ast.Yield) else None
        called = node if isinstance(node, ast.Call) else None
        first = None
        if isinstance(pair, ast.Tuple):
            first = pair.elts[0]
        elif called and isinstance(called.func, ast.Name) and called.func.id == "_line":
            first = called.args[0]
        if isinstance(first, ast.Constant):
            found.add(str(first.value))
    return found


def explained(page: str) -> set[str]:
    """The labels that the tables of the page explain."""
    cells = re.findall(r"(?m)^\| (`[^|]*`) \|", page)
    return {label for cell in cells for label in re.findall(r"`([^`]+)`", cell)}


def test_every_label_of_the_report_is_explained() -> None:
    known = explained((DOCS / "report.md").read_text(encoding="utf-8"))
    labels = labels_in(Path(text.__file__).read_text(encoding="utf-8"))
    assert {"hashes", "nodes", "latency", "spills", "note"} <= labels
    assert len(labels) >= 15
    assert labels - known == set()


def test_every_head_of_the_report_s_tables_is_explained() -> None:
    known = explained((DOCS / "report.md").read_text(encoding="utf-8"))
    options = Options(data=ROOT / "models" / "dim20_calibration.npz", prune=0.2)
    plan = compile_model(
        ROOT / "models" / "dim20.onnx", load_target("tile16"), options
    ).package.plan
    tables = (steps_table(plan, None), parts_table(plan), engines_table(plan), pruning_table(plan))
    heads = {re.sub(r" (pJ|nJ|uJ|mJ|ns|us|ms|s)$", "", word) for t in tables for word in t.head}
    heads -= {"nJ [low, high]", "nJ", "pJ [low, high]", "pJ"}  # the units themselves
    parts = {row[0] for row in parts_table(plan).rows}
    assert (heads | parts) - known == set()


def test_every_operation_of_a_step_has_its_contract() -> None:
    page = (DOCS / "plan-format.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^(?:\| |### )(`.*?)(?: \||$)", page)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert set(KERNELS) - told == set()
    assert {name for name in OWN if name not in ("ClippedAdd", "Segment")} - told == set()


def test_the_examples_of_the_plan_format() -> None:
    page = DOCS / "plan-format.md"
    blocks = re.findall(r"(?ms)^```pycon\n(.*?)^```$", page.read_text(encoding="utf-8"))
    names = {
        "np": np, "numerics": numerics, "numerics_analog": numerics_analog, "Quant": Quant,
    }  # fmt: skip
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), names, page.name, str(page), 0)
    assert len(test.examples) >= 10
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0
