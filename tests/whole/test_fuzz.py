"""Mutated models, packages, data and chips get an answer in words; `make fuzz` looks for a
minute, this a few seconds.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from compiler.cli.arrays import read_arrays
from compiler.errors import ModelError
from tests.support.fuzz import TEXTS, hunt, model_bytes


def test_a_sample_of_mutations() -> None:
    tried, faults = hunt(seed=4, count=16, seconds=25)
    assert tried > 5
    assert not faults


def test_there_are_ten_models_to_start_from(tmp_path: Path) -> None:
    assert len(model_bytes(tmp_path)) == len(TEXTS) + 4 == 10


def test_compressed_data_that_is_broken(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.arange(10_000.0))
    data = bytearray(stream.getvalue())
    with zipfile.ZipFile(stream) as archive:
        start = archive.infolist()[0].header_offset + 60
    data[start : start + 200] = b"\xff" * 200
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(ModelError) as caught:
        read_arrays(tmp_path / "x.npz", ["x"])
    assert caught.value.code == "M009"
