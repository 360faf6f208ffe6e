from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from backends.hybrid import lower
from compiler.errors import Diagnostic, PackageError, UsageError
from compiler.ir.mapping import DigitalMapping, HostMapping
from compiler.plan.canonical_json import parse_plan, plan_schema, render_plan, sealed
from compiler.plan.check import check_package, check_plan
from compiler.plan.package import Package, read_package, write_package
from compiler.plan.schema import LowerBound, PartitionResult, Plan
from compiler.target.chip import load_target
from compiler.units import Estimate
from tests.support.placed_graphs import classifier


@pytest.fixture(scope="module")
def package() -> Package:
    return lower(
        classifier(),
        load_target("diana"),
        model_name="net",
        model_sha256="ab" * 32,
        pipeline=("FoldConstants()",),
        diagnostics=(Diagnostic(message="a note"),),
        partition=PartitionResult(
            objective="energy",
            energy_pj=2.0,
            latency_ns=1.0,
            divergence=0.0,
            divergence_kind="KL",
            max_divergence=None,
            gap=0.0,
        ),
        bound=LowerBound(
            energy_pj=1.5,
            energy_with_load_pj=1.5,
            latency_ns=1.0,
            work_pj=0.5,
            activations_pj=0.5,
            ports_pj=0.5,
            static_pj=0.0,
        ),
        macs_before=123456,
    )


def test_a_plan_is_read_as_it_was_written(package: Package) -> None:
    data = render_plan(package.plan)
    assert parse_plan(data) == package.plan
    assert render_plan(parse_plan(data)) == data
    assert json.loads(data)["schema"] == "joulec.plan/2"
    assert package.plan == sealed(package.plan)[0]


def test_a_line_of_plan_json_is_a_step_a_buffer_or_a_value(package: Package) -> None:
    lines = render_plan(package.plan).decode().splitlines()
    steps = [line for line in lines if line.startswith('  {"attributes"')]
    assert len(steps) == len(package.plan.steps)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "plan.json is not a plan"),
        (b"junk", "plan.json is not a plan"),
        (b"[" * 100_000, "recursion limit"),
        (b'{"a":' * 100_000, "recursion limit"),
        (b"\xff\xfe{}", "plan.json is not a plan"),
        (b"{}", "Field required"),
        (b"null", "plan.json is not a plan"),
    ],
)
def test_junk_gets_one_plain_line(data: bytes, words: str) -> None:
    with pytest.raises(PackageError) as caught:
        parse_plan(data)
    line = caught.value.line()
    assert words in line
    assert "\n" not in line
    assert caught.value.exit_status == 3


def test_wrong_values_are_refused_by_their_path(package: Package) -> None:
    table = json.loads(render_plan(package.plan))
    for path, value, words in [
        (("latency_ns",), "1", "latency_ns"),
        (("steps", 0, "index"), True, "steps.0.index"),
        (("steps", 0, "index"), 1 << 70, "steps.0.index"),
        (("steps", 0, "payload"), "host/../../x.onnx", "steps.0.payload"),
        (("buffers", 0, "address"), -64, "buffers.0.address"),
        (("schema",), "joulec.graph/2", "schema"),
        (("energy_pj", "total", "low"), 1e300, "energy_pj.total"),
        (("new",), 1, "new"),
        (("latency_ns",), float("nan"), "latency_ns"),
        (("bound",), float("inf"), "plan.json is not a plan"),
    ]:
        changed = json.loads(json.dumps(table))
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        with pytest.raises(PackageError, match=r"plan\.json is not a plan") as caught:
            parse_plan(json.dumps(changed).encode())
        assert words in str(caught.value), path


def test_a_plan_of_an_older_schema_is_refused_with_the_way_out(package: Package) -> None:
    data = render_plan(package.plan).replace(b"joulec.plan/2", b"joulec.plan/1")
    with pytest.raises(PackageError) as caught:
        parse_plan(data)
    assert caught.value.line() == (
        "error[P001]: plan.json is written as joulec.plan/1, and this joulec reads joulec.plan/2; "
        "compile the model again"
    )


def test_another_way_of_writing_is_refused(package: Package) -> None:
    table = json.loads(render_plan(package.plan))
    with pytest.raises(PackageError, match="not written as joulec writes it"):
        parse_plan(json.dumps(table, indent=1).encode())


def test_a_package_comes_back_from_its_folder(package: Package, tmp_path: Path) -> None:
    write_package(package, tmp_path / "out" / "net")
    read = read_package(tmp_path / "out" / "net")
    check_package(read)
    assert read.plan == package.plan
    assert {name: read.payload(name).tobytes() for name in read.plan.files} == {
        name: data.tobytes() for name, data in package.payloads.items()
    }
    found = {p.relative_to(tmp_path / "out/net").as_posix() for p in files_of(tmp_path)}
    assert found == {"plan.json", *package.plan.files}
    assert any(re.fullmatch(r"host/[0-9a-f]{16}\.onnx", name) for name in found)
    assert any(re.fullmatch(r"weights\.[0-9a-f]{16}\.bin", name) for name in found)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_one_changed_byte_of_any_file_is_refused(package: Package, tmp_path: Path) -> None:
    write_package(package, tmp_path)
    for path in files_of(tmp_path):
        data = path.read_bytes()
        step = max(1, len(data) // 150) if path.suffix != ".json" else max(1, len(data) // 400)
        for position in [*range(0, len(data), step), len(data) - 1]:
            changed = bytearray(data)
            changed[position] ^= 1 << position % 8
            path.write_bytes(bytes(changed))
            with pytest.raises(PackageError) as caught:
                check_package(read_package(tmp_path))
            assert "\n" not in caught.value.line()
        for changed_length in (data + b"\n", data + b"\0", data[:-1], b""):
            path.write_bytes(changed_length)
            with pytest.raises(PackageError):
                check_package(read_package(tmp_path))
        path.unlink()
        with pytest.raises(PackageError, match="is missing"):
            check_package(read_package(tmp_path))
        path.write_bytes(data)
    check_package(read_package(tmp_path))


def test_a_rebuild_renews_the_plan_and_leaves_payloads(package: Package, tmp_path: Path) -> None:
    write_package(package, tmp_path)
    for path in files_of(tmp_path):
        os.utime(path, (1000, 1000))
    write_package(package, tmp_path)
    times = {path.name: path.stat().st_mtime for path in files_of(tmp_path)}
    assert times.pop("plan.json") > 1000
    assert set(times.values()) == {1000}


def test_payloads_no_plan_names_go_and_other_files_stay(package: Package, tmp_path: Path) -> None:
    write_package(package, tmp_path)
    (tmp_path / "weights.0123456789abcdef.bin").write_bytes(b"old")
    (tmp_path / "host" / "0123456789abcdef.onnx").write_bytes(b"old")
    (tmp_path / "README").write_text("mine")
    write_package(package, tmp_path)
    names = {path.name for path in files_of(tmp_path)}
    assert names == {Path(name).name for name in package.plan.files} | {"plan.json", "README"}


@pytest.mark.parametrize("name", ["thesis.txt", "plan.json", "host"])
def test_a_folder_with_something_else_is_left_alone(
    package: Package, tmp_path: Path, name: str
) -> None:
    if name == "host":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "host").symlink_to(tmp_path / "elsewhere")
    else:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / name).write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="no joulec package") as caught:
        write_package(package, tmp_path / "out")
    assert caught.value.code == "U007"
    assert sorted(tmp_path.rglob("*")) == before


def test_an_interrupted_package_can_be_written_again(package: Package, tmp_path: Path) -> None:
    write_package(package, tmp_path)
    (tmp_path / "plan.json").unlink()
    (tmp_path / ".joulec-1-0.tmp").write_bytes(b"part")
    write_package(package, tmp_path)
    check_package(read_package(tmp_path))


def test_a_file_is_no_folder_to_write_to(package: Package, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError) as caught:
            write_package(package, place)
        assert caught.value.code == "U007"


def test_links_are_not_followed(package: Package, tmp_path: Path) -> None:
    write_package(package, tmp_path / "a")
    weights = next(name for name in package.plan.files if name.startswith("weights"))
    path = tmp_path / "a" / weights
    path.rename(tmp_path / "weights")
    path.symlink_to(tmp_path / "weights")
    with pytest.raises(PackageError, match="cannot be read"):
        check_package(read_package(tmp_path / "a"))
    (tmp_path / "a" / "plan.json").unlink()
    os.mkfifo(tmp_path / "a" / "plan.json")
    with pytest.raises(PackageError, match="no plain file"):
        read_package(tmp_path / "a")


def test_a_folder_without_a_plan_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="this is no package folder"):
        read_package(tmp_path)
    with pytest.raises(UsageError, match="no folder") as caught:
        read_package(tmp_path / "nowhere")
    assert caught.value.code == "U001"


def changed(plan: Plan, **update: Any) -> Plan:
    return sealed(plan.model_copy(update=update))[0]


def test_contradictions_are_refused_even_under_a_fresh_hash(package: Package) -> None:
    plan = package.plan
    check_plan(plan)
    first, second = plan.steps[0], plan.steps[1]
    buffer = next(b for b in plan.buffers if b.size_bytes and b.first_step == 1)
    source = next(b for b in plan.buffers if b.name == second.inputs[0])
    more = plan.energy_pj.total.times(1.000001)
    kindless = DigitalMapping(engine=first.engine)
    assert second.utilization is not None
    emptied = second.utilization.model_copy(update={"used": 1})
    lies: dict[str, dict[str, Any]] = {
        "the energy of the plan is not the sum of its parts": {
            "energy_pj": plan.energy_pj.model_copy(update={"total": more})
        },
        "starts before its inputs are made": {
            "steps": (first, second.model_copy(update={"start_ns": 0.0}), *plan.steps[2:])
        },
        "reads 'v0' before it is made": {
            "steps": tuple(
                step.model_copy(update={"index": index})
                for index, step in enumerate((second, first, *plan.steps[2:]))
            )
        },
        "the latency is not the end of the last step": {
            "latency_ns": plan.latency_ns + Estimate.exact(1)
        },
        "the serial latency is not the sum": {
            "serial_latency_ns": plan.serial_latency_ns.times(1.01)
        },
        "takes another time than lies between": {
            "steps": (
                first.model_copy(update={"latency_ns": first.latency_ns.times(2)}),
                *plan.steps[1:],
            )
        },
        "is mapped onto another engine": {
            "steps": (
                first.model_copy(update={"mapping": HostMapping(engine="digital")}),
                *plan.steps[1:],
            )
        },
        "has a mapping of another kind of engine": {
            "steps": (first.model_copy(update={"mapping": kindless}), *plan.steps[1:])
        },
        "where its mapping takes": {
            "steps": (first, second.model_copy(update={"utilization": emptied}), *plan.steps[2:])
        },
        "an inference has 3 samples where its inputs hold": {"samples": 3},
        "the MACs are not the sum": {"macs": plan.macs.model_copy(update={"after": 1})},
        "has not the size of its type": {"buffers": with_buffer(plan, buffer, size_bytes=7)},
        "overlap in 'l1'": {"buffers": with_buffer(plan, buffer, address=source.address)},
        "in an unknown memory 'l9'": {"buffers": with_buffer(plan, buffer, memory="l9")},
        "which holds 262,144": {"buffers": with_buffer(plan, buffer, address=262144)},
        "is used when it is not held": {"buffers": with_buffer(plan, buffer, last_step=1)},
        "has no buffer": {"buffers": plan.buffers[1:]},
        "is no view of": {"buffers": with_buffer(plan, buffer, same_as="x0")},
        "which is not its own": {
            "placements": (
                plan.placements[0].model_copy(
                    update={
                        "parts": (plan.placements[0].parts[0].model_copy(update={"steps": (8,)}),)
                    }
                ),
                *plan.placements[1:],
            )
        },
        "which is not placed": {"placements": plan.placements[1:]},
        "told twice": {"peak_bytes": {**plan.peak_bytes, "l1": 1}},
        "resident weights take 513 of 512 columns": {
            "resident": {"analog": plan.resident["analog"].model_copy(update={"used": 513})}
        },
        "files and steps name different payloads": {
            "files": {k: v for k, v in plan.files.items() if k.startswith("weights")}
        },
    }  # fmt: skip
    for words, update in lies.items():
        message = complaint(changed(plan, **update))
        assert words in message
        assert message.startswith("P002")


def complaint(plan: Plan) -> str:
    """What the check says of a plan, with its code."""
    with pytest.raises(PackageError) as caught:
        check_plan(plan)
    return f"{caught.value.code} {caught.value}"


def with_buffer(plan: Plan, buffer: Any, **update: Any) -> tuple[Any, ...]:
    return tuple(b.model_copy(update=update) if b is buffer else b for b in plan.buffers)


def test_a_plan_follows_its_published_schema(package: Package) -> None:
    schema = plan_schema()
    table = json.loads(render_plan(package.plan))
    assert faults(table, schema, schema) == []
    assert faults({**table, "latency_ns": "x"}, schema, schema) == ["latency_ns"]
    assert faults({**table, "extra": 1}, schema, schema) == ["extra"]
    assert set(schema["required"]) <= set(table) == set(schema["properties"])


def faults(value: Any, rule: dict[str, Any], root: dict[str, Any], path: str = "") -> list[str]:
    """The paths at which a value breaks a JSON Schema (the keywords that ours uses)."""
    if "$ref" in rule:
        return faults(value, root["$defs"][rule["$ref"].rpartition("/")[2]], root, path)
    if "anyOf" in rule:
        return [] if any(not faults(value, one, root) for one in rule["anyOf"]) else [path]
    if "oneOf" in rule:
        return [] if sum(not faults(value, one, root) for one in rule["oneOf"]) == 1 else [path]
    kinds: dict[str, tuple[type, ...]] = {
        "object": (dict,), "array": (list,), "string": (str,), "integer": (int,),
        "number": (int, float), "boolean": (bool,), "null": (type(None),),
    }  # fmt: skip
    kind = rule.get("type")
    if kind and (
        not isinstance(value, kinds[kind])
        or (value is True) != (kind == "boolean" and value is True)
    ):
        return [path]
    if "const" in rule and value != rule["const"]:
        return [path]
    if "enum" in rule and value not in rule["enum"]:
        return [path]
    if "pattern" in rule and not re.search(rule["pattern"], value):
        return [path]
    if "minimum" in rule and value < rule["minimum"]:
        return [path]
    found: list[str] = []
    if isinstance(value, dict):
        known = rule.get("properties", {})
        found += [name for name in rule.get("required", ()) if name not in value]
        for name, item in value.items():
            where = f"{path}.{name}".lstrip(".")
            other = rule.get("additionalProperties", {})
            if name in known:
                found += faults(item, known[name], root, where)
            elif other is False:
                found.append(where)
            elif isinstance(other, dict):
                found += faults(item, other, root, where)
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += faults(item, rule.get("items", {}), root, f"{path}.{index}")
    return found
