"""The same input gives the same bytes: random networks on every chip, compiled by processes that
differ in all that must not matter.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Prints a line for each seed: the chip and the hash of its plan, which holds the hashes of all
# other files of the package.
SCRIPT = """
import sys, warnings
import numpy as np
import joulec
from compiler.target.chip import built_in
from tests.support.random_networks import build
warnings.simplefilter("ignore")
chips = built_in()
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    chip = chips[seed % len(chips)]
    model, _ = build(seed)
    with np.errstate(all="ignore"):
        made = joulec.compile(model, chip, options=joulec.Options(calibration_samples=2))
    print(seed, chip, made.package.plan.hash)
"""

ENVIRONMENTS = (
    {
        "PYTHONHASHSEED": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TZ": "UTC+11",
        "LC_ALL": "C",
    },
    {
        "PYTHONHASHSEED": "2",
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "TZ": "UTC-9",
        "LC_ALL": "C.UTF-8",
    },
)


@pytest.mark.parametrize(("first", "end"), [(0, 8), pytest.param(8, 200, marks=pytest.mark.slow)])
def test_random_networks_give_the_same_bytes(first: int, end: int, tmp_path: Path) -> None:
    """Hash seed, threads, time zone, locale and folder change no plan."""
    printed = []
    for environment in ENVIRONMENTS:
        folder = tmp_path / f"by {environment['PYTHONHASHSEED']}"
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(first), str(end)],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        )
        printed.append(done.stdout.splitlines())
        assert not list(folder.iterdir()), "a compilation without an output leaves no file"
    assert len(printed[0]) == end - first
    assert printed[0] == printed[1]
