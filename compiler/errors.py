"""Defines the errors a user can cause: one line each, with a stable code and an exit status."""

from __future__ import annotations

from dataclasses import dataclass

# Every diagnostic code the compiler can print, with what it means; the documentation prints this
# table.
CODES: dict[str, str] = {
    "U001": "a file or folder is missing or cannot be read",
    "U002": "no chip of that name, or the chip file is faulty",
    "U003": "a size of the model is not bound; give it with --bind",
    "U004": "a flag or option has a value it cannot have",
    "U005": "the inputs handed in do not fit the model",
    "U006": "no node of that name in the package",
    "U007": "the output cannot be written",
    "U008": "a library that joulec needs is missing or does not load",
    "U009": "a calibration is of another model, data, chip, options or compiler",
    "M001": "the file is not an ONNX model",
    "M002": "the model breaks a rule of ONNX",
    "M003": "an operation, domain or opset is unknown",
    "M004": "a type or shape is not what the operation's schema allows",
    "M005": "a weight is not finite",
    "M006": "external data is missing, outside its folder or of the wrong size",
    "M007": "the graph has a cycle, a missing name or a name given twice",
    "M008": "a limit on size or number was passed",
    "M009": "a data file is broken or unsafe",
    "M010": "the model cannot be expressed in the compiler's own opset",
    "M011": "a node of the model cannot be run, whatever the inputs",
    "P001": "the package is damaged, incomplete or not a joulec package",
    "P002": "a number in the package contradicts another",
    "P003": "a step of the package cannot run: the package was changed by hand, "
    "or it is a bug of the compiler",
    "C001": "the model does not fit the memories of the target",
    "C002": "no engine of the target can take a node",
    "G001": "a gate was passed (energy, latency or comparison)",
    "G002": "the package and the model disagree",
    "G003": "a model of a suite is wrong or crashed",
    "W001": "warning: calibrated on synthetic inputs",
    "W003": "warning: part of the work is not modelled",
    "W004": "warning: an option had nothing to do",
    "W005": "warning: the package was compiled from another model",
    "W006": "warning: the compiled network changes the outputs by more than is allowed",
    "W007": "warning: the divergences of part of the nodes are estimates",
    "W008": "warning: calibrated on few samples, with none left to try the plan on",
    "W009": "warning: inputs of a package hold NaN or infinity",
    "W012": "warning: the model's own outputs are NaN or infinite on some samples",
    "W013": "warning: inputs are far from what the package was calibrated on",
    "W014": "warning: an output is declared with a shape that it does not have",
    "W020": "warning: a number of the chip file is not plausible, or stands oddly beside another",
    "X001": "an internal error: a bug of the compiler",
}


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """What a compilation has to say beside its result: a warning with its code, or a note without.

    `node` names the node concerned and `hint` says what would mend it; both may be empty.
    """

    message: str
    code: str = ""
    node: str = ""
    hint: str = ""

    def line(self) -> str:
        """Writes the diagnostic as the one line that a user reads."""
        label = f"warning[{self.code}]: " if self.code else ""
        where = f"node {one_line(self.node)!r}: " if self.node else ""
        hint = f"; {self.hint}" if self.hint else ""
        return one_line(f"{label}{where}{self.message}{hint}", limit=1200)


class CompileError(Exception):
    """A mistake the compiler can name.

    `code` is stable, `exit_status` is what the command line returns. `node` names the node
    concerned and `hint` says what would mend it; both may be empty.
    """

    exit_status = 2
    default_code = "U004"

    def __init__(
        self, message: str, *, code: str | None = None, node: str = "", hint: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.node = node
        self.hint = hint

    def line(self) -> str:
        """Writes the diagnostic as the one line that a user reads."""
        where = f"node {one_line(self.node)!r}: " if self.node else ""
        hint = f"; {self.hint}" if self.hint else ""
        return one_line(f"error[{self.code}]: {where}{self.message}{hint}", limit=1200)


class UsageError(CompileError):
    """A wrong flag, a missing file, an unbound size, inputs that do not fit."""


class TargetError(CompileError):
    """An unknown or faulty chip description."""

    default_code = "U002"


class ModelError(CompileError):
    """The model (or another data file) is junk, broken, hostile or over a limit."""

    exit_status = 3
    default_code = "M002"


class UnsupportedError(ModelError):
    """The model is legal and the compiler cannot take it.

    The message names the operation and why.
    """

    default_code = "M010"


class CapacityError(CompileError):
    """The model does not fit the target."""

    exit_status = 4
    default_code = "C001"


class GateError(CompileError):
    """A gate the user set, or a verification, did not hold."""

    exit_status = 5
    default_code = "G001"


class PackageError(ModelError):
    """A plan package is damaged, or its numbers contradict each other."""

    default_code = "P001"


def one_line(text: str, limit: int = 300) -> str:
    """Makes a stranger's text safe on one terminal line.

    Control characters are shown, long text is shortened.
    """
    shown = "".join(ch if ch.isprintable() else ascii(ch)[1:-1] for ch in text)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def nearest(name: str, known: list[str]) -> str:
    """Makes a 'did you mean' clause for a misspelt name, or an empty string."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""
