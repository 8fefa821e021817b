"""A description that contradicts its graph, or an image that does not fit: the key to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.graph.extra_inputs import describe_missing
from edge_inference.core.models.graph.tensor_spec import TensorSpec
from edge_inference.core.models.model import load_model
from edge_inference.errors import ConfigError, ImageError, ModelError
from input_kinds import (
    frame_of,
    open_model,
    write_classifier,
)


@pytest.mark.parametrize(
    ("graph", "changes", "words"),
    [
        ({}, {"input": {"name": "data"}}, r"no input 'data'; it has image: float32 .*input.name"),
        ({}, {"input": {"layout": "NHWC"}}, r"layout is NHWC; set input.layout to NCHW$"),
        ({"layout": "NHWC"}, {"input": {"layout": "NCHW"}}, r"set input.layout to NHWC$"),
        ({"layout": "HWC"}, {"input": {"layout": "CHW"}}, r"set input.layout to HWC$"),
        ({"layout": "CHW"}, {"input": {"layout": "NCHW"}}, r"has 4 axes; set input.layout to CHW$"),
        ({"layout": "HWC"}, {"input": {"layout": "NCHW"}}, r"set input.layout to HWC$"),
        ({}, {"input": {"layout": "CHW"}}, r"has 3 axes; set input.layout to NCHW$"),
        ({}, {"input": {"width": 640}}, r"width is 640; set input.width to 12$"),
        (
            {},
            {"input": {"width": 640, "height": 480}},
            r"width is 640 and height is 480; set input.width to 12 and input.height to 8$",
        ),
        ({}, {"input": {"color": "GRAY"}}, r"color GRAY has 1; set input.color to RGB or BGR"),
        ({"channels": 4}, {}, r"with 4 channels, but color RGB has 3; .*RGBA or BGRA, or to MULTI"),
        ({"channels": 4, "layout": "NHWC"}, {"input": {"layout": "NCHW"}}, r"layout to NHWC$"),
        ({"channels": 6}, {}, r"set input.color to MULTI with input.channel_count 6$"),
        ({"channels": 1}, {}, r"set input.color to GRAY, or to MULTI with input.channel_count 1$"),
        ({"dtype": "uint8"}, {"input": {"dtype": "float32"}}, r"set input.dtype to uint8$"),
        ({"dtype": "float16"}, {"input": {"dtype": "float32"}}, r"set input.dtype to float16$"),
        ({"batch": 4}, {}, r"fixed at 4, .*set input.batch to 4 \(each image then costs"),
        (
            {"batch": "n"},
            {"input": {"batch": 4}},
            r"any length, .*; remove input.batch$",
        ),
        ({}, {"input": {"batch": 4}}, r"batch is 1, but batch is 4; remove input.batch"),
        (
            {"extra": {"orig_target_sizes": ("int64", [1, 2])}},
            {},
            r"second input orig_target_sizes: int64 \[1, 2\] without a value; .* "
            r"extra_inputs: \{orig_target_sizes: \[\[0, 0\]\]\}",
        ),
        (
            {"extra": {"flag": ("bool", [])}},
            {},
            r"flag: bool \[\] without .* extra_inputs: \{flag: false\}",
        ),
        (
            {"extra": {"sizes": ("int64", [1, 2])}},
            {"extra_inputs": {"sizes": [640, 640]}},
            r"extra_inputs.sizes: expected the shape \[1, 2\] .* got \[2\]; write \[\[640, 640\]\]",
        ),
        (
            {"extra": {"sizes": ("int64", [1, 2])}},
            {"extra_inputs": {"sizes": [1, 2, 3]}},
            r"extra_inputs.sizes: expected the shape \[1, 2\] .* got \[3\]; correct extra_inputs",
        ),
        (
            {"extra": {"sizes": ("int64", [2])}},
            {"extra_inputs": {"sizes": [0.5, 1]}},
            r"extra_inputs.sizes: expected values of int64 as in the graph, got \[0.5, 1.0\]",
        ),
        (
            {"extra": {"sizes": ("uint8", [1])}},
            {"extra_inputs": {"sizes": [640]}},
            r"extra_inputs.sizes: expected values of uint8",
        ),
        (
            {"extra": {"sizes": ("float16", [1])}},
            {"extra_inputs": {"sizes": [1e6]}},
            r"extra_inputs.sizes: expected values of float16",
        ),
        (
            {"extra": {"sizes": ("int64", [1])}},
            {"extra_inputs": {"sizes": [True]}},
            r"extra_inputs.sizes: expected values of int64 as in the graph, got \[True\]",
        ),
        (
            {"extra": {"sizes": ("int64", [1])}},
            {"extra_inputs": {"sizes": [1], "size": [1]}},
            r"extra_inputs.size: the graph has no such input; .*did you mean 'sizes'",
        ),
    ],
)
def test_a_contradiction_names_the_key_to_change(
    tmp_path: Path, graph: dict, changes: dict, words: str
) -> None:
    folder = write_classifier(tmp_path / "model", **graph, **changes)
    with pytest.raises(ModelError, match=words) as error:
        open_model(folder, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"image": [1]}, r"extra_inputs.image: this is input.name"),
        ({"sizes": [[1, 2], [3]]}, r"extra_inputs.sizes: expected a number, .* equal lengths"),
        ({"sizes": "640"}, r"extra_inputs.sizes: expected a number"),
        ({"sizes": None}, r"extra_inputs.sizes: expected a number"),
        ({"sizes": {"a": 1}}, r"extra_inputs.sizes: expected a number"),
        ({"sizes": [True, 2]}, r"extra_inputs.sizes: expected a number"),
        ({"sizes": [2**70]}, r"extra_inputs.sizes: expected a number"),
        ([1], r"extra_inputs: expected a mapping"),
    ],
)
def test_a_value_that_is_none_is_refused(tmp_path: Path, value: Any, words: str) -> None:
    folder = write_classifier(tmp_path / "model", extra_inputs=value)
    with pytest.raises(ConfigError, match=words):
        load_model(folder)


@pytest.mark.parametrize(
    ("color", "encoding", "count", "words"),
    [
        ("RGBA", "rgb8", 3, r"image 'rgb8' of 20x16: expected 4 channels .* publish rgba8"),
        ("RGBA", "mono8", 1, r"expected 4 channels with alpha.* got 1 channel without"),
        ("RGBA", "bayer_rggb8", 1, r"expected 4 channels with alpha"),
        ("RGBA", "8UC6", 6, r"expected an encoding with colors"),
        ("MULTI", "rgb8", 3, r"expected 4 channels, which the model needs, got 3"),
        ("MULTI", "8UC6", 6, r"expected 4 channels, which the model needs, got 6"),
        ("MULTI", "yuyv", 2, r"stores every channel of a pixel, such as 8UC4"),
    ],
)
def test_a_camera_with_other_channels_is_told(
    tmp_path: Path, color: str, encoding: str, count: int, words: str
) -> None:
    folder = write_classifier(
        tmp_path / "model", channels=4, input={"color": color, "channel_count": 4}
    )
    preprocess = Preprocessor(load_model(folder).input)
    with pytest.raises(ImageError, match=words):
        preprocess(frame_of([1] * count, encoding))


def test_numbers_beyond_the_type_are_told(tmp_path: Path) -> None:
    folder = write_classifier(
        tmp_path / "model", dtype="uint8", input={"color": "MULTI", "channel_count": 3}
    )
    preprocess = Preprocessor(load_model(folder).input)
    preprocess(frame_of([1, 2, 255], "16UC3", np.uint16))
    with pytest.raises(ImageError, match=r"expected 0 to 255 for the uint8 .* got 1 to 4000"):
        preprocess(frame_of([1, 2, 4000], "16UC3", np.uint16))


@pytest.mark.parametrize(
    ("shape", "example"),
    [
        ((None, 2), "[[0.0, 0.0]]"),
        ((2, 9), "0.0"),
        ((2**32, 2**32), "0.0"),  # the product is 0 in 64 bits
        ((2**62, 2, 2**40), "0.0"),
    ],
)
def test_the_example_of_a_missing_value(shape: tuple[int | None, ...], example: str) -> None:
    text = describe_missing(TensorSpec("sizes", np.dtype("f4"), shape))
    assert f"extra_inputs: {{sizes: {example}}} with" in text
