"""The pages of formulas: every worked example gives what the page says, and every formula and
component has its page.
"""

from __future__ import annotations

import ast
import doctest
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.cost.links import link_cost
from compiler.cost.peak import peak
from compiler.engines.bit_slicing import input_slices, weight_digits
from compiler.ir.text import from_text
from compiler.macros.model import Macro, energy_fj, silicon_of
from compiler.target.chip import load_target
from compiler.target.parts import (
    adders,
    assembled,
    cell_array,
    converter,
    delay,
    memory,
    resistive,
    transport,
)
from compiler.target.parts.constants import load_components
from compiler.target.parts.library import COMPONENTS
from compiler.target.parts.silicon import silicon_at
from tests.cost.test_zigzag import page_table
from tests.support.fit import CONSTANTS_PAGE, constants_page
from tests.support.mappings import cost_on

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "formulas").glob("*.md"))
FAMILIES = [page for page in PAGES if page.name not in ("README.md", "constants.md")]
SECTIONS = ["Equation", "Symbols", "Source", "Left out", "Worked example"]
MODULES = (adders, cell_array, assembled, converter, delay, memory, resistive, transport)


def names() -> dict[str, Any]:
    """What the examples may use without importing it: the formulas, and how to come by silicon,
    a chip and a layer.
    """
    found: dict[str, Any] = {
        "assembled": assembled, "load_components": load_components, "silicon_at": silicon_at,
        "replace": replace, "np": np, "weight_digits": weight_digits, "input_slices": input_slices,
        "peak": peak, "Macro": Macro, "energy_fj": energy_fj, "silicon_of": silicon_of,
        "from_text": from_text, "cost_on": cost_on, "load_target": load_target,
        "link_cost": link_cost,
    }  # fmt: skip
    for module in MODULES:
        found |= {name: item for name, item in vars(module).items() if not name.startswith("_")}
    return found


def examples(page: Path) -> str:
    """The interpreter's lines of a page."""
    blocks = re.findall(r"(?ms)^```pycon\n(.*?)^```$", page.read_text(encoding="utf-8"))
    return "\n".join(blocks)


@pytest.mark.parametrize(
    "page", [*FAMILIES, DOCS / "formulas" / "README.md", DOCS / "energy.md"], ids=lambda p: p.stem
)
def test_the_worked_examples(page: Path) -> None:
    test = doctest.DocTestParser().get_doctest(examples(page), names(), page.name, str(page), 0)
    assert test.examples, "no worked example"
    printed: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=printed.append)
    assert result.failed == 0, "".join(printed)


@pytest.mark.parametrize("page", [p for p in FAMILIES if p.stem != "engines"], ids=lambda p: p.stem)
def test_each_page_has_its_parts(page: Path) -> None:
    assert re.findall(r"(?m)^## (.*)$", page.read_text(encoding="utf-8")) == SECTIONS


def test_every_module_and_component_has_its_page() -> None:
    pages = {page.stem: page.read_text(encoding="utf-8") for page in FAMILIES}
    everything = "\n".join(pages.values())
    for module in (*MODULES, "analog", "digital", "links", "peak"):
        name = module if isinstance(module, str) else module.__name__.rsplit(".", 1)[-1]
        assert f"{name}.py`" in everything, name
    index = (DOCS / "formulas" / "README.md").read_text(encoding="utf-8")
    for component in COMPONENTS:
        assert f"`{component}`" in index, component
        assert f"`{component}`" in everything, component


def test_every_constant_that_a_formula_reads_is_in_the_library() -> None:
    known = load_components().constants
    for module in MODULES:
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        read = {
            node.slice.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Subscript)
            and isinstance(node.slice, ast.Constant)
            and ast.unparse(node.value).endswith("values")
        }
        assert read <= set(known), module.__name__


def test_the_page_of_constants_is_the_file_s() -> None:
    assert CONSTANTS_PAGE.read_text(encoding="utf-8") == constants_page(load_components()), (
        "make fit"
    )


def python_of(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a page's blocks of Python leave, run in order in a folder with the models."""
    (tmp_path / "models").symlink_to(DOCS.parent / "models")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    for block in re.findall(r"(?ms)^```python\n(.*?)^```$", (DOCS / page).read_text("utf-8")):
        exec(block, found)
    return found


def test_the_python_of_the_quick_start_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python_of("quickstart.md", tmp_path, monkeypatch)
    assert np.load("samples.npz")["image"].shape == (256, 64)


def test_the_python_of_its_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = python_of("python.md", tmp_path, monkeypatch)
    assert "U002 no chip 'no_such_chip'" in capsys.readouterr().out
    assert found["logits"].shape == (500, 10)
    labels = np.load("models/dim20_test.npz")["y"]
    assert (found["logits"].argmax(-1) == labels).mean() > 0.97


def test_the_page_beside_zigzag_shows_what_is_computed() -> None:
    assert page_table() in (DOCS / "zigzag.md").read_text(encoding="utf-8")
