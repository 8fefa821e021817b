"""Models of every kind of input give the right result, or a sentence that names the key to change.

The graphs run in ONNX Runtime; the expected scores follow from a formula.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge_inference.backends.null import NullBackend
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.graph.graph_binding import bind_graph
from edge_inference.core.models.graph.tensor_spec import TensorSpec
from edge_inference.core.models.model import load_model
from edge_inference.core.results import Detections
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.cost_recording import engine_configuration
from edge_inference.engines.serving.engine_check import check_engine
from edge_inference.engines.serving.selection import prepare
from edge_inference.errors import ModelError, TensorError
from input_kinds import (
    CELL,
    HEIGHT,
    RGB,
    SIDE,
    WIDTH,
    cells_image,
    expected_scores,
    frame_of,
    open_model,
    run,
    scores_of,
    write_classifier,
    write_detector,
)

DTYPES = ("float32", "float16", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32")
DTYPES += ("uint64", "int64")
SEVEN = (10.0, 250.0, 40.0, 50.0, 60.0, 70.0, 80.0)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "CHW", "HWC"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_and_types(tmp_path: Path, layout: str, dtype: str) -> None:
    shift = 128 if dtype == "int8" else 0
    folder = write_classifier(
        tmp_path / "model", layout=layout, dtype=dtype, input={"mean": [float(shift)]}
    )
    found = scores_of(run(folder, frame_of(RGB, "rgb8"), tmp_path))
    expected = expected_scores(np.array([[RGB]], np.float64) - shift)
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_a_bool_input_is_true_above_the_mean(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "model", dtype="bool", input={"mean": [99.0]})
    found = scores_of(run(folder, frame_of((200, 99, 100), "rgb8"), tmp_path))
    np.testing.assert_allclose(found, expected_scores(np.array([[[1, 0, 1]]])), rtol=1e-5)


def test_int8_rounds_to_the_nearest(tmp_path: Path) -> None:
    settings = {"mean": [128.0], "std": [2.0]}
    folder = write_classifier(tmp_path / "model", dtype="int8", input=settings)
    tensor, _ = Preprocessor(load_model(folder).input)(frame_of((0, 203, 255), "rgb8"))
    assert tensor[0, :, 0, 0].tolist() == [-64, 38, 64]


def test_a_type_that_the_engine_narrows_is_cast(tmp_path: Path) -> None:
    model = load_model(write_classifier(tmp_path / "model", dtype="int64"))
    shape = (1, 3, HEIGHT, WIDTH)
    bound = bind_graph(model, [TensorSpec("image", np.dtype("int32"), shape)], [])
    assert bound.inputs == (TensorSpec("image", np.dtype("int64"), shape),)
    assert bound.feed({"image": np.ones(shape, np.int64)})["image"].dtype == np.int32


class _Closing(NullBackend):
    closed = 0

    def _close(self) -> None:
        self.closed += 1


def test_a_contradiction_closes_the_engine(tmp_path: Path) -> None:
    model = load_model(write_classifier(tmp_path / "model"))
    backend = _Closing([TensorSpec("other", np.dtype("float32"), (1,))], [])
    with pytest.raises(ModelError, match=r"no input 'image'; it has other: float32 \[1\]"):
        backend.fit_to(model).open()
    assert backend.closed == 1


@pytest.mark.parametrize("layout", ["NCHW", "HWC"])
@pytest.mark.parametrize(
    ("color", "encoding", "stored", "expected"),
    [
        ("RGBA", "rgba8", (200, 100, 50, 25), (200, 100, 50, 25)),
        ("RGBA", "bgra8", (50, 100, 200, 25), (200, 100, 50, 25)),
        ("BGRA", "rgba8", (200, 100, 50, 25), (50, 100, 200, 25)),
        ("BGRA", "8UC4", (50, 100, 200, 25), (50, 100, 200, 25)),
        ("MULTI", "rgba8", (200, 100, 50, 25), (200, 100, 50, 25)),
        ("MULTI", "8UC4", (50, 100, 200, 25), (50, 100, 200, 25)),
    ],
)
def test_four_channels(
    tmp_path: Path, layout: str, color: str, encoding: str, stored: Any, expected: Any
) -> None:
    folder = write_classifier(
        tmp_path / "model", layout=layout, channels=4, input={"color": color, "channel_count": 4}
    )
    found = scores_of(run(folder, frame_of(stored, encoding), tmp_path))
    np.testing.assert_allclose(found, expected_scores(np.array([[expected]])), rtol=1e-4)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "CHW"])
@pytest.mark.parametrize(
    ("depth", "dtype"), [("8U", np.uint8), ("16U", np.uint16), ("16S", np.int16), ("32F", "<f4")]
)
def test_seven_channels_keep_the_stored_numbers(
    tmp_path: Path, layout: str, depth: str, dtype: Any
) -> None:
    factor = 1 if depth == "8U" else 100
    folder = write_classifier(
        tmp_path / "model",
        layout=layout,
        channels=7,
        input={"color": "MULTI", "channel_count": 7, "std": [float(factor)]},
    )
    frame = frame_of(np.array(SEVEN) * factor, f"{depth}C7", dtype)
    found = scores_of(run(folder, frame, tmp_path))
    np.testing.assert_allclose(found, expected_scores(np.array([[SEVEN]])), rtol=1e-4)


def test_one_image_fills_a_fixed_batch_and_its_row_is_decoded(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "model", batch=4, input={"batch": 4})
    result = run(folder, frame_of(RGB, "rgb8"), tmp_path)
    np.testing.assert_allclose(scores_of(result), expected_scores(np.array([[RGB]])), rtol=1e-4)
    model, backend = open_model(folder, tmp_path)
    selection = prepare(EngineRequest(model, "ort", "fp32"), ArtifactCache(tmp_path))
    with backend:
        assert "costs as much as 4" in check_engine(selection, backend).notes["batch"]
        rows = np.arange(3, dtype=np.float32)[:, None, None, None] * np.ones((3, HEIGHT, WIDTH))
        logits = backend.infer({"image": rows.astype(np.float32)})["logits"]
        np.testing.assert_allclose(logits[:, 0], np.arange(3) * 4 / 255, rtol=1e-5)
        with pytest.raises(TensorError, match="expected 1 to 4 images"):
            backend.infer({"image": np.zeros((5, 3, HEIGHT, WIDTH), np.float32)})


def test_an_engine_that_cannot_be_compared_serves_and_says_so(tmp_path: Path) -> None:
    model = load_model(write_detector(tmp_path / "model", threshold=0.95))
    cache = ArtifactCache(tmp_path)
    selection = prepare(EngineRequest(model, "ort", "fp16"), cache)
    assert selection.backend is not None
    with selection.backend as backend:
        checked = check_engine(selection, backend)
    assert checked.notes["self-check"].startswith("self-check: not checked: neither side finds")
    assert checked.notes["self-check"].endswith(
        "add golden images in which the model finds something"
    )
    assert checked.warnings == ()


@pytest.mark.parametrize("batch", ["batch", "N", None])
def test_a_dynamic_batch_is_one(tmp_path: Path, batch: str | None) -> None:
    folder = write_classifier(tmp_path / "model", batch=batch)
    result = run(folder, frame_of(RGB, "rgb8"), tmp_path)
    np.testing.assert_allclose(scores_of(result), expected_scores(np.array([[RGB]])), rtol=1e-4)


EXTRAS = {
    "im_shape": ("float32", [1, 2], [[0.5, 0.25]], 0.75),
    "orig_target_sizes": ("int64", [1, 2], [[1, 2]], 3),
    "from_a_float": ("int32", [2], [1.0, 2.0], 3),
    "anywhere": ("float16", ["n", 2], [[0.5, 0.25]], 0.75),
    "scalar": ("float64", [], 2.5, 2.5),
    "switch": ("bool", [1], [True], 1),
    "number_switch": ("bool", [2], [1, 0], 1),
}


@pytest.mark.parametrize("name", EXTRAS)
def test_an_extra_input_has_its_value(tmp_path: Path, name: str) -> None:
    dtype, shape, value, factor = EXTRAS[name]
    extra = {name: (dtype, shape)}
    folder = write_classifier(tmp_path / "model", extra=extra, extra_inputs={name: value})
    found = scores_of(run(folder, frame_of(RGB, "rgb8"), tmp_path))
    np.testing.assert_allclose(found, expected_scores(np.array([[RGB]]), factor), rtol=1e-4)


def test_another_value_has_costs_of_its_own(tmp_path: Path) -> None:
    extra = {"size": ("float32", [1])}
    found = []
    for value in (1.0, 1.0, 2.0):
        folder = tmp_path / str(len(found)) / "model"
        model = load_model(write_classifier(folder, extra=extra, extra_inputs={"size": [value]}))
        request = EngineRequest(model, "ort", "fp32")
        found.append(engine_configuration(request, "ort", "fp32", ArtifactCache(tmp_path)))
    assert found[0] is not None
    assert (found[0] == found[1], found[0] == found[2]) == (True, False)


def test_several_extra_inputs(tmp_path: Path) -> None:
    extra = {"im_shape": ("float32", [1, 2]), "scale_factor": ("float32", [1, 2])}
    values = {"im_shape": [[0.5, 0.25]], "scale_factor": [[2.0, 1.0]]}
    folder = write_classifier(tmp_path / "model", extra=extra, extra_inputs=values)
    found = scores_of(run(folder, frame_of(RGB, "rgb8"), tmp_path))
    np.testing.assert_allclose(found, expected_scores(np.array([[RGB]]), 0.75 * 3), rtol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("cells", [{}, {(1, 2): 0.9}, {(0, 0): 0.7, (3, 1): 0.5}])
def test_rows_that_depend_on_the_data(
    tmp_path: Path, cells: dict[tuple[int, int], float], precision: str
) -> None:
    folder = write_detector(tmp_path / "model")
    frame = Frame.from_array(np.repeat(np.repeat(cells_image(cells), 2, 0), 2, 1))
    result = run(folder, frame, tmp_path, precision=precision)
    assert isinstance(result, Detections)
    side = 2 * CELL
    boxes = [[x * side, y * side, (x + 1) * side, (y + 1) * side] for x, y in cells]
    np.testing.assert_allclose(result.boxes, np.array(boxes).reshape(-1, 4), atol=0.1)
    np.testing.assert_allclose(result.scores, list(cells.values()), atol=0.01)


# --- sentences -------------------------------------------------------------------


def test_a_letterbox_and_numbers_that_are_not_finite(tmp_path: Path) -> None:
    folder = write_classifier(
        tmp_path / "model",
        channels=2,
        input={"color": "MULTI", "channel_count": 2, "resize": "letterbox", "pad_value": 7},
    )
    frame = frame_of([np.nan, 5000.5], "32FC2", np.float32)
    tensor, geometry = Preprocessor(load_model(folder).input)(frame)
    # 20x16 fits into 12x8 as 10x8, with one column of padding at each side.
    expected = np.full((1, 2, HEIGHT, WIDTH), 7, np.float32)
    expected[0, 0, :, 1:11], expected[0, 1, :, 1:11] = 0, 5000.5
    np.testing.assert_array_equal(tensor, expected)
    assert (geometry.scale_x, geometry.offset_x) == (0.5, 1.0)


def test_the_detector_is_as_wide_as_its_size_input(tmp_path: Path) -> None:
    assert load_model(write_detector(tmp_path / "model")).input.width == SIDE


@pytest.mark.parametrize("layout", ["NCHW", "CHW"])
def test_a_graph_that_tells_no_shapes(tmp_path: Path, layout: str) -> None:
    folder = write_classifier(tmp_path / "model", layout=layout)
    file = folder / "model.onnx"
    model = onnx.load(file)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    onnx.save(model, file)
    text = (folder / "model.yaml").read_text()
    old = load_model(folder).variants["fp32"].sha256
    new = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "model.yaml").write_text(text.replace(old, new))
    description = load_model(folder)
    selection = prepare(EngineRequest(description, "ort", "fp32"), ArtifactCache(tmp_path))
    assert selection.backend is not None
    with selection.backend as backend:
        tensor, geometry = Preprocessor(description.input)(frame_of(RGB, "rgb8"))
        result = description.decode(backend.infer({"image": tensor}), geometry)
    np.testing.assert_allclose(scores_of(result), expected_scores(np.array([[RGB]])), rtol=1e-4)


def test_a_dynamic_size_is_that_of_model_yaml(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "model", size=("height", "width"))
    result = run(folder, frame_of(RGB, "rgb8"), tmp_path)
    np.testing.assert_allclose(scores_of(result), expected_scores(np.array([[RGB]])), rtol=1e-4)
