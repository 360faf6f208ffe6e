from __future__ import annotations

import random

import numpy as np
import pytest

from backends.lowering.memory import (
    Live,
    Place,
    _gap,
    aligned,
    allocate,
    packed_bytes,
    place_weights,
)
from compiler.errors import CapacityError
from compiler.target.chip import Target, load_target
from tests.support.placed_graphs import with_capacities

DIANA = load_target("diana")


def small(l1: int, l2: int, off_chip: int) -> Target:
    return with_capacities(DIANA, {"l1": l1, "l2": l2, "off_chip": off_chip})


def live(name: str, size: int, first: int, last: int, home: str = "l1") -> Live:
    return Live(
        name=name,
        size_bytes=size,
        first_step=first,
        last_step=last,
        from_ns=first * 10.0,
        to_ns=last * 10.0 + 10,
        home=home,
    )


def test_values_that_do_not_meet_share_bytes() -> None:
    places = allocate([live("a", 100, 0, 1), live("b", 100, 1, 2), live("c", 90, 2, 3)], {}, DIANA)
    assert places == {"a": Place("l1", 0), "b": Place("l1", 128), "c": Place("l1", 0)}


def test_a_value_takes_the_tightest_gap() -> None:
    values = [
        live("big", 640, 0, 1), live("wall1", 512, 0, 9), live("small", 256, 0, 1),
        live("wall2", 200, 0, 9), live("new", 190, 3, 4),
    ]  # fmt: skip
    places = allocate(values, {}, DIANA)
    assert places["new"].address == places["small"].address


def test_values_of_overlapping_steps_never_share() -> None:
    """Step 1 and step 2 run at once on two engines.

    In order a ends before b begins, in time it does not.
    """
    first = Live(
        name="a", size_bytes=64, first_step=0, last_step=1, from_ns=0.0, to_ns=50.0, home="l1"
    )
    second = Live(
        name="b", size_bytes=64, first_step=2, last_step=3, from_ns=20.0, to_ns=90.0, home="l1"
    )
    places = allocate([first, second], {}, DIANA)
    assert places["a"].address != places["b"].address


def test_a_run_in_order_is_safe_too() -> None:
    """A later step may end earlier on another engine.

    Whoever runs steps one by one must not lose its value.
    """
    first = Live(
        name="late in order",
        size_bytes=64,
        first_step=5,
        last_step=6,
        from_ns=0.0,
        to_ns=10.0,
        home="l1",
    )
    second = Live(
        name="late in time",
        size_bytes=64,
        first_step=1,
        last_step=2,
        from_ns=10.0,
        to_ns=20.0,
        home="l1",
    )
    places = allocate([first, second], {}, DIANA)
    assert len({place.address for place in places.values()}) == 2


def test_what_does_not_fit_goes_one_memory_outward() -> None:
    target = small(128, 256, 1 << 20)
    values = [live("a", 128, 0, 5), live("b", 64, 0, 5), live("c", 200, 0, 5, "l2")]
    places = allocate(values, {}, target)
    assert places == {"a": Place("l1", 0), "b": Place("off_chip", 0), "c": Place("l2", 0)}


def test_weights_lie_at_the_front() -> None:
    places, used = place_weights([("w", 100, "l2"), ("v", 10, "l2"), ("u", 5, "off_chip")], DIANA)
    assert places == {"w": Place("l2", 0), "v": Place("l2", 128), "u": Place("off_chip", 0)}
    assert used == {"l1": 0, "l2": 192, "off_chip": 64}
    assert allocate([live("a", 10, 0, 1, "l2")], used, DIANA)["a"] == Place("l2", 192)


def test_weights_that_find_no_room_go_outward() -> None:
    places, used = place_weights([("w", 200, "l2"), ("v", 100, "l2")], small(64, 256, 1024))
    assert places["v"] == Place("off_chip", 0)
    assert used == {"l1": 0, "l2": 256, "off_chip": 128}


def test_too_many_weights_are_refused_with_the_numbers() -> None:
    with pytest.raises(CapacityError) as caught:
        place_weights([("w", 2000, "off_chip")], small(64, 64, 1024))
    assert caught.value.line() == (
        "error[C001]: the weights need 2,048 bytes of memory 'off_chip' of diana; it holds 1,024; "
        "take a chip with more memory, prune the model (--prune), or bind a smaller input (--bind)"
    )
    assert caught.value.exit_status == 4


def test_too_large_activations_are_refused_with_the_numbers() -> None:
    with pytest.raises(CapacityError) as caught:
        allocate([live("a", 100, 0, 3), live("b", 100, 1, 2)], {"off_chip": 64}, small(64, 64, 192))
    assert (
        "the activations need 256 bytes of memory 'off_chip' of diana; "
        "it holds 192, of which weights take 64"
    ) in caught.value.line()


def test_random_values_never_overlap() -> None:
    rng = random.Random(1)
    target = small(4096, 65536, 1 << 28)
    for _ in range(30):
        values = []
        for i in range(60):
            first = rng.randrange(40)
            last = min(40, first + rng.choice([0, 1, 1, 2, 3, 20]))
            values.append(live(f"v{i}", rng.choice([0, 1, 64, 500, 3000]), first, last))
        places = allocate(values, {"l1": 100}, target)
        assert set(places) == {value.name for value in values}
        for one in values:
            place = places[one.name]
            assert place.address % 64 == 0
            assert place.memory != "l1" or place.address >= 128
            end = place.address + one.size_bytes
            assert end <= target.memories[place.memory].capacity_bytes.value
            for other in values:
                there = places[other.name]
                disjoint = other.last_step < one.first_step or one.last_step < other.first_step
                if other is one or disjoint or there.memory != place.memory:
                    continue
                assert end <= there.address or there.address + other.size_bytes <= place.address


def test_packing_is_near_the_least() -> None:
    """A chain of equal values needs two of them at once."""
    values = [live(f"v{i}", 1000, i, i + 1) for i in range(50)]
    assert packed_bytes(values) <= 2 * aligned(1000)
    assert packed_bytes([]) == 0


def test_the_tightest_gap_is_found() -> None:
    """Held to the plain walk over occupied ranges, on random ones that overlap."""
    made = np.random.default_rng(0)
    for _ in range(300):
        count = int(made.integers(0, 9))
        low = made.integers(0, 60, count)
        high = low + made.integers(1, 9, count)
        size, floor = int(made.integers(1, 9)), int(made.integers(0, 20))
        best, best_room, top = -1, 0, floor
        for begin, end in sorted(zip(low.tolist(), high.tolist(), strict=True)):
            room = begin - top
            if room >= size and (best < 0 or room < best_room):
                best, best_room = top, room
            top = max(top, end)
        assert _gap(low, high, size, floor) == (best if best >= 0 else top)
