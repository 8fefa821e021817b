"""Build options: profiles, batch, and contradictions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.settings import build
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.profiles import (
    DeclaredInput,
    Profile,
    parse_batch,
    parse_profile,
    resolve_profiles,
)
from edge_inference.errors import BackendError, ConfigError

IMAGE = DeclaredInput("image", (-1, 3, -1, 64), ("batch", "", "height", ""))
BATCHED = DeclaredInput("image", (-1, 3, 32, 64), ("batch", "", "", ""))
FIXED = DeclaredInput("image", (1, 3, 32, 64), ())
HOLDER = DeclaredInput("size", (2,), (), is_shape_tensor=True)
SCALAR_HOLDER = DeclaredInput("count", (), (), is_shape_tensor=True)

SIZES = st.lists(st.integers(1, 999), min_size=1, max_size=5)


@pytest.mark.parametrize("text", ["", ":", "image", "image:", ":1x2", "image:1,2", "image:1,2,3,4"])
def test_malformed_profile(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected NAME:MIN|expected numbers"):
        parse_profile(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x:1xa", "expected numbers separated by x, got '1xa'"),
        ("x:1x,2x3,3x4", "got '1x'"),
        ("x:1x2,1x2x3,1x2", "same number of axes"),
        ("x:4,2,8", "got 4, 2, 8 on axis 0"),
        ("x:1x8,1x9,1x7", "got 8, 9, 7 on axis 1"),
    ],
)
def test_profile_with_wrong_numbers(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_profile(text)
    assert words in str(caught.value)


def test_profile_of_a_name_with_colons() -> None:
    assert parse_profile("scope/x:0:1x2").name == "scope/x:0"


def test_one_size_stands_for_all_three() -> None:
    assert parse_profile("x:1x2") == Profile("x", (1, 2), (1, 2), (1, 2))


@given(SIZES, st.data())
def test_profile_text_is_read_back(smallest: list[int], data: st.DataObject) -> None:
    growth = st.lists(st.integers(0, 99), min_size=len(smallest), max_size=len(smallest))
    usual = [a + b for a, b in zip(smallest, data.draw(growth), strict=True)]
    largest = [a + b for a, b in zip(usual, data.draw(growth), strict=True)]
    sizes = [tuple(smallest), tuple(usual), tuple(largest)]
    text = "a:" + ",".join("x".join(map(str, size)) for size in sizes)
    assert parse_profile(text).sizes == tuple(sizes)


@pytest.mark.parametrize(("text", "batch"), [("4", (4, 4, 4)), ("1:4:8", (1, 4, 8))])
def test_batch(text: str, batch: tuple[int, ...]) -> None:
    assert parse_batch(text) == batch


@pytest.mark.parametrize("text", ["", "a", "1:2", "0", "4:2:8", "1:2:3:4", "1.5", "1::2"])
def test_wrong_batch(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        parse_batch(text)


def test_fixed_axes_need_no_profile() -> None:
    assert resolve_profiles([FIXED], (), ()) == {}
    assert resolve_profiles([], (), ()) == {}


def test_batch_sets_the_first_axis() -> None:
    found = resolve_profiles([BATCHED], (), (1, 4, 8))
    assert found["image"].sizes == ((1, 3, 32, 64), (4, 3, 32, 64), (8, 3, 32, 64))


def test_one_batch_stands_for_all_three() -> None:
    assert resolve_profiles([BATCHED], (), (2,))["image"].sizes == ((2, 3, 32, 64),) * 3


def test_profile_has_priority_over_batch() -> None:
    found = resolve_profiles([BATCHED], [parse_profile("image:2x3x32x64")], (1, 4, 8))
    assert found["image"].optimum == (2, 3, 32, 64)


def test_batch_that_fits_a_fixed_axis_is_no_contradiction() -> None:
    assert resolve_profiles([FIXED], (), (1, 1, 1)) == {}


@pytest.mark.parametrize("holder", [HOLDER, SCALAR_HOLDER])
def test_values_of_a_shape_input(holder: DeclaredInput) -> None:
    text = f"{holder.name}:{'8x9' if holder.shape else '8'}"
    assert resolve_profiles([holder], [parse_profile(text)], ())[holder.name].optimum[0] == 8


@pytest.mark.parametrize(
    ("declared", "profile", "batch", "words"),
    [
        (BATCHED, "", (), "axis 0 (batch) is dynamic and has no sizes; give a range"),
        (IMAGE, "", (), "axis 0 (batch) is dynamic and has no sizes; give a profile"),
        (IMAGE, "", (1, 4, 8), "axis 2 (height) is dynamic"),
        (IMAGE, "", (), "--profile image:1x3x1x64,4x3x4x64,8x3x8x64"),
        (BATCHED, "frames:1x3x32x64", (), "no such input; known: image"),
        (BATCHED, "image:1x3x32", (), "4 axes ?x3x32x64, got 1x3x32"),
        (BATCHED, "image:1x3x33x64", (), "axis 2 is fixed at 32 in the ONNX, got 33, 33, 33"),
        (BATCHED, "image:0x3x32x64", (), "at least 1, got 0 on axis 0"),
        (FIXED, "", (1, 4, 8), "fixed at 1 on its first axis 1x3x32x64"),
        (HOLDER, "", (), "holds the shape of another tensor"),
        (HOLDER, "", (), "--profile size:1x1,2x2,4x4"),
        (HOLDER, "size:8", (), "the input holds 2 values, got 1"),
    ],
)
def test_profile_missing_or_contradicting(
    declared: DeclaredInput, profile: str, batch: tuple[int, ...], words: str
) -> None:
    given_profiles = [parse_profile(profile)] if profile else []
    with pytest.raises(BackendError) as caught:
        resolve_profiles([declared], given_profiles, batch)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"precision": "fp64"}, "precision: expected one of fp32, fp16, int8"),
        ({"optimization_level": 6}, "optimization_level: expected an integer from 0 to 5"),
        ({"workspace_mib": -1}, "at least 0 (MiB)"),
        ({"device": "dla2"}, "device: expected one of"),
        ({"profiles": ["x"]}, "profiles: profile 'x'"),
        ({"profiles": ["x:1", "x:2"]}, "expected one for each input"),
        ({"batch": [1, 2]}, "batch: expected minimum, optimum and maximum"),
        ({"batch": [2, 1, 3]}, "batch: expected min <= opt <= max"),
        ({"batch": [0]}, "at least 1"),
        ({"exclude_lean_runtime": True}, "needs version_compatible"),
        ({"targets": ["86"]}, "as in '8.6', got '86'"),
        ({"targets": ["8.6"], "hardware": "ampere_plus"}, "leave it at 'same'"),
    ],
)
def test_options_that_do_not_fit(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(BuildOptions, values)
    assert words in str(caught.value)


def test_defaults_are_valid() -> None:
    assert build(BuildOptions, {}) == BuildOptions()
