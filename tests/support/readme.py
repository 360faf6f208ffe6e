"""Renews the outputs in README.md and docs/: runs every console block, pastes what it prints.

Run by `make readme`. Commands run in the repository's folder, page by page, one after the other,
and must succeed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def pages() -> list[Path]:
    """The pages that show commands with their outputs."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if BLOCK.search(page.read_text(encoding="utf-8"))]


def commands(text: str) -> list[str]:
    """The commands of the console blocks, in order."""
    return [
        line[2:]
        for block in BLOCK.findall(text)
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


def run(command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs one command of a page with this environment's joulec, on this tree's source."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1"}
    return subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def renewed(text: str, folder: Path = ROOT) -> str:
    """The text with every console block's output replaced by that of a run now."""

    def replace(match: re.Match[str]) -> str:
        lines = []
        for command in commands(match.group(0)):
            done = run(command, folder)
            if done.returncode != 0:
                raise SystemExit(f"{command}: exit {done.returncode}\n{done.stderr}")
            lines += [f"$ {command}", *(done.stdout.rstrip() or "").splitlines()]
        return "```console\n" + "\n".join(lines) + "\n```"

    return BLOCK.sub(replace, text)


if __name__ == "__main__":
    for page in pages():
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
