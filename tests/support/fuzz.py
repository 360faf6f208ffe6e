"""Mutates valid models, packages, data and chip files, and requires an answer in words.

No traceback, no crash, no hang, no litter. `python -m tests.support.fuzz COUNT [SEED]` tries so
many cases in a process that may die; `--seconds S` stops earlier. A case goes by seed and number;
`--case NUMBER SEED` tries one alone.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx import parser as onnx_parser

from compiler.cli import main as joulec
from compiler.target.chip import built_in
from tests.support.mutations import bytes_mutated, graph_mutated, message_mutated
from tests.support.random_networks import build

ROOT = Path(__file__).resolve().parents[2]
HANG_S = 40  # for one case; the slowest valid one takes two
WORDS: tuple[Any, ...] = (
    0,
    1,
    -1,
    1 << 62,
    1e308,
    -1.5,
    "",
    "x",
    None,
    True,
    [],
    {},
    [0],
    "../../x",
    "host",
)
HEAD = '<ir_version: 8, opset_import: ["" : 17]> '
TEXTS = {
    "gemm": HEAD + """g (float[1,8] x) => (float[1,4] y) \
<float[8,4] w, float[4] b> {y = Gemm(x, w, b)}""",
    "conv": HEAD + """g (float[1,2,6,6] x) => (float[N] y) <float[3,2,3,3] w, int64[1] s = {-1}>
        {a = Conv <pads=[1,1,1,1]> (x, w) b = Relu(a) \
p = MaxPool <kernel_shape=[2,2]> (b) y = Reshape(p, s)}""",
    "if": HEAD + """g (float[2,3] x, bool c) => (float[2,3] y) {y = If (c) <
        then_branch = t () => (float[2,3] u) {u = Relu(x)}, \
else_branch = e () => (float[2,3] v) {v = Neg(x)}>}""",
    "qdq": HEAD + """g (float[1,8] x) => (float[1,4] y)
        <float s = {0.05}, int8 z = {0}, int8[8,4] w, float t = {0.02}>
        {q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) \
v = DequantizeLinear(w, t, z) y = MatMul(d, v)}""",
    "norm": HEAD + """g (float[1,4,5] x) => (float[1,4,5] y) <float[5] a, float[5] b>
        {m = LayerNormalization(x, a, b) k = Softmax(m) y = Add(k, x)}""",
    "shapes": HEAD + """g (float[1,6] x) => (float[2,2,3] y) <int64[2] s = {2, 3}, int64[1] n = {0}>
        {r = Reshape(x, s) u = Unsqueeze(r, n) y = Concat <axis=0> (u, u)}""",
}  # fmt: skip


def model_bytes(folder: Path) -> dict[str, bytes]:
    """Ten valid models by name; one keeps its weights in `folder`, in a file of its own."""
    found = {}
    for name, text in TEXTS.items():
        model = onnx_parser.parse_model(text)
        made = np.random.default_rng(0)
        for value in model.graph.value_info:
            kind = value.type.tensor_type
            data = made.standard_normal([size.dim_value for size in kind.shape.dim]) * 4
            weights = data.astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
            model.graph.initializer.append(numpy_helper.from_array(weights, value.name))
        del model.graph.value_info[:]
        found[name] = model.SerializeToString()
    for name in ("dim20", "digits_dscnn", "digits_resnet"):
        found[name] = (ROOT / "models" / f"{name}.onnx").read_bytes()
    outside = onnx.ModelProto.FromString(found["gemm"])
    onnx.save(
        outside,
        folder / "outside.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    found["outside"] = (folder / "outside.onnx").read_bytes()
    (folder / "outside.onnx").unlink()
    return found


def plan_mutated(folder: Path, chance: random.Random) -> None:
    """A package changed by somebody who knows how to make its hashes fit."""
    plan = folder / "plan.json"
    table = json.loads(plan.read_text())
    if chance.random() < 0.4:
        name = chance.choice(sorted(table["files"]))
        path = folder / name
        old = path.read_bytes()
        data = bytes_mutated(old, chance)
        if path.suffix == ".onnx" and chance.random() < 0.7:
            data = message_mutated(old, chance)
        digest = hashlib.sha256(data).hexdigest()
        new = name.replace(table["files"][name]["sha256"][:16], digest[:16])
        path.rename(folder / new)
        (folder / new).write_bytes(data)
        table["files"][name] = {"sha256": digest, "size_bytes": len(data)}
        table = json.loads(json.dumps(table).replace(name, new))
    else:
        for _ in range(chance.choice((1, 1, 2))):
            _change_table(table, chance)
    table["hash"] = ""
    with contextlib.suppress(ValueError):
        table["hash"] = hashlib.sha256(rendered(table)).hexdigest()
        plan.write_bytes(rendered(table))


def _change_table(table: Any, chance: random.Random) -> None:
    while True:
        keys = list(table) if isinstance(table, dict) else list(range(len(table)))
        key = chance.choice(keys)
        if isinstance(table[key], dict | list) and table[key] and chance.random() < 0.85:
            table = table[key]
            continue
        if chance.random() < 0.2:
            del table[key]
        else:
            table[key] = chance.choice(WORDS)
        return


def rendered(table: dict[str, Any]) -> bytes:
    """The bytes of a plan, as the compiler writes them."""
    lines = []
    for key in sorted(table):
        value = table[key]
        shown = json.dumps(value, sort_keys=True, allow_nan=False)
        if isinstance(value, list) and value:
            items = ",\n".join(
                f"  {json.dumps(item, sort_keys=True, allow_nan=False)}" for item in value
            )
            shown = f"[\n{items}\n]"
        lines.append(f"{json.dumps(key)}: {shown}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")


class Lab:
    """Valid models, packages, data and a chip, and a folder to try changed ones in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = model_bytes(folder)
        self.chip = (ROOT / "compiler/targets/tile16.toml").read_text()
        self.packages = []
        for name in ("conv", "qdq", "dim20"):
            (folder / "m.onnx").write_bytes(self.models[name])
            made = folder / f"package-{name}"
            status, message = _cli("compile", folder / "m.onnx", "-t", "tile16", "-o", made)
            if status != 0:
                raise SystemExit(message)
            self.packages.append(made)
        self.data = (ROOT / "models" / "dim20_calibration.npz").read_bytes()

    def fault(self, seed: int, number: int) -> str:
        """What is wrong with the answer to a case, "" when nothing is."""
        chance = random.Random(f"{seed}-{number}")
        place = self.folder / "try"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        os.chdir(place)
        tries: tuple[Callable[[random.Random], list[tuple[object, ...]]], ...] = (
            self._model, self._model, self._network, self._network, self._package, self._package,
            self._data, self._chip,
        )  # fmt: skip
        commands = chance.choice(tries)(chance)
        before = set(place.rglob("*")) | {place / "out", place / "o.npz"}
        for command in commands:
            status, message = _cli(*command)
            errors = [line for line in message.splitlines() if line.startswith("error[")]
            if status not in (0, 2, 3, 4, 5) or "Traceback" in message:
                return f"{_words(command)}: exit {status}: {message[-600:]}"
            if status and len(errors) != 1:
                return (
                    f"{_words(command)}: exit {status} with {len(errors)} errors: {message[-600:]}"
                )
            left = [
                path for path in place.rglob("*")
                if path not in before and place / "out" not in path.parents
            ]  # fmt: skip
            refused = command[0] == "compile" and status in (2, 3, 4)
            if left or (refused and (place / "out").exists()):
                return f"{_words(command)}: litter: {sorted(left)} after exit {status}"
        return ""

    def _model(self, chance: random.Random) -> list[tuple[object, ...]]:
        name = chance.choice(
            [*list(self.models) * 3, "gemm", "conv", "if", "qdq", "norm", "outside"]
        )
        if name.startswith("digits") and chance.random() < 0.7:
            name = "conv"
        data = self.models[name]
        changed = chance.choice((bytes_mutated, message_mutated, graph_mutated))(data, chance)
        Path("m.onnx").write_bytes(changed)
        shutil.copy(self.folder / "w.bin", "w.bin")
        target = chance.choice(("tile16", "diana"))
        few = ("--calibration-samples", 2)
        prune = ("--prune", "0.3") if chance.random() < 0.1 else ()
        return [
            ("inspect", "m.onnx"),
            ("compile", "m.onnx", "-t", target, "-o", "out", *few, *prune),
        ]

    def _network(self, chance: random.Random) -> list[tuple[object, ...]]:
        """Tries a random network whose graph is changed.

        In floats, the results are compared with ONNX Runtime's.
        """
        model, _ = build(chance.randrange(1000), 8)
        Path("m.onnx").write_bytes(graph_mutated(model.SerializeToString(), chance))
        target, few = chance.choice(built_in()), ("--calibration-samples", 2)
        if chance.random() < 0.7:
            return [("compile", "m.onnx", "-t", target, "-o", "out", *few), ("check", "out")]
        return [
            ("compile", "m.onnx", "-t", target, "-o", "out", "--precision", "float"),
            ("verify", "m.onnx", "out", "--samples", 2, "--tolerance", "1e-9"),
        ]

    def _package(self, chance: random.Random) -> list[tuple[object, ...]]:
        shutil.copytree(chance.choice(self.packages), "p")
        np.savez("x.npz", x=np.ones((1, 8), np.float32), image=np.ones((2, 20), np.float32))
        plan_mutated(Path("p"), chance)
        name = chance.choice(("x", "image"))
        form = chance.choice(("text", "markdown", "json", "csv"))
        return [
            ("check", "p"), ("report", "p", "--format", form), ("explain", "p", name),
            ("run", "p", "-i", "x.npz", "-o", "o.npz"), ("compare", "p", self.packages[0]),
        ]  # fmt: skip

    def _data(self, chance: random.Random) -> list[tuple[object, ...]]:
        Path("x.npz").write_bytes(bytes_mutated(self.data, chance))
        Path("m.onnx").write_bytes(self.models["dim20"])
        return [
            ("run", self.packages[2], "-i", "x.npz", "-o", "o.npz"),
            (
                "compile", "m.onnx", "-t", "tile16", "-o", "out", "--data", "x.npz",
                "--calibration-samples", 2,
            ),
        ]  # fmt: skip

    def _chip(self, chance: random.Random) -> list[tuple[object, ...]]:
        text = bytes_mutated(self.chip.encode(), chance)
        numbers = [word for word in self.chip.split() if word.replace(".", "").isdigit()]
        if chance.random() < 0.7:
            old, new = (
                chance.choice(numbers),
                chance.choice(("0", "1", "-1", "1e15", "nan", "9" * 30)),
            )
            text = self.chip.replace(f" {old}", f" {new}", chance.choice((1, 2, 5))).encode()
        Path("c.toml").write_bytes(text)
        Path("m.onnx").write_bytes(self.models["gemm"])
        return [("targets", "check", "c.toml"), ("compile", "m.onnx", "-t", "c.toml", "-o", "out")]


def _cli(*arguments: object) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = joulec.run([str(argument) for argument in arguments])
    return status, err.getvalue()


def _words(command: tuple[object, ...]) -> str:
    return " ".join(str(word) for word in command)


def work(seed: int, first: int, last: int) -> None:
    """Tries cases one after the other and tells of each; a hang ends the process."""
    with tempfile.TemporaryDirectory(prefix="joulec-fuzz-") as folder:
        lab = Lab(Path(folder))
        for number in range(first, last):
            print(json.dumps({"begins": number}), flush=True)
            signal.alarm(HANG_S)
            fault = lab.fault(seed, number)
            signal.alarm(0)
            if fault:
                print(json.dumps({"case": number, "fault": fault}), flush=True)
        os.chdir(ROOT)


def hunt(seed: int, count: int, seconds: float) -> tuple[int, list[str]]:
    """How many cases were tried, and what was found."""
    faults: list[str] = []
    number, end = 0, time.monotonic() + seconds
    while number < count and time.monotonic() < end:
        command = [
            sys.executable,
            "-m",
            "tests.support.fuzz",
            str(count),
            str(seed),
            "--from",
            str(number),
        ]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                record = json.loads(line)
                if "fault" in record:
                    faults.append(f"case {seed} {record['case']}: {record['fault']}")
                elif time.monotonic() > end:
                    process.kill()
                    return record["begins"], faults
                else:
                    number = record["begins"]
        if process.returncode == 0:
            return count, faults
        kind = "hang" if process.returncode == -signal.SIGALRM else f"exit {process.returncode}"
        faults.append(f"case {seed} {number}: {kind}")
        number += 1
    return number, faults


def main() -> None:
    """The program."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("count", type=int)
    words.add_argument("seed", type=int, nargs="?", default=0)
    words.add_argument("--seconds", type=float, default=1e9)
    words.add_argument("--from", dest="first", type=int)
    words.add_argument("--case", action="store_true", help="only the case COUNT of SEED")
    given = words.parse_args()
    if given.case or given.first is not None:
        first = given.count if given.case else given.first
        work(given.seed, first, given.count + given.case)
        return
    tried, faults = hunt(given.seed, given.count, given.seconds)
    print("\n".join([*faults, f"{tried} cases, {len(faults)} faults"]))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
