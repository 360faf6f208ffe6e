"""Random models compile for every chip and keep ONNX Runtime's numbers: a few on every run,
`make random` tries 2,000 seeds.
"""

from __future__ import annotations

import onnx
import pytest

from tests.support.random_check import chips_for, try_seed
from tests.support.random_networks import FAMILIES, build

SEEDS = 16


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_model(seed: int) -> None:
    assert try_seed((seed, "", chips_for(seed, "one-each"))) == []


def test_the_same_seed_gives_the_same_model_and_it_is_sound() -> None:
    for seed in range(SEEDS):
        model, feed = build(seed)
        assert build(seed)[0].SerializeToString() == model.SerializeToString()
        assert list(feed) == [value.name for value in model.graph.input]
        onnx.checker.check_model(model, full_check=True)


def test_the_seeds_draw_every_family() -> None:
    drawn = {build(seed)[0].graph.name.partition("_")[0] for seed in range(60)}
    assert drawn == set(FAMILIES)
