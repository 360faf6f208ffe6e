"""A sample of ONNX's own backend tests on every run; `make conformance` runs them all."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest

from compiler.execute.session import open_session
from tests.support.conformance import FLOAT_CHIP, Setting, difference, run, try_case
from tests.support.onnx_cases import KINDS, Case, load, names

SAMPLE = 150
# Tests whose models were once refused or misread, and one of each kind of value that is no tensor
# of numbers.
ALWAYS = (
    ("pytorch-converted", "test_PReLU_2d_multiparam"),
    ("simple", "test_sequence_model8"),
    ("simple", "test_strnorm_model_monday_casesensintive_lower"),
    ("node", "test_sequence_insert_at_front"),
    ("node", "test_optional_get_element_optional_sequence"),
    ("node", "test_identity_opt"),
    ("node", "test_if_opt"),
    ("node", "test_loop16_seq_none"),
    ("node", "test_cast_FLOAT_to_FLOAT8E4M3FN"),
    ("node", "test_cast_FLOAT_to_BFLOAT16"),
    ("node", "test_swiglu"),
    ("node", "test_flexattention"),
)


def sample() -> list[tuple[str, str]]:
    """The tests that always run, and others drawn once and for all (without the large networks)."""
    drawn = random.Random(0).sample(names(KINDS[:-1]), SAMPLE)
    return [*ALWAYS, *(item for item in drawn if item not in ALWAYS)]


def test_a_sample_of_onnx_s_own_tests() -> None:
    results = [try_case(load(kind, name)) for kind, name in sample()]
    failed = [result for result in results if result.verdict == "failed"]
    assert not failed
    refused = [result for result in results if result.verdict == "refused"]
    assert len(refused) <= 4, refused


@pytest.mark.parametrize("constants", [False, True])
def test_a_sample_on_our_own_kernels(constants: bool) -> None:
    """What ONNX Runtime computes elsewhere, the test chip that computes in floats gives to our
    kernels; 1 test in 12 of those it could take.
    """
    words = (
        "conv", "gemm", "matmul", "pool", "Conv", "Linear", "Pool", "add", "mul", "relu", "clip",
        "hardswish", "sigmoid",
    )  # fmt: skip
    could = [item for item in names(KINDS[:-1]) if any(word in item[1] for word in words)]
    setting = Setting(FLOAT_CHIP, constants)
    results = [
        try_case(load(kind, name), setting) for kind, name in could[:: 6 if constants else 12]
    ]
    assert not [result for result in results if result.verdict == "failed"]
    own = [result for result in results if result.own]
    assert len(own) > len(results) // 4
    assert sum(result.macs > 0 for result in own) >= (5 if constants else 1)


def test_a_sample_compiled_for_integers() -> None:
    """1 test in 100 on each of two chips, on one of them with weights that are constants."""
    items = names(KINDS[:-1])
    results = [
        try_case(load(kind, name), Setting(target, constants, "integer"))
        for first, target, constants in ((0, "diana", True), (50, "diana_digital", False))
        for kind, name in items[first::100]
    ]
    assert [result for result in results if result.verdict == "failed"] == []
    assert sum(result.verdict == "passed" for result in results) > 0.9 * len(results)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["diana", "diana_digital"])
@pytest.mark.parametrize("constants", [False, True])
def test_all_compiled_for_integers(target: str, constants: bool) -> None:
    results = list(run(names(), Setting(target, constants, "integer"), 2))
    assert [result for result in results if result.verdict == "failed"] == []


@pytest.mark.slow
def test_all_of_onnx_s_own_tests() -> None:
    results = list(run(names(), Setting(), 2))
    assert [result for result in results if result.verdict == "failed"] == []
    passed = {
        level: sum(r.tier <= level for r in results if r.verdict == "passed") for level in (1, 2, 4)
    }
    assert passed[1] == 927
    assert passed[2] >= 1448
    assert passed[4] >= 2006


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test_bernoulli", "Bernoulli draws random numbers"),
        ("test_bernoulli_expanded", "RandomUniformLike draws random numbers"),
        ("test_gradient_of_add", "the host has no kernel for Gradient"),
    ],
)
def test_a_refusal_names_the_operation(name: str, words: str) -> None:
    kind = "simple" if "gradient" in name else "node"
    result = try_case(load(kind, name))
    assert result.verdict == "refused"
    assert words in result.why


# The tests that leave a size of an input free.
FREE = (
    ("node", "test_sequence_map_add_1_sequence_1_tensor"),
    ("node", "test_sequence_map_add_1_sequence_1_tensor_expanded"),
    ("node", "test_sequence_map_identity_1_sequence_1_tensor"),
    ("node", "test_sequence_map_identity_1_sequence_1_tensor_expanded"),
    ("simple", "test_sequence_model8"),
)


@pytest.mark.parametrize(("kind", "name"), FREE)
def test_a_free_size_that_is_no_batch_is_asked_for(kind: str, name: str) -> None:
    """It is refused by name where it is not bound, never guessed, and passes where it is."""
    result = try_case(load(kind, name), Setting(bound=False))
    assert result.verdict == "refused"
    assert "error[U003]: the size of axis 0 of input " in result.why
    assert "; add --bind " in result.why
    assert try_case(load(kind, name), Setting()).verdict == "passed"


def test_a_batch_is_run_without_bound_sizes() -> None:
    """Samples together are what ONNX Runtime gives for them."""
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N, 3] x) => (float[N, 3] y)'
        " { y = Softmax<axis=1>(x) }"
    )
    wanted = open_session(model.SerializeToString()).run(None, {"x": x})
    case = Case("batch", "node", model, [([x], wanted)], 1e-6, 1e-7)
    assert try_case(case, Setting(bound=False)).verdict == "passed"


# -- the comparison itself


def test_what_is_a_difference() -> None:
    case = Case("", "node", onnx.ModelProto(), [], 1e-3, 1e-7)
    one = np.ones(2, np.float32)
    assert difference([one], [one * 1.0005], case) == ""
    assert "outputs[0]: " in difference([one], [one * 1.01], case)
    assert (
        difference([one], [one.astype(np.float64)], case) == "outputs[0] is float64, wanted float32"
    )
    assert difference([one], [one[:1]], case) == "outputs[0] has shape (1,), wanted (2,)"
    assert difference([one], [one, one], case) == "outputs should be a list of 1"
    assert difference([None], [one], case).startswith("outputs[0] is ")
    assert (
        difference([np.array(["a"], object)], [np.array(["b"], object)], case)
        == "outputs[0] has other texts"
    )
