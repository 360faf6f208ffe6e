"""What several tests share: where the models and data to test with are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["COLUMNS"] = "100"  # what is printed fits a terminal, and is the same on every machine


@pytest.fixture(scope="session")
def models_folder() -> Path:
    """The folder of real models (JOULEC_MODELS, or ../shared/models-ext); tests that want it are
    skipped where it is absent.
    """
    here = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("JOULEC_MODELS", here.parent / "shared" / "models-ext"))
    if not folder.is_dir():
        pytest.skip(f"no models in {folder}; JOULEC_MODELS names another folder")
    return folder
