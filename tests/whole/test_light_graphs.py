"""The well-known networks that the onnx package brings along; their weights are made by
ConstantOfShape.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import joulec
from compiler.execute.session import open_session

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
QUICK = ("light_squeezenet", "light_inception_v1")


def cases() -> list[Any]:
    """Every graph in floats; in the usual run the quick ones. VGG-19 and ZFNet-512 have matrices
    of more than 256 MiB.
    """
    names = sorted(path.stem for path in LIGHT.glob("*.onnx"))
    return [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in names]


def test_all_nine_are_there() -> None:
    assert len(cases()) == 9


@pytest.mark.parametrize("name", cases())
def test_a_light_graph_gives_what_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    path = LIGHT / f"{name}.onnx"
    options = joulec.Options(precision="float")
    joulec.compile(path, "diana", output=tmp_path / "p", options=options)
    package = joulec.load(tmp_path / "p")
    inputs: Any = package.plan.inputs
    random = np.random.default_rng(0)
    feed = {port.name: random.random(port.shape, np.float32) for port in inputs}
    session = open_session(path)
    for found, wanted in zip(joulec.run(package, feed), session.run(None, feed), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)
