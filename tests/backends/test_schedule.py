from __future__ import annotations

import random

from backends.lowering.schedule import Task, schedule


def test_a_chain_runs_one_after_the_other() -> None:
    made = schedule([Task("a", 5, ()), Task("b", 7, (0,)), Task("a", 2, (1,))])
    assert made.starts_ns == (0, 5, 12)
    assert made.ends_ns == (5, 12, 14)
    assert made.latency_ns == 14


def test_engines_overlap_where_the_data_allow() -> None:
    fork = [Task("host", 1, ()), Task("a", 10, (0,)), Task("b", 8, (0,)), Task("a", 1, (1, 2))]
    made = schedule(fork)
    assert made.starts_ns == (0, 1, 1, 11)
    assert made.latency_ns == 12


def test_an_engine_does_one_step_at_a_time() -> None:
    made = schedule([Task("a", 3, ()), Task("a", 3, ()), Task("b", 3, ())])
    assert made.starts_ns == (0, 3, 0)


def test_nothing_takes_no_time() -> None:
    assert schedule([]).latency_ns == 0


def test_a_step_never_starts_before_its_inputs_or_while_its_engine_works() -> None:
    rng = random.Random(0)
    for _ in range(50):
        tasks = [
            Task(
                rng.choice("abc"),
                rng.choice([0.0, rng.random() * 9]),
                tuple(sorted(rng.sample(range(i), min(i, rng.randrange(3))))),
            )
            for i in range(30)
        ]
        made = schedule(tasks)
        for i, task in enumerate(tasks):
            assert made.ends_ns[i] == made.starts_ns[i] + task.latency_ns
            assert all(made.ends_ns[j] <= made.starts_ns[i] for j in task.after)
            earlier = [made.ends_ns[j] for j in range(i) if tasks[j].engine == task.engine]
            assert all(end <= made.starts_ns[i] for end in earlier)
        assert made.latency_ns <= sum(task.latency_ns for task in tasks) + 1e-9
