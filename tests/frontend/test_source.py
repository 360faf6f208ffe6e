"""The user's own line follows a node from the exporter's metadata into every face of the report,
whatever is fused with it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import joulec
from backends.report import render_report
from backends.reports.explain import explain, explanation_text
from compiler.frontend.source import source_of
from tests.support.producers import Writer

# As torch.onnx.export(dynamo=True) of torch 2.13 writes it: outermost frame first, the framework's
# own frames last.
STACK = """File "/home/user/net.py", line 23, in forward
    y = self.block(x)
  File "/home/user/net.py", line 12, in forward
    return self.conv(x)
  File "/home/user/venv/lib/python3.11/site-packages/torch/nn/modules/conv.py", line 548, in forward
    return self._conv_forward(input, self.weight, self.bias)"""


def node(doc: str = "", **metadata: str) -> onnx.NodeProto:
    made = helper.make_node("Relu", ["x"], ["y"], "n", doc_string=doc)
    for key, value in metadata.items():
        made.metadata_props.add(key=key.replace("__", "."), value=value)
    return made


def test_the_innermost_line_that_is_not_of_the_framework_and_the_module() -> None:
    scopes = "['', 'block', 'block.conv', 'conv2d']"
    found = source_of(
        node(pkg__torch__onnx__stack_trace=STACK, pkg__torch__onnx__name_scopes=scopes)
    )
    assert found == "/home/user/net.py:12 in block.conv"


def test_scopes_alone_also_from_the_namespace() -> None:
    namespace = ": net.Net/block: net.Block/block.conv: torch.nn.Conv2d/conv2d: aten.conv2d.default"
    assert source_of(node(namespace=namespace)) == "block.conv"
    assert source_of(node()) == ""


def test_the_torchscript_exporters_documentation() -> None:
    doc = (
        "/lib/site-packages/torch/nn/modules/conv.py(458): forward\\n/home/user/net.py(12): "
        "forward\\n"
    )
    assert source_of(node(doc.replace("\\n", "\n"))) == "/home/user/net.py:12"


def test_a_hostile_source_is_one_short_line() -> None:
    found = source_of(node(pkg__torch__onnx__stack_trace='File "a\x1b[2J\rb", line 1' + "x" * 1000))
    assert found == "a\\\\x1b[2J\\\\rb:1".replace("\\\\", "\\")
    long = source_of(node(pkg__torch__onnx__name_scopes=f"['', '{'s' * 5000}', 'x']"))
    assert len(long) <= 300


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> joulec.Compiled:
    """Conv, BatchNormalization and Relu, which become one step of the first one's line."""
    w = Writer()
    a = w.node("Conv", "x", w.const(w.numbers(4, 3, 3, 3)), pads=[1] * 4)
    a = w.node("BatchNormalization", a, *(w.const(np.full(4, 0.5)) for _ in range(4)))
    w.node("Relu", a, out="y")
    for line, made in enumerate(w.nodes):
        made.metadata_props.add(
            key="pkg.torch.onnx.stack_trace", value=f'File "/home/user/<b>|net.py", line {line + 1}'
        )
    return joulec.compile(w.model((1, 3, 8, 8), (1, 4, 8, 8), "pytorch"), "diana_digital")


def test_every_face_shows_the_line_of_a_fused_layer(compiled: joulec.Compiled) -> None:
    plan = compiled.plan
    (step,) = (step for step in plan.steps if step.macs)
    assert step.source == "/home/user/<b>|net.py:1"
    explained = explain(plan, "Conv_1")
    assert "source        /home/user/<b>|net.py:1" in explanation_text(explained)
    assert "<b>|net.py:1" in compiled.report
    assert "&lt;b>\\|net.py:1" in render_report(plan, "markdown")
    table = json.loads(render_report(plan, "json"))
    assert step.source in [row["source"] for row in table["steps"]]


def test_a_model_without_sources_has_no_column_for_them() -> None:
    folder = Path(__file__).parents[2] / "models"
    report = joulec.compile(folder / "dim20.onnx", "tile16").report
    assert "source" not in report.split("sum", 1)[0]
