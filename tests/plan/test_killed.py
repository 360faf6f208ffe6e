"""A compilation that is killed, at whatever moment, leaves the package that was there or the new
one, never half of one.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compiler.cli import main
from compiler.plan.check import check_package
from compiler.plan.package import TEMPORARY_NAME, read_package, write_package
from compiler.storage.files import write_whole

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
RESNET, DSCNN, DIM20 = (MODELS / f"{n}.onnx" for n in ("digits_resnet", "digits_dscnn", "dim20"))
MAIN = "from compiler.cli.main import main; main()"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two packages with different payloads, of weights and for the host."""
    folder = tmp_path_factory.mktemp("sources")
    for name, model, objective in (("a", DIM20, "energy"), ("b", RESNET, "latency")):
        assert main.run(
            [
                "compile", str(model), "-t", "tile16", "-o", str(folder / name), "--objective",
                objective,
            ]
        ) == 0  # fmt: skip
    return folder / "a", folder / "b"


def unfinished(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if TEMPORARY_NAME.fullmatch(path.name)]


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "moments", [6, pytest.param(100, marks=pytest.mark.slow, id="100 moments")]
)
def test_a_write_that_is_killed(sources: tuple[Path, Path], tmp_path: Path, moments: int) -> None:
    known = {read_package(source).plan.hash for source in sources}
    moment = random.Random(moments)
    out = tmp_path / "out"
    for _ in range(moments):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.support.kill_writer", str(out), *map(str, sources)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(moment.uniform(0, 0.05))
            process.kill()
        found = read_package(out)
        check_package(found)
        assert found.plan.hash in known
    package = read_package(sources[0])
    write_package(package, out)
    assert files_of(out) == {"plan.json", *package.plan.files}


@pytest.mark.parametrize("moments", [2, pytest.param(40, marks=pytest.mark.slow, id="40 moments")])
def test_a_compilation_that_is_killed(
    sources: tuple[Path, Path], tmp_path: Path, moments: int
) -> None:
    out = tmp_path / "out"
    write_package(read_package(sources[0]), out)
    line = ["compile", str(DIM20), "-t", "tile16", "-o", str(out), "--force", "--seed"]
    start = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", MAIN, *line, "0"], env=ENVIRONMENT, check=True, capture_output=True
    )
    whole_s = time.monotonic() - start
    moment = random.Random(moments)
    for seed in range(1, moments + 1):
        with subprocess.Popen(
            [sys.executable, "-c", MAIN, *line, str(seed)],
            env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            time.sleep(moment.uniform(0.5, 1.1) * whole_s)
            process.kill()
        assert main.run(["check", str(out)]) == 0
    assert main.run([*line, "1"]) == 0
    assert not unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_what_a_killed_run_left_goes_with_the_next_write(
    sources: tuple[Path, Path], tmp_path: Path
) -> None:
    package = read_package(sources[1])
    write_package(package, tmp_path / "out")
    for name in (".joulec-1-0.tmp", "host/.joulec-22-3.tmp"):
        (tmp_path / "out" / "host").mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_bytes(b"part")
    (tmp_path / "out" / ".joulec.tmp").write_text("not ours")
    assert len(unfinished(tmp_path)) == 2
    write_package(package, tmp_path / "out")
    assert files_of(tmp_path / "out") == {"plan.json", *package.plan.files, ".joulec.tmp"}


def test_two_writers_at_once(sources: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = [sys.executable, "-m", "tests.support.kill_writer", str(out)]
    there, back = map(str, sources), map(str, sources[::-1])
    with (
        subprocess.Popen([*line, *there], cwd=ROOT, stdout=subprocess.PIPE) as one,
        subprocess.Popen([*line, *back], cwd=ROOT, stdout=subprocess.PIPE) as two,
    ):
        for process in (one, two):
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        time.sleep(0.5)
        assert (one.poll(), two.poll()) == (None, None)
        one.kill()
        two.kill()
    check_package(read_package(out))


def test_what_a_killed_run_left_beside_a_file_goes(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    for name in (f".a.d.{ended.pid}.tmp", ".a.d.1.tmp", ".a.d.x.tmp", ".b.d.999999999.tmp"):
        (tmp_path / name).write_text("part")
    write_whole(tmp_path / "a.d", b"whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.d", ".a.d.1.tmp", ".a.d.x.tmp", ".b.d.999999999.tmp"}
