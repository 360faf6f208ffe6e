"""Tries one model: compiles it, checks the package, runs it, and compares it with the judge."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.errors import CompileError, one_line
from compiler.flow.limits import limited
from compiler.flow.options import Options

if TYPE_CHECKING:
    from compiler.flow.verify_package import Verification
    from compiler.plan.package import Package
    from compiler.target.chip import Target

# Every verdict, from best to worst, with what it means.
KINDS = {
    "exact": "its outputs equal the judge's, to the rounding of float32",
    "within budget": "its outputs move, within the tolerance",
    "unjudged": "it compiles; nobody could say what is right on these inputs",
    "refused": "it is not taken, with a code that says why",
    "wrong": "its outputs move beyond the tolerance",
    "crashed": "a bug of joulec, or a process that died",
}
BAD = ("wrong", "crashed")
NOT_RUN = ("M002", "M008", "U005")  # the judge does not run the model on these inputs
EXACT = 1e-10  # divergence: the square of 1e-5 of what an output varies by


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of one model.

    `model` is its path below the folder, `code` and `message` say why where it is refused, wrong or
    crashed; `divergence` is the largest at an output, energy and latency are those of the plan
    (None: there is none). `cpu_s` is what the trial took.
    """

    model: str
    kind: str
    code: str = ""
    message: str = ""
    divergence: float | None = None
    energy_pj: float | None = None
    latency_ns: float | None = None
    cpu_s: float = 0.0

    def table(self) -> dict[str, Any]:
        """The verdict as plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A model to try, and how: `name` is its path below the folder.

    `samples` are compared, those of `FILE.npz` next to FILE.onnx where there is one. Outputs may
    diverge by `tolerance`. Past a limit the model is refused.
    """

    name: str
    path: Path
    target: Target
    options: Options
    samples: int
    tolerance: float
    max_memory_bytes: int | None
    time_limit_s: float

    def run(self) -> Verdict:
        """Tries the model; whatever is wrong with it is the verdict, and nothing is raised."""
        start_s = time.process_time()
        try:
            with limited(self.max_memory_bytes, self.time_limit_s):
                found = _try(self)
        except CompileError as error:
            found = self.verdict(kind="refused", code=error.code, message=_sentence(error))
        except Exception as error:  # whatever else it is, it is a bug of ours
            what = one_line(f"{type(error).__name__}: {error}")
            found = self.verdict(kind="crashed", code="X001", message=what)
        return replace(found, cpu_s=round(time.process_time() - start_s, 3))

    def verdict(self, kind: str, code: str = "", message: str = "") -> Verdict:
        """A verdict on the model that no plan was made for."""
        return Verdict(model=self.name, kind=kind, code=code, message=message)


def data_of(model: Path) -> Path | None:
    """Finds the samples that lie next to a model."""
    data = model.with_suffix(".npz")
    return data if data.is_file() else None


def _try(trial: Trial) -> Verdict:
    from compiler.driver import compile_model
    from compiler.plan.check import check_package
    from compiler.plan.package import read_package, write_package

    options = replace(trial.options, data=data_of(trial.path))
    compiled = compile_model(trial.path, trial.target, options)
    plan = compiled.plan
    with tempfile.TemporaryDirectory() as folder:
        try:
            write_package(compiled.package, Path(folder) / "package")
            package = read_package(Path(folder) / "package")
            check_package(package)
        except CompileError as error:  # our own package
            return trial.verdict(kind="crashed", code=error.code, message=_sentence(error))
        try:
            result = _compared(package, trial)
        except CompileError as error:  # the model does not run on the inputs, or the package
            kind = "unjudged" if error.code in NOT_RUN else "crashed"
            return trial.verdict(kind=kind, code=error.code, message=_sentence(error))
    kind, message = _judged(result, trial.tolerance)
    return Verdict(
        model=trial.name,
        kind=kind,
        code="G002" if kind == "wrong" else "",
        message=message,
        divergence=result.worst,
        energy_pj=plan.energy_pj.total.value,
        latency_ns=plan.latency_ns.value,
    )


def _compared(package: Package, trial: Trial) -> Verification:
    """Compares the package with the model, on inputs that it was not calibrated on if made up."""
    from compiler.flow.reference import Reference
    from compiler.flow.verify_package import made_up_inputs, verify_package
    from passes.calibration.inputs import load_inputs

    reference = Reference(trial.path, trial.options.bind)
    data = data_of(trial.path)
    arrays = (
        made_up_inputs(package.plan, reference.graph, trial.samples, trial.options.seed + 1)
        if data is None
        else load_inputs(data, reference.graph, trial.samples).arrays
    )
    return verify_package(package, reference, arrays)


def _judged(result: Verification, tolerance: float) -> tuple[str, str]:
    """The kind that a comparison means, with a reason where it is no good one."""
    if result.unjudged:
        return "unjudged", result.unjudged
    if not result.worst <= tolerance:
        worst = max(result.outputs, key=lambda output: output.divergence)
        return "wrong", (
            f"output {one_line(worst.value)!r} has a divergence of {worst.divergence:.3g} "
            f"({worst.kind}), the tolerance is {tolerance:g}"
        )
    return ("exact" if result.worst <= EXACT else "within budget"), ""


def _sentence(error: CompileError) -> str:
    """The words of an error, without its code."""
    return error.line().partition(": ")[2]
