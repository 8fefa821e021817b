"""A normalization that is meant for pixels from 0 to 1."""

from __future__ import annotations

import pytest

from edge_inference.core.images.input_spec import InputSpec


def doubt(mean: list[float], std: list[float], color: str = "RGB") -> str | None:
    return InputSpec("x", 8, 8, color=color, mean=tuple(mean), std=tuple(std)).doubt()


@pytest.mark.parametrize(
    ("mean", "std", "better"),
    [
        (
            [0.485, 0.456, 0.406],
            [0.229, 0.224, 0.225],
            "set mean [123.675, 116.28, 103.53] and std [58.395, 57.12, 57.375]",
        ),
        ([0.5], [0.5], "set mean [127.5] and std [127.5]"),
        ([0.0], [1 / 255], "std divides: pixels from 0 to 1 have std [255.0]"),
    ],
)
def test_a_normalization_of_another_range(mean: list[float], std: list[float], better: str) -> None:
    text = doubt(mean, std)
    assert text is not None
    assert "apply to pixels from 0 to 255" in text
    assert text.endswith(better)


@pytest.mark.parametrize(
    ("mean", "std", "color"),
    [
        ([0.0], [1.0], "RGB"),
        ([0.0], [255.0], "RGB"),
        ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], "RGB"),
        ([127.5], [0.5], "RGB"),
        ([0.0, 0.0, 0.0], [0.5, 0.5, 1.0], "RGB"),
        ([0.5], [0.5], "MULTI"),  # the camera's numbers may be from 0 to 1
    ],
)
def test_what_may_be_meant(mean: list[float], std: list[float], color: str) -> None:
    assert doubt(mean, std, color) is None
