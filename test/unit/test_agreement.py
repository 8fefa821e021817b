"""Agreement of outputs and results follows its definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from edge_inference.core.models.agreement import (
    OutputAgreement,
    compare_outputs,
    compare_results,
)
from edge_inference.core.results import (
    Classification,
    DepthMap,
    Detections,
    Result,
    ResultAgreement,
    Segmentation,
)
from edge_inference.errors import TensorError

LABELS = ("cat", "dog", "cow")
CAT = ("cat", 0.9, (10, 10, 50, 50))
DOG = ("dog", 0.5, (60, 60, 80, 80))
FLOATS = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=1, max_dims=3, max_side=5),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
)


def compare(reference: Any, candidate: Any, dtype: Any = np.float32) -> OutputAgreement:
    return compare_outputs({"out": np.array(reference, dtype)}, {"out": np.array(candidate, dtype)})


def agreement_share(reference: Result, candidate: Result, **options: Any) -> float:
    return compare_results(reference, candidate, **options).share


def test_no_outputs_agree() -> None:
    nothing = compare_outputs({}, {})
    assert (nothing.cosine, nothing.sqnr_db, nothing.max_difference) == (1.0, math.inf, 0.0)
    assert (nothing.nan_count, nothing.inf_count) == (0, 0)


@pytest.mark.parametrize(
    ("reference", "candidate", "cosine", "sqnr_db", "difference"),
    [
        ([], [], 1.0, math.inf, 0.0),
        ([0, 0], [0, 0], 1.0, math.inf, 0.0),
        ([0, 0], [0, 1], 0.0, -math.inf, 1.0),
        ([0, 2], [0, 0], 0.0, 0.0, 2.0),
        ([3, 4], [3, 4], 1.0, math.inf, 0.0),
        ([3, 4], [6, 8], 1.0, 0.0, 4.0),
        ([3, 4], [-3, -4], -1.0, 10 * math.log10(0.25), 8.0),
        ([1, 0], [0, 1], 0.0, 10 * math.log10(0.5), 1.0),
        ([7, 7, 7, 7], [7, 7, 7, 6], 27 / math.sqrt(28 * 26.142857142857142), 22.92256071, 1.0),
        ([10, 0], [10, 1], 10 / math.sqrt(101), 20.0, 1.0),
    ],
)
def test_the_figures_of_known_arrays(
    reference: list[float],
    candidate: list[float],
    cosine: float,
    sqnr_db: float,
    difference: float,
) -> None:
    found = compare(reference, candidate)
    assert found.cosine == pytest.approx(cosine)
    assert found.sqnr_db == pytest.approx(sqnr_db)
    assert found.max_difference == difference
    assert (found.nan_count, found.inf_count) == (0, 0)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("reference", "candidate", "nan_count", "inf_count"),
    [
        ([1, 2, 3], [NAN, 2, NAN], 2, 0),
        ([1, 2, 3], [INF, 2, -INF], 0, 2),
        ([1, 2, 3], [NAN, INF, 3], 1, 1),
        ([NAN, INF, 3], [NAN, INF, 3], 0, 0),
        ([NAN, INF, 3], [INF, NAN, 3], 0, 0),
        ([NAN, INF, 3], [1, 2, 3], 0, 0),
        ([1], [NAN], 1, 0),
    ],
)
def test_values_that_are_not_finite_are_counted_and_excluded(
    reference: list[float], candidate: list[float], nan_count: int, inf_count: int
) -> None:
    found = compare(reference, candidate)
    assert (found.nan_count, found.inf_count) == (nan_count, inf_count)
    assert (found.cosine, found.sqnr_db, found.max_difference) == (1.0, math.inf, 0.0)


def test_integers_count_differences_but_have_no_sqnr() -> None:
    """A class number off by one is another class, not a small error."""
    found = compare_outputs(
        {"ids": np.array([1, 2]), "valid": np.array([True]), "scores": np.ones(2, np.float16)},
        {"ids": np.array([2, 1]), "valid": np.array([False]), "scores": np.ones(2, np.float32)},
    )
    assert (found.cosine, found.sqnr_db) == (1.0, math.inf)
    assert found.max_difference == 1
    assert [tensor.is_continuous for tensor in found.tensors] == [False, False, True]


def test_large_integers_do_not_overflow() -> None:
    found = compare([120, -128], [-128, 127], np.int8)
    assert found.max_difference == 255


def test_an_fp16_candidate_does_not_overflow() -> None:
    values = np.full(10, 60000, np.float16)
    found = compare_outputs({"out": values.astype(np.float32)}, {"out": values})
    assert found.cosine == pytest.approx(1.0)
    assert found.nan_count == found.inf_count == 0


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("other", ["float16", "float32", "float64"])
def test_floats_of_other_sizes_have_the_same_figures(dtype: str, other: str) -> None:
    reference, candidate = np.array([1, 2, 3], dtype), np.array([1, 2, 2], other)
    found = compare_outputs({"out": reference}, {"out": candidate})
    assert found.cosine == pytest.approx(11 / math.sqrt(14 * 9))
    assert found.sqnr_db == pytest.approx(10 * math.log10(14))
    assert found.tensors[0].is_continuous


@pytest.mark.filterwarnings("error")
def test_doubles_beyond_the_sums_never_look_equal() -> None:
    found = compare([1e200, 1], [2e200, 1], np.float64)
    assert not found.cosine >= -1
    assert compare([1e200, 1], [1e200, 1], np.float64).cosine == 1


def test_the_worst_tensor_counts() -> None:
    ones = np.ones(4, np.float32)
    found = compare_outputs({"good": ones, "bad": ones}, {"bad": ones * [1, 1, 1, 2], "good": ones})
    assert [tensor.name for tensor in found.tensors] == ["good", "bad"]
    assert found.sqnr_db == found.tensors[1].sqnr_db == pytest.approx(10 * math.log10(4))
    assert found.cosine == found.tensors[1].cosine


@pytest.mark.parametrize(
    ("reference", "candidate", "message"),
    [
        ({"a": np.ones(1)}, {}, "outputs: expected a as in the reference, got none"),
        ({}, {"a": np.ones(1)}, "outputs: expected none .* got a"),
        ({"a": np.ones(1)}, {"b": np.ones(1)}, "expected a .* got b"),
        (
            {"a": np.ones((1, 2))},
            {"a": np.ones((2, 1))},
            r"'a': expected shape \[1, 2\] .* \[2, 1\]",
        ),
    ],
)
def test_other_names_or_shapes_are_refused(
    reference: dict[str, Any], candidate: dict[str, Any], message: str
) -> None:
    with pytest.raises(TensorError, match=message):
        compare_outputs(reference, candidate)


@given(FLOATS, st.floats(0.125, 8))
def test_properties_of_the_figures(values: NDArray[np.float32], factor: float) -> None:
    same = compare(values, values)
    assert same.cosine == pytest.approx(1.0)
    assert same.sqnr_db == math.inf
    scaled = compare(values, values * np.float64(factor), np.float64)
    assert scaled.cosine == pytest.approx(1.0)
    if factor != 1 and np.any(np.abs(values) > 1e-30):
        assert scaled.sqnr_db == pytest.approx(-20 * math.log10(abs(factor - 1)), abs=1e-3)


@given(FLOATS, st.integers(0, 2**32 - 1))
def test_images_add_up_to_one_long_output(values: NDArray[np.float32], seed: int) -> None:
    noisy = values + np.random.default_rng(seed).normal(size=values.shape).astype(np.float32)
    whole = compare(values.ravel(), noisy.ravel())
    half = values.size // 2
    parts = compare(values.ravel()[:half], noisy.ravel()[:half]) + compare(
        values.ravel()[half:], noisy.ravel()[half:]
    )
    assert parts.cosine == pytest.approx(whole.cosine, abs=1e-9)
    assert parts.sqnr_db == pytest.approx(whole.sqnr_db)
    assert parts.max_difference == whole.max_difference


def classification(*found: tuple[str, float]) -> Classification:
    return Classification(
        class_ids=np.array([LABELS.index(label) for label, _ in found], np.int32),
        scores=np.array([score for _, score in found], np.float32),
        labels=LABELS,
    )


def detections(*found: tuple[str, float, tuple[float, ...]]) -> Detections:
    return Detections(
        boxes=np.array([box for _, _, box in found], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in found], np.float32),
        class_ids=np.array([LABELS.index(label) for label, _, _ in found], np.int32),
        labels=LABELS,
        source_width=100,
        source_height=100,
    )


def segmentation(mask: Any) -> Segmentation:
    return Segmentation(np.array(mask, np.uint8), LABELS, 0.5)


def depth(values: Any) -> DepthMap:
    return DepthMap(np.array(values, np.float32), "m")


@pytest.mark.parametrize(
    ("reference", "candidate", "share"),
    [
        (classification(), classification(), 1.0),
        (classification(("cat", 0.4)), classification(), 0.0),
        (classification(), classification(("cat", 0.4)), 0.0),
        (classification(("cat", 0.9)), classification(("cat", 0.2)), 1.0),
        (
            classification(("cat", 0.5), ("dog", 0.45)),
            classification(("dog", 0.5), ("cat", 0.45)),
            0.0,
        ),
    ],
)
def test_classes(reference: Result, candidate: Result, share: float) -> None:
    assert agreement_share(reference, candidate) == share


def test_an_image_without_a_class_is_not_counted() -> None:
    assert compare_results(classification(), classification()) == ResultAgreement(0, 0)
    one = classification(("cat", 0.4))
    assert compare_results(one, classification()) == ResultAgreement(0, 1)


@pytest.mark.parametrize(
    ("named", "margin", "share"),
    [("cat", 0.0, 1.0), ("dog", 0.04, 0.0), ("dog", 0.06, 1.0), ("cow", 0.5, 0.0)],
)
def test_a_class_within_the_margin_is_a_tie(named: str, margin: float, share: float) -> None:
    reference = classification(("cat", 0.5), ("dog", 0.45))
    assert agreement_share(reference, classification((named, 0.9)), margin=margin) == share


def moved(found: tuple[str, float, tuple[float, ...]], by: float) -> Any:
    label, score, box = found
    return label, score, tuple(side + by for side in box)


@pytest.mark.parametrize(
    ("reference", "candidate", "share"),
    [
        ([], [], 1.0),
        ([CAT], [], 0.0),
        ([], [CAT], 0.0),
        ([CAT, DOG], [CAT, DOG], 1.0),
        ([CAT, DOG], [DOG, CAT], 1.0),
        ([CAT, DOG], [CAT], 2 / 3),
        ([CAT], [moved(CAT, 5)], 1.0),  # overlap 0.62
        ([CAT], [moved(CAT, 10)], 0.0),  # overlap 0.39
        ([CAT], [("dog", *CAT[1:])], 0.0),
        ([CAT], [CAT, CAT], 2 / 3),  # a match is used once
        ([CAT, moved(CAT, 1)], [CAT], 2 / 3),
        ([CAT, moved(CAT, 5)], [moved(CAT, 5), CAT], 1.0),
    ],
)
def test_boxes(reference: list[Any], candidate: list[Any], share: float) -> None:
    assert agreement_share(detections(*reference), detections(*candidate)) == pytest.approx(share)


def test_a_box_just_below_the_threshold_is_found_among_the_lenient_ones() -> None:
    weak = ("cat", 0.38, CAT[2])
    strict, lenient = detections(), detections(weak)
    found = compare_results(detections(CAT), strict, lenient_candidate=lenient)
    assert found == ResultAgreement(1, 1)
    found = compare_results(strict, detections(CAT), lenient_reference=lenient)
    assert found == ResultAgreement(1, 1)
    assert compare_results(strict, strict, lenient_reference=lenient) == ResultAgreement(0, 0)


@pytest.mark.parametrize(
    ("reference", "candidate", "share"),
    [
        ([[0, 1], [2, 2]], [[0, 1], [2, 2]], 1.0),
        ([[0, 1], [2, 2]], [[0, 0], [2, 2]], 0.75),
        ([[255, 255], [2, 2]], [[255, 255], [2, 1]], 0.5),
        ([[255, 1]], [[1, 255]], 0.0),
        ([[255]], [[255]], 1.0),
    ],
)
def test_masks(reference: Any, candidate: Any, share: float) -> None:
    assert agreement_share(segmentation(reference), segmentation(candidate)) == share


@pytest.mark.parametrize(
    ("reference", "candidate", "share"),
    [
        ([[1, 2]], [[1.04, 2.2]], 0.5),
        ([[1, 2]], [[0.96, 1.8]], 0.5),
        ([[0, 0]], [[0, 0.001]], 0.5),
        ([[NAN, NAN]], [[NAN, NAN]], 1.0),
        ([[NAN, 1]], [[1, NAN]], 0.0),
        ([[INF, INF, 1]], [[INF, -INF, INF]], 1 / 3),
        ([[NAN, 1, 1]], [[NAN, 1, 2]], 0.5),
    ],
)
def test_depths(reference: Any, candidate: Any, share: float) -> None:
    assert agreement_share(depth(reference), depth(candidate)) == pytest.approx(share)


@pytest.mark.parametrize(
    ("reference", "candidate", "message"),
    [
        (detections(), classification(), "expected Detections on both sides, got Classification"),
        (segmentation([[1]]), segmentation([[1, 1]]), r"masks: expected shape \[1, 1\]"),
        (depth([[1]]), depth([[1], [1]]), r"depth maps: expected shape \[1, 1\]"),
    ],
)
def test_results_that_cannot_be_compared(
    reference: Result, candidate: Result, message: str
) -> None:
    with pytest.raises(TensorError, match=message):
        agreement_share(reference, candidate)


def test_agreements_add_up() -> None:
    assert (ResultAgreement(1, 2) + ResultAgreement(5, 6)).share == 0.75
    assert ResultAgreement(0, 0).share == 1.0


BOXES = st.lists(
    st.tuples(
        st.sampled_from(LABELS),
        st.floats(0, 1, width=32),
        st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(50, 99)] * 2),
    ),
    max_size=6,
)


@given(BOXES, BOXES)
def test_agreement_of_boxes_is_symmetric(one: list[Any], other: list[Any]) -> None:
    there, back = (
        agreement_share(detections(*first), detections(*second))
        for first, second in ((one, other), (other, one))
    )
    assert there == back
    assert 0 <= there <= 1
    assert agreement_share(detections(*one), detections(*one)) == 1.0
