"""The limit of work of Loops and Scans: values stay what they are, endless work is stopped."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from compiler.errors import ModelError
from compiler.execute.interpreter import Model
from compiler.execute.loop_work import limited_loop_work, with_limit
from compiler.execute.reference_evaluator import ReferenceModel
from compiler.execute.session import open_session
from tests.support.hostile_models import model

# A turn adds 1 to v until it is above x; each case is a node that makes y of that.
_UNTIL = """(int64 i, bool go, float[a] v) => (bool goes, float[a] w)
    {w = Add(v, one) m = ReduceMax<keepdims = 0>(w) goes = Less(m, top)}"""
_HEAD = "g (float[2] x) => (float[a] y) {top = ReduceMax<keepdims = 0>(x) "
_WHILE = f'y = Loop("", yes, zero)<body = b {_UNTIL}>'
_COUNTED = """y = Loop(many, "", zero)<body = b
    (int64 i, bool go, float[a] v) => (bool go2, float[a] w)
    {go2 = Identity(go) w = Add(v, one)}>"""
CASES = {
    "a condition": f"{_WHILE}",
    "a trip count and a condition": _WHILE.replace('""', "many"),
    "a count that is not reached": _WHILE.replace('""', "huge"),
    "a count alone": _COUNTED,
    "turns that are collected": """last, all = Loop(many, "", zero)<body = b
        (int64 i, bool go, float[a] v) => (bool go2, float[a] w, float[a] each)
        {go2 = Identity(go) w = Add(v, one) each = Mul(w, w)}>
        y = ReduceSum<keepdims = 0>(all, axes)""",
    "a Loop in a Loop": f"""y = Loop(three, "", zero)<body = b
        (int64 i, bool go, float[a] u) => (bool go2, float[a] y1)
        {{go2 = Identity(go) y0 = {_WHILE.partition("=")[2]} y1 = Add(y0, u)}}>""",
    "a Loop in a branch": f"""c = Less(zero1, top) y = If(c)<then_branch = t () => (float[a] y1)
        {{y1 = {_WHILE.partition("=")[2]}}}, else_branch = e () => (float[a] y2)
        {{y2 = Neg(x)}}>""",
    "a Loop in a Scan": f"""rows = Unsqueeze(x, axes) y, k = Scan<num_scan_inputs = 1, body = s
        (float[a] u, float[a] row) => (float[a] y1, float[a] z)
        {{y0 = {_WHILE.partition("=")[2]} y1 = Add(y0, u) z = Identity(row)}}>(zero, rows)""",
    "a Scan of open length": """top1 = Mul(top, thirty) n = Cast<to = 7>(top1)
        to = Unsqueeze(n, axes) rows = Expand(one1, to)
        y, k = Scan<num_scan_inputs = 1, body = s (float[a] u, float row) => (float[a] w, float z)
        {w = Add(u, row) z = Neg(row)}>(zero, rows)""",
    "a Scan of known length": """rows = Expand(one1, many2)
        y = Scan<num_scan_inputs = 1, scan_input_axes = [-1], body = s
        (float[a] u, float[b] row) => (float[a] w) {w = Add(u, row)}>(zero, rows)""",
    "a Scan without states": """rows = Expand(one1, many2)
        all = Scan<num_scan_inputs = 1, scan_input_axes = [1], scan_output_directions = [1],
        body = s (float[b] row) => (float[b] z) {z = Add(row, top)}>(rows)
        y = ReduceMax<axes = [0], keepdims = 0>(all)""",
    "a body that reads from outside": """y = Loop(many, "", zero)<body = b
        (int64 i, bool go, float[a] v) => (bool go2, float[a] w)
        {go2 = Identity(go) w = Add(v, x)}>""",
    "values of sizes that are not known": """y0 = Loop(many, "", zero)<body = b
        (int64 i, bool go, v) => (bool go2, w) {go2 = Identity(go) s = Shape(v) e = Expand(one, s)
        w = Add(v, e)}> y = Identity(y0)""",
}
TOP = np.array([2, 60], np.float32)


def proto(case: str) -> onnx.ModelProto:
    """The model of a case."""
    return model(
        f"{_HEAD}{CASES[case]} }}", 17, one=np.ones(2, np.float32), zero=np.zeros(2, np.float32),
        zero1=np.float32(0), yes=np.array(True), many=np.int64(2000), three=np.int64(3),
        huge=np.int64(1 << 62), axes=np.array([0]), one1=np.float32(1), thirty=np.float32(30),
        many2=np.array([2, 2000]),
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_values_are_those_of_the_model_as_it_is(case: str) -> None:
    data = proto(case).SerializeToString()
    (wanted,) = open_session(data).run(["y"], {"x": TOP})
    with limited_loop_work(1_000_000):
        found = Model(data).run({"x": TOP})
        assert list(found) == ["y"]
        np.testing.assert_array_equal(found["y"], wanted)


@pytest.mark.parametrize("case", CASES)
def test_work_past_the_limit_is_refused(case: str) -> None:
    made = proto(case)
    for node in made.graph.node:
        node.name = "own" if any(a.HasField("g") for a in node.attribute) else ""
    with limited_loop_work(900):
        assert with_limit(made.SerializeToString()) != made.SerializeToString()
        with pytest.raises(ModelError, match=r"than the 900 of --max-loop-work") as caught:
            Model(made.SerializeToString()).run({"x": TOP * 100})
    assert caught.value.code == "M008"
    assert caught.value.node.startswith("own")


@pytest.mark.parametrize("case", ["a condition", "a Loop in a branch"])
def test_the_reference_evaluator_is_stopped_earlier(case: str) -> None:
    with limited_loop_work(90_000), pytest.raises(ModelError, match="--max-loop-work"):
        ReferenceModel(proto(case)).run({"x": TOP * 100})


def test_few_turns_are_left_alone() -> None:
    made = proto("a count alone")
    made.graph.initializer[5].CopyFrom(onnx.numpy_helper.from_array(np.array(1000), "many"))
    with limited_loop_work(1):
        assert with_limit(made.SerializeToString()) == made.SerializeToString()


@pytest.mark.parametrize("known", [True, False])
def test_work_grows_with_what_a_node_computes(known: bool) -> None:
    """A turn of 500 x 500 products costs as many of small ones."""
    sizes = "float[500,500]" if known else "float[a,b]"
    body = f"""g ({sizes} x, int64 n) => ({sizes} y) {{y = Loop(n, "", x)<body = b
        (int64 i, bool go, {sizes} v) => (bool go2, {sizes} w)
        {{go2 = Identity(go) w = MatMul(v, v)}}>}}"""
    small, large = (np.zeros((size, size), np.float32) for size in (2, 500))
    data = model(body).SerializeToString()
    with limited_loop_work(40_000):
        runner = Model(data)
        runner.run({"x": large, "n": np.array(2)})
        if not known:
            runner.run({"x": small, "n": np.array(1000)})
        with pytest.raises(ModelError, match="--max-loop-work"):
            runner.run({"x": large, "n": np.array(4)})


@pytest.mark.parametrize("length", ["n", "5000"])
def test_a_scan_runs_up_to_the_limit(length: str) -> None:
    """A turn costs 16, and 1 for the one node of the body."""
    made = model(f"""g (float[2,{length}] x) => (float[2] y) {{
        y = Scan<num_scan_inputs = 1, scan_input_axes = [1], body = s
        (float[2] u, float[2] row) => (float[2] w) {{w = Add(u, row)}}>(zero, x)}}""",
        17, zero=np.zeros(2, np.float32))  # fmt: skip
    x = np.ones((2, 5000), np.float32)
    with limited_loop_work(17 * 5000):
        np.testing.assert_array_equal(
            Model(made.SerializeToString()).run({"x": x})["y"], [5000] * 2
        )
    with limited_loop_work(17 * 5000 - 1), pytest.raises(ModelError, match="its Scan does more"):
        Model(made.SerializeToString()).run({"x": x})


@pytest.mark.parametrize("sizes", ["n,m", "2,2500"])
def test_a_scan_of_opset_8_runs_up_to_the_limit(sizes: str) -> None:
    """It takes as many turns as its batch times its length."""
    made = model(f"""g (float[{sizes},2] x) => (float[2,2] y) {{
        y = Scan<num_scan_inputs = 1, body = s
        (float[2] u, float[2] row) => (float[2] w) {{w = Add(u, row)}}>("", zero, x)}}""",
        8, zero=np.zeros((2, 2), np.float32))  # fmt: skip
    x = np.ones((2, 2500, 2), np.float32)
    with limited_loop_work(17 * 5000):
        found = Model(made.SerializeToString()).run({"x": x})["y"]
    np.testing.assert_array_equal(found, np.full((2, 2), 2500))
    with limited_loop_work(17 * 5000 - 1), pytest.raises(ModelError, match="its Scan does more"):
        Model(made.SerializeToString()).run({"x": x})


def test_a_length_that_is_only_declared_is_not_believed() -> None:
    made = model("""g (int64 n) => (float y, float[5] c) {
        n1 = Unsqueeze(n, axes) c = Expand(one, n1)
        y = Scan<num_scan_inputs = 1, body = s (float u, float e) => (float w)
        {w = Add(u, e)}>(one, c)}""", 17, one=np.float32(1), axes=np.array([0]))  # fmt: skip
    with limited_loop_work(90_000), pytest.raises(ModelError, match="its Scan does more"):
        Model(made.SerializeToString()).run({"n": np.array(6000)})
