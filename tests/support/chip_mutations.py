"""Makes chip files of shipped ones by changes, and compiles small models for those that check.

A chip file that `targets check` passes never ends in an internal error, whatever the model.
`python -m tests.support.chip_mutations FIRST:LAST` tries so many (`make chips` tries 2,000), each
by its number alone.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from types import FrameType
from typing import Any

import numpy as np
from onnx import helper, numpy_helper
from onnx import parser as onnx_parser
from onnx.defs import get_all_schemas

from backends.reports import text as report
from compiler.driver import compile_model
from compiler.errors import CompileError
from compiler.flow.options import Options
from compiler.ir.vector_operations import FLOAT_VECTOR, INTEGER_VECTOR
from compiler.target.chip import built_in, parse_target
from compiler.target.parts.library import COMPONENTS
from compiler.target.write import written

HANG_S = 60  # for one case; the slowest valid one takes some seconds
Table = dict[str, Any]
HEAD = '<ir_version: 8, opset_import: ["" : 17]> '
UNITS = ("pj_per_byte", "pj_per_bit", "pj")
TEXTS = {
    "dense": HEAD + """g (float[1,24] x) => (float[1,5] y)
        <float[24,20] w, float[20] b, float[20,5] v>
        {h = Gemm(x, w, b) r = Relu(h) y = MatMul(r, v)}""",
    "convolution": HEAD + """g (float[1,3,8,8] x) => (float[1,8,4,4] y)
        <float[8,3,3,3] w, float[8] b>
        {a = Conv <pads=[1,1,1,1]> (x, w, b) r = Relu(a)
        y = MaxPool <kernel_shape=[2,2], strides=[2,2]> (r)}""",
    "depthwise": HEAD + """g (float[1,6,7,7] x) => (float[1,4,1,1] y)
        <float[6,1,3,3] w, float[4,6,1,1] v>
        {a = Conv <group=6> (x, w) r = Sigmoid(a) c = Conv(r, v) y = GlobalAveragePool(c)}""",
    "recurrent": HEAD + """g (float[3,1,4] x) => (float[3,1,1,5] y)
        <float[1,20,4] w, float[1,20,5] r>
        {y = LSTM <hidden_size=5> (x, w, r)}""",
    "elementwise": HEAD + """g (float[1,4,6] a, float[1,4,6] b) => (float[1,4,6] y)
        {s = Add(a, b) t = Tanh(s) m = Mul(t, a) u = Sub(m, b) v = Max(u, a) e = Erf(v)
        y = LeakyRelu(e)}""",
    "softmax": HEAD + """g (float[1,4,6] x) => (float[1,4,6] y) <float[6] c, float[6] d>
        {n = LayerNormalization(x, c, d) s = Softmax(n) r = ReduceMean <axes=[1]> (s)
        y = Add(s, r)}""",
    "attention": HEAD + """g (float[1,4,6] x) => (float[1,4,6] y) <float[6,6] q, float[6,6] k>
        {a = MatMul(x, q) b = MatMul(x, k) t = Transpose <perm=[0,2,1]> (b) p = MatMul(a, t)
        s = Softmax(p) y = MatMul(s, a)}""",
}  # fmt: skip
OPTIONS = (
    Options(), Options(precision="float"), Options(objective="latency"), Options(objective="edp"),
    Options(weights="reload"), Options(max_divergence=float("inf")), Options(prune=0.3),
)  # fmt: skip
WHOLE = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 32, 255, 1 << 14, 1 << 20, (1 << 31) + 1, 1 << 50)
REAL = (0.0, 1e-12, 1e-6, 1e-3, 0.1, 1.0, 7.3, 1e3, 1e6, 1e9, 1e12, 1e15)
OUTSIDE = (0, -1, 1 << 62, 1e16, 1e300, 5e-324, float("nan"), float("inf"))
JUNK: tuple[Any, ...] = ("", "5", "text", True, False, [], {}, [1], 3, 2.5, {"value": 1})


@cache
def models() -> dict[str, bytes]:
    """Small models by kind, with weights of one seed."""
    made = np.random.default_rng(0)
    found = {}
    for name, text in TEXTS.items():
        model = onnx_parser.parse_model(text)
        for value in model.graph.value_info:
            kind = value.type.tensor_type
            data = made.standard_normal([size.dim_value for size in kind.shape.dim])
            weights = data.astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
            model.graph.initializer.append(numpy_helper.from_array(weights, value.name))
        del model.graph.value_info[:]
        found[name] = model.SerializeToString()
    return found


@cache
def shipped() -> dict[str, str]:
    """The text of every shipped chip."""
    folder = resources.files("compiler") / "targets"
    return {name: (folder / f"{name}.toml").read_text(encoding="utf-8") for name in built_in()}


@cache
def operations() -> tuple[str, ...]:
    """Every operation of ONNX, and some that nobody has."""
    names = {schema.name for schema in get_all_schemas() if not schema.domain}
    return (*sorted(names), "Requantize", "Reluu", "relu", "", "Product", "IntegerAdd")


def mutated(chance: random.Random) -> bytes:
    """A shipped chip file with a few changes."""
    table = tomllib.loads(shipped()[chance.choice(built_in())])
    for _ in range(chance.choice((1, 1, 2, 3, 5))):
        _change(table, chance)
    return written(table).encode()


def _leaves(table: Table) -> Iterator[tuple[Table, str]]:
    """Every number, component and text, as the table it stands in and its key."""
    for key, value in table.items():
        if isinstance(value, dict) and not {"value", "component"} & set(value):
            yield from _leaves(value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for item in value:
                yield from _leaves(item)
        else:
            yield table, key


def _change(table: Table, chance: random.Random) -> None:
    """Makes one change somewhere; numbers are changed most often."""
    how = chance.choices(
        (_number, _component, _operations, _drop, _junk, _whole_table),
        weights=(12, 3, 3, 0.5, 0.5, 2),
    )[0]
    leaves = list(_leaves(table))
    if leaves:
        how(table, *chance.choice(leaves), chance)


def _number(table: Table, place: Table, key: str, chance: random.Random) -> None:
    """Another value, with what ends its interval had moved along."""
    numbers = [(p, k) for p, k in _leaves(table) if isinstance(p[k], dict) and "value" in p[k]]
    if not numbers:
        return
    place, key = chance.choice(numbers)
    entry, old = place[key], place[key]["value"]
    if isinstance(old, bool):
        entry["value"] = not old
        return
    nearby = (old * 2, old // 2, old + 1, old - 1, old * 100) if isinstance(old, int) else (
        old * 2, old / 2, old * 100, old / 100,
    )  # fmt: skip
    new = chance.choice((*(WHOLE if isinstance(old, int) else REAL), *nearby))
    entry["value"] = chance.choice(OUTSIDE) if chance.random() < 0.03 else new
    for end, outside in (("low", min), ("high", max)):
        if end in entry and chance.random() < 0.97:
            entry[end] = outside(entry[end], new)


def _component(table: Table, place: Table, key: str, chance: random.Random) -> None:
    """Another component, or other parameters of the same."""
    energies = [(p, k) for p, k in _leaves(table) if k.endswith(("_pj", "_per_byte", "_per_bit"))]
    named = [(p, k) for p, k in energies if isinstance(p[k], dict) and "component" in p[k]]
    if not energies:
        return
    place, key = chance.choice(named or energies)
    entry = place[key]
    if isinstance(entry, dict) and chance.random() < 0.5:
        numbers = [name for name, value in entry.items() if isinstance(value, int | float)]
        if numbers:
            entry[chance.choice(numbers)] = chance.choice((64, 256, 1024, 8, 4096, 1, 2, 3, 0, 0.5))
            return
    unit = next(unit for unit in UNITS if key.endswith(unit))
    other = chance.choice(
        [name for name, one in COMPONENTS.items() if one.unit == unit or chance.random() < 0.05]
        or list(COMPONENTS)
    )
    parameters = COMPONENTS[other].parameters
    place[key] = {"component": other}
    for name, parameter in parameters.items():
        if parameter.is_flag:
            place[key][name] = chance.random() < 0.5
        elif parameter.words:
            place[key][name] = chance.choice(parameter.words)
        else:
            place[key][name] = chance.choice((8, 64, parameter.low, parameter.high))


def _operations(table: Table, place: Table, key: str, chance: random.Random) -> None:
    """Other operations of a vector unit."""
    units = [p for p, k in _leaves(table) if k == "operations"]
    if not units:
        return
    unit = chance.choice(units)
    known = unit["operations"] if isinstance(unit["operations"], list) else []
    some = chance.sample(operations(), chance.choice((1, 1, 3, 60)))
    possible = [one for one in INTEGER_VECTOR if one not in known]
    more = chance.sample(possible, min(len(possible), chance.choice((1, 5, 20))))
    unit["operations"] = chance.choice(
        ([*known, *more], more, [*known, *some], known[: len(known) // 2], [])
    )
    if chance.random() < 0.2:
        for other in (p for p, k in list(_leaves(table)) if k in ("mac_pj", "operation_pj")):
            other["arithmetic"] = "float32"
        unit["operations"] = chance.sample(FLOAT_VECTOR, 9)


def _drop(table: Table, place: Table, key: str, chance: random.Random) -> None:
    del place[key]


def _junk(table: Table, place: Table, key: str, chance: random.Random) -> None:
    """Another type in place of a value, or of what stands in it."""
    value = chance.choice(JUNK)
    if isinstance(place[key], dict) and chance.random() < 0.5:
        place[key][chance.choice((*place[key], "extra"))] = value
    else:
        place[key] = value


def _whole_table(table: Table, place: Table, key: str, chance: random.Random) -> None:
    """An engine or a memory dropped, doubled, or taken from another chip."""
    group = chance.choice(("engines", "memories"))
    other = tomllib.loads(shipped()[chance.choice(built_in())])[group]
    mine = table.get(group)
    if not isinstance(mine, dict) or not mine:
        return
    name, source = chance.choice(list(mine)), chance.choice(list(other))
    how = chance.choice(("drop", "double", "take", "take"))
    if how == "drop":
        del mine[name]
    elif how == "double":
        mine[f"{name}_too"] = mine[name]
    else:
        mine[chance.choice((name, source, f"{source}_too"))] = other[source]


class HungError(Exception):
    """A case took too long."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise HungError


def fault(number: int) -> tuple[str, str]:
    """What became of a case: a word for it, and what is wrong, "" where nothing is."""
    chance = random.Random(f"chip-{number}")
    data = mutated(chance)
    kind = chance.choice(list(TEXTS))
    options = chance.choice((*(OPTIONS[0],) * 4, *OPTIONS))
    try:
        target = parse_target(data, "mutated.toml")
    except CompileError as error:
        return "refused", "" if "Input should" not in error.message else error.message
    except Exception:
        return "crashed in check", traceback.format_exc()
    try:
        compiled = compile_model(models()[kind], target, options)
        report.text(compiled.package.plan)
    except CompileError as error:
        return error.code, ""
    except HungError:
        return "hung", f"{kind}, {options}: " + traceback.format_exc()[-1500:]
    except Exception:
        return "crashed", f"{kind}, {options}: " + traceback.format_exc()[-1500:]
    return "compiled", ""


def hunt(first: int, last: int, progress: Callable[[str], None]) -> tuple[Counter[str], list[str]]:
    """How many cases ended how, and what was found."""
    ends: Counter[str] = Counter()
    faults = []
    for number in range(first, last):
        signal.signal(signal.SIGALRM, _stop)
        signal.alarm(HANG_S)
        try:
            end, what = fault(number)
        except HungError:
            end, what = "hung", "in the check"
        signal.alarm(0)
        ends[end] += 1
        if what:
            faults.append(f"chip {number}: {end}: {what}")
            progress(faults[-1])
    return ends, faults


def main() -> None:
    """The program."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("numbers", metavar="FIRST:LAST")
    first, last = (int(word) for word in words.parse_args().numbers.split(":"))
    ends, faults = hunt(first, last, lambda line: print(line, flush=True))
    told = ", ".join(f"{count} {end}" for end, count in ends.most_common())
    print(f"{last - first} chip files: {told}; {len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
