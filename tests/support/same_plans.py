"""Compiles a fixed set of models for four chips and compares the packages of two revisions.

A change of structure must not change them. `git worktree add ../before main` checks out the
revision before the change; then

    (cd ../before && python -m tests.support.same_plans record ../old)
    python -m tests.support.same_plans record ../new
    python -m tests.support.same_plans compare ../old ../new

`record FOLDER` writes a package for each model and chip, CASE-CHIP, with JOBS processes (2). What
the compiler refuses leaves its message in CASE-CHIP.refused. `compare OLD NEW` prints the first
differences of each package by their path in plan.json, and exits with 1 where there are any. A
plan's own hash and the hashes of the compiler and of the options are no difference.

JOULEC_ROOT names a folder of the project whose models are compiled (this one where it is not set).
Models that lie outside the project (JOULEC_MODELS, see tests/conftest.py) are left out where they
are absent.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(os.environ.get("JOULEC_ROOT", Path(__file__).parents[2]))
EXTERNAL = Path(os.environ.get("JOULEC_MODELS", ROOT.parent / "shared" / "models-ext"))
TARGETS = ("diana", "diana_digital", "princeton16", "tile16")
DIGITS = str(ROOT / "models/digits_calibration.npz")
# Float, int8 in two dialects, pruned, recurrent, and what only the host runs.
CASES: dict[str, tuple[Path, dict[str, Any]]] = {
    "digits_resnet": (ROOT / "models/digits_resnet.onnx", {"data": DIGITS}),
    "digits_resnet-pruned": (ROOT / "models/digits_resnet.onnx", {"data": DIGITS, "prune": 0.3}),
    "digits_resnet-float": (ROOT / "models/digits_resnet.onnx", {"precision": "float"}),
    "digits_dscnn": (ROOT / "models/digits_dscnn.onnx", {"data": DIGITS}),
    "dim20": (ROOT / "models/dim20.onnx", {"data": str(ROOT / "models/dim20_calibration.npz")}),
    "ad_float": (EXTERNAL / "mlperf-tiny/ad_float.onnx", {}),
    "ad_int8_qop": (EXTERNAL / "mlperf-tiny/ad_int8_qop.onnx", {}),
    "kws_int8_qdq": (EXTERNAL / "mlperf-tiny/kws_int8_qdq.onnx", {}),
    "ic_int8_qop": (EXTERNAL / "mlperf-tiny/ic_int8_qop.onnx", {}),
    "mnist8": (EXTERNAL / "diverse/mnist8_cntk_op8.onnx", {}),
    "digits_bilstm": (EXTERNAL / "diverse/digits/digits_bilstm_op14.onnx", {}),
    "digits_loop": (EXTERNAL / "diverse/digits/digits_loop_op16.onnx", {}),
    "digits_vit": (EXTERNAL / "diverse/digits/digits_vit_op20.onnx", {}),
    "silero": (EXTERNAL / "diverse/silero_vad_16k_lstm_if_op15.onnx", {"bind": {"sequence": 576}}),
}  # fmt: skip


def record(folder: Path) -> None:
    """Compiles every case for every chip into `folder`/CASE-CHIP.

    What is refused leaves its line in CASE-CHIP.refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(name, chip, folder) for name in CASES for chip in TARGETS if CASES[name][0].exists()]
    with ProcessPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool:
        for line in pool.map(_compile, *zip(*jobs, strict=True)):
            print(line, flush=True)


def _compile(name: str, chip: str, folder: Path) -> str:
    import joulec

    model, options = CASES[name]
    place = folder / f"{name}-{chip}"
    try:
        joulec.compile(model, chip, output=place, options=joulec.Options(**options))
    except joulec.CompileError as error:
        place.with_suffix(".refused").write_text(f"{error.code} {error}\n", encoding="utf-8")
        return f"{place.name}: refused"
    return f"{place.name}: compiled"


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Lists where two JSON values differ, by path."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            if key not in old or key not in new:
                yield f"{path}.{key} only in the {'new' if key in new else 'old'}"
            else:
                yield from differences(old[key], new[key], f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif old != new:
        yield f"{path}: {json.dumps(old)[:120]} -> {json.dumps(new)[:120]}"


def compare(old: Path, new: Path) -> bool:
    """Compares two recordings and prints what differs; True where they are the same.

    The plan's own hash and what made it may differ.
    """
    names = sorted({path.name for folder in (old, new) for path in folder.iterdir()})
    same = True
    for name in names:
        found = list(_different(old / name, new / name))
        same = same and not found
        if found:
            print(f"{name}: {len(found)} differences\n  " + "\n  ".join(found[:5]))
    print(f"{len(names)} packages, {'all the same' if same else 'not the same'}")
    return same


def _different(old: Path, new: Path) -> Iterator[str]:
    if not (old.exists() and new.exists()):
        yield f"only in {old if old.exists() else new}"
    elif old.is_file():
        if old.read_bytes() != new.read_bytes():
            yield f"{old.read_text()!r} -> {new.read_text()!r}"
    else:
        plans = [json.loads((place / "plan.json").read_bytes()) for place in (old, new)]
        for plan in plans:
            plan["hash"] = plan["built_from"]["joulec"] = plan["built_from"]["options"] = ""
        yield from differences(*plans)


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(Path(sys.argv[2]))
    else:
        sys.exit(not compare(Path(sys.argv[2]), Path(sys.argv[3])))
