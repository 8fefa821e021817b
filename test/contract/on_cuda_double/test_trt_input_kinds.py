"""Plans with further inputs, without a batch axis, with a fixed batch, or with four channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_inference.backends.base import Backend
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.errors import ModelError
from input_kinds import (
    CELL,
    HEIGHT,
    WIDTH,
    cells_image,
    expected_scores,
    write_classifier,
    write_detector,
)
from trt_on_double import make_backend

COLOR = (200, 100, 50, 25)


def open_plan(folder: Path, **header: Any) -> tuple[ModelDescription, Backend]:
    """Open the double's plan of a model; it is next to a copy of the ONNX file."""
    model = load_model(folder)
    backend = make_backend(model.variants["fp32"].file, header=header)
    return model, backend.fit_to(model)


def scores(model: ModelDescription, backend: Backend, encoding: str) -> np.ndarray:
    pixels = np.tile(np.array(COLOR[: model.input.channels], np.uint8), (9, 7, 1))
    image = Frame.from_array(pixels, encoding)
    assert not backend.takes_image(image, model.input)
    tensor, geometry = Preprocessor(model.input)(image)
    result = model.decode(backend.infer({"image": tensor}), geometry)
    found = np.empty(len(result.scores))
    found[result.class_ids] = result.scores
    return found


@pytest.mark.parametrize(
    ("graph", "described", "encoding"),
    [
        ({"layout": "CHW"}, {}, "rgb8"),
        ({"layout": "HWC"}, {}, "rgb8"),
        ({"batch": 4}, {"batch": 4}, "rgb8"),
        ({"dtype": "int64"}, {}, "rgb8"),
        ({"channels": 4}, {"color": "RGBA"}, "rgba8"),
        ({"channels": 4}, {"color": "MULTI", "channel_count": 4}, "rgba8"),
    ],
)
def test_inputs_that_the_image_kernel_does_not_make(
    tmp_path: Path, graph: dict, described: dict, encoding: str
) -> None:
    model, backend = open_plan(write_classifier(tmp_path / "model", **graph, input=described))
    with backend:
        found = scores(model, backend, encoding)
    color = np.array([[COLOR[: model.input.channels]]])
    np.testing.assert_allclose(found, expected_scores(color), rtol=1e-4)


@pytest.mark.parametrize(("dtype", "narrow"), [("float64", "float32"), ("int64", "int32")])
def test_types_that_tensorrt_narrows(tmp_path: Path, dtype: str, narrow: str) -> None:
    inputs = {"image": [narrow, 1, 3, HEIGHT, WIDTH]}
    types = {"image": {"float32": "FLOAT", "int32": "INT32"}[narrow]}
    folder = write_classifier(tmp_path / "model", dtype=dtype)
    model, backend = open_plan(folder, types=types, metadata={"inputs": inputs})
    with backend:
        found = scores(model, backend, "rgb8")
    np.testing.assert_allclose(found, expected_scores(np.array([[COLOR[:3]]])), rtol=1e-4)


@pytest.mark.parametrize(
    ("stored", "on_host"), [("INT64", False), ("INT32", False), ("INT64", True)]
)
def test_a_further_input_also_where_the_plan_has_32_bits(
    tmp_path: Path, stored: str, on_host: bool
) -> None:
    extra = {"sizes": ("int64", ["n", 2])}
    folder = write_classifier(tmp_path / "model", extra=extra, extra_inputs={"sizes": [[1, 2]]})
    profiles = {"sizes": [[1, 2]] * 3}
    header = {"types": {"sizes": stored}, "on_host": ["sizes"] if on_host else []}
    model, backend = open_plan(folder, profiles=profiles, **header)
    with backend:
        assert [spec.name for spec in backend.inputs] == ["image"]
        assert not backend.takes_images
        for _ in range(3):
            found = scores(model, backend, "rgb8")
    np.testing.assert_allclose(found, expected_scores(np.array([[COLOR[:3]]]), 3), rtol=1e-4)


@pytest.mark.parametrize("cells", [{}, {(1, 2): 0.9}, {(0, 0): 0.7, (3, 1): 0.5}])
def test_rows_that_depend_on_the_data(tmp_path: Path, cells: dict[tuple[int, int], float]) -> None:
    model, backend = open_plan(write_detector(tmp_path / "model"), late={"detections": [1, -1, 6]})
    with backend:
        tensor, geometry = Preprocessor(model.input)(Frame.from_array(cells_image(cells)))
        result = model.decode(backend.infer({"image": tensor}), geometry)
    boxes = [[x * CELL, y * CELL, (x + 1) * CELL, (y + 1) * CELL] for x, y in cells]
    np.testing.assert_allclose(result.boxes, np.array(boxes).reshape(-1, 4), atol=0.1)


def test_a_contradiction_frees_the_plan(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "model", extra={"sizes": ("int64", [1, 2])})
    with pytest.raises(ModelError, match=r"extra_inputs: \{sizes: \[\[0, 0\]\]\}"):
        open_plan(folder)[1].open()
