"""Proposals by family: the proposed decoder finds the one object in the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from edge_inference.core import decoders
from edge_inference.core.exports.exporter_metadata import read_exporter_metadata
from edge_inference.core.exports.families import propose
from edge_inference.core.exports.onnx_summary import GraphTensor, OnnxSummary
from edge_inference.core.exports.proposal import Evidence, Proposal
from edge_inference.core.exports.sidecars import Sidecars
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.settings import rules
from edge_inference.errors import ModelError

SIDE = 64
CELLS = 8 * 8 + 4 * 4 + 2 * 2
#: The object: class, score and box x1, y1, x2, y2 in pixels of the input.
CLASS, SCORE, BOX = 3, 0.75, (8.0, 16.0, 40.0, 48.0)
CENTER = (24.0, 32.0, 32.0, 32.0)
UNIT = [value / SIDE for value in BOX]
ULTRALYTICS = {"author": "Ultralytics", "names": str(dict(enumerate("abcdefg"))), "stride": "32"}

Arrays = Mapping[str, np.ndarray]


def evidence(
    outputs: Arrays,
    *,
    metadata: Mapping[str, str] | None = None,
    sidecars: Sidecars | None = None,
    operators: tuple[str, ...] = (),
    ends: Mapping[str, str] | None = None,
    extra: tuple[str, ...] = (),
    labels: tuple[str, ...] = (),
    name: str = "input",
    dtype: str = "float32",
    layout: tuple[int, ...] = (1, 3, SIDE, SIDE),
    stem: str = "model",
) -> Evidence:
    """Return what is known of a model with these outputs."""
    image = GraphTensor(name, dtype, layout)
    others = tuple(GraphTensor(each, "float32", (1, 2)) for each in extra)
    summary = OnnxSummary(
        8, {"": 17}, "", metadata or {}, (image, *others), (), ends or {}, frozenset(operators)
    )
    return Evidence(
        stem=stem,
        summary=summary,
        metadata=read_exporter_metadata(metadata or {}),
        sidecars=sidecars or Sidecars(),
        image=image,
        extra=others,
        width=SIDE,
        height=SIDE,
        outputs=outputs,
        labels=labels,
    )


def floats(*values: Any) -> np.ndarray:
    return np.array(values, np.float32)


def rows(count: int, *values: float) -> np.ndarray:
    """Return [1, count, K] of zeros with the values in row 1."""
    table = np.zeros((1, count, len(values)), np.float32)
    table[0, 1] = values
    return table


def scores(classes: int, first: int = 0) -> list[float]:
    """Return one score for each class."""
    return [SCORE if number == CLASS + first else 0.0 for number in range(classes)]


def ultralytics(**more: str) -> dict[str, str]:
    return {**ULTRALYTICS, "task": "detect", **more}


DETECTORS: dict[str, tuple[Evidence, str]] = {
    "Ultralytics, channels first": (
        evidence(
            {"output0": rows(CELLS, *CENTER, *scores(7)).transpose(0, 2, 1)},
            metadata=ultralytics(end2end="False"),
        ),
        "yolov8",
    ),
    "Ultralytics with segmentation's second output ignored": (
        evidence(
            {
                "output0": rows(CELLS, *CENTER, *scores(7)).transpose(0, 2, 1),
                "output1": np.zeros((1, 32, 16, 16), np.float32),
            },
            metadata=ultralytics(),
        ),
        "yolov8",
    ),
    "Ultralytics with nms=True": (
        evidence(
            {"output0": rows(300, *BOX, SCORE, CLASS)}, metadata=ultralytics(args="{'nms': True}")
        ),
        "yolov8",
    ),
    "RT-DETR of Ultralytics since 8.4": (
        evidence(
            {"output0": rows(300, *floats(*CENTER) / SIDE, SCORE, CLASS)},
            metadata=ultralytics(head="RTDETRDecoder"),
        ),
        "detection_rows",
    ),
    "YOLOv5": (
        evidence(
            {"output": rows(3 * CELLS, *CENTER, 1.0, *scores(7))},
            metadata={"stride": "32", "names": ULTRALYTICS["names"]},
        ),
        "yolov5",
    ),
    "YOLOv7 without metadata": (
        evidence({"output": rows(3 * CELLS, *CENTER, 1.0, *scores(7))}),
        "yolov5",
    ),
    "YOLOv8 without metadata": (
        evidence({"output": rows(CELLS, *CENTER, *scores(7)).transpose(0, 2, 1)}),
        "yolov8",
    ),
    "end to end without metadata": (
        evidence({"output": rows(100, *BOX, SCORE, CLASS)}),
        "yolov8",
    ),
    "YOLOv7, end to end": (
        evidence({"output": floats([0, *BOX, CLASS, SCORE])}, operators=("NonMaxSuppression",)),
        "yolov7_end_to_end",
    ),
    "EfficientNMS": (
        evidence(
            {
                "num_dets": np.array([[1]], np.int32),
                "det_boxes": rows(10, *BOX)[:, 1:],
                "det_scores": floats([SCORE, *[0] * 8]),
                "det_classes": np.array([[CLASS, *[0] * 8]], np.int32),
            }
        ),
        "efficient_nms",
    ),
    "torchvision": (
        evidence(
            {
                "boxes": floats(BOX),
                "labels": np.array([CLASS + 1], np.int64),
                "scores": floats(SCORE),
            }
        ),
        "torchvision",
    ),
    "MMDeploy": (
        evidence({"dets": rows(20, *BOX, SCORE), "labels": np.full((1, 20), CLASS, np.int64)}),
        "rtmdet",
    ),
    "PaddleDetection": (
        evidence(
            {
                "multiclass_nms3_0.tmp_0": floats([CLASS, SCORE, *BOX]),
                "multiclass_nms3_0.tmp_2": np.array([1], np.int32),
            },
            extra=("im_shape", "scale_factor"),
            name="image",
        ),
        "paddle_detection",
    ),
    "SSD of the ONNX model zoo": (
        evidence(
            {
                "bboxes": rows(20, *UNIT),
                "labels": np.full((1, 20), CLASS + 1, np.int64),
                "scores": floats([0, SCORE, *[0] * 18]),
            },
        ),
        "detection_lists",
    ),
    "SSD with sigmoid scores": (
        evidence({"boxes": rows(20, *UNIT), "scores": rows(20, *scores(7))}),
        "ssd",
    ),
    "DETR": (
        evidence(
            {
                "logits": rows(100, *np.log(np.clip(scores(7), 1e-6, 1)), np.log(1 - SCORE))
                + np.eye(8, dtype=np.float32)[7] * (np.arange(100) != 1)[None, :, None] * 20,
                "pred_boxes": rows(100, *floats(*CENTER) / SIDE),
            },
            name="pixel_values",
        ),
        "detr",
    ),
}


def decode(proposal: Proposal, outputs: Arrays) -> Any:
    """Decode as a model with the proposal would, where source and input are the same."""
    entry = decoders.find(proposal.decoder)
    known = rules(entry.settings_class)
    settings = entry.settings_class(
        **{key: known[key].convert(value) for key, value in proposal.settings.items()}
    )
    geometry = Geometry(SIDE, SIDE, 1.0, 1.0, 0.0, 0.0)
    context = decoders.DecodeContext(proposal.labels, geometry, SIDE, SIDE, "model")
    return entry.function(outputs, context, settings)


def input_spec(proposal: Proposal) -> InputSpec:
    """Return the input as a model with the proposal would have it."""
    known = rules(InputSpec)
    keys = {"name": "x", "width": SIDE, "height": SIDE, **proposal.input}
    return InputSpec(**{key: known[key].convert(value) for key, value in keys.items()})


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector(name: str) -> None:
    known, decoder = DETECTORS[name]
    proposal = propose(known)
    assert proposal is not None
    assert (proposal.task, proposal.decoder) == ("detection", decoder)
    result = decode(proposal, known.outputs)
    np.testing.assert_allclose(result.boxes, [BOX], atol=1e-3)
    np.testing.assert_allclose(result.scores, [SCORE], atol=1e-3)
    assert result.class_ids.tolist() == [CLASS]
    input_spec(proposal)
    assert "input.color" in proposal.assumed


def test_yolox_with_and_without_decoded_boxes() -> None:
    cells = np.concatenate(
        [np.indices((SIDE // s, SIDE // s)).reshape(2, -1).T[:, ::-1] * s for s in (8, 16, 32)]
    )
    decoded = np.zeros((1, CELLS, 12), np.float32)
    decoded[0, :, :2], decoded[0, :, 2:4] = cells, 4
    decoded[0, 1] = [*CENTER, 1.0, *scores(7)]
    proposal = propose(evidence({"output": decoded}))
    assert proposal is not None
    assert proposal.settings["decoded"] is True
    np.testing.assert_allclose(decode(proposal, {"output": decoded}).boxes, [BOX], atol=1e-3)
    raw = np.zeros((1, CELLS, 12), np.float32)
    # Cell 1 of stride 8 is at (1, 0): 24 = (2 + 1) * 8, 32 = (4 + 0) * 8, and 32 = exp(ln 4) * 8.
    raw[0, 1] = [2.0, 4.0, np.log(4), np.log(4), 1.0, *scores(7)]
    proposal = propose(evidence({"output": raw}))
    assert proposal is not None
    assert (proposal.decoder, proposal.settings["decoded"]) == ("yolox", False)
    assert proposal.input["color"] == "BGR"
    np.testing.assert_allclose(decode(proposal, {"output": raw}).boxes, [BOX], atol=1e-3)


def test_nanodet_is_no_yolox() -> None:
    table = np.zeros((1, CELLS, 7 + 32), np.float32)
    table[..., 7:] = -3
    known = evidence({"output": table}, labels=tuple("abcdefg"))
    proposal = propose(known)
    assert proposal is not None
    assert proposal.decoder == "nanodet"
    assert len(decode(proposal, known.outputs)) == 0


@pytest.mark.parametrize(
    ("array", "ends", "activation"),
    [
        (floats([0.1, 0.7, 0.2]), {}, "none"),
        (floats([1.0, 3.0, -2.0]), {}, "softmax"),
        (floats([0.9, 0.8, 0.1]), {"out": "Sigmoid"}, "none"),
        (floats([0.1, 0.7, 0.2]).reshape(1, 3, 1, 1), {}, "none"),
    ],
)
def test_a_classifier(array: np.ndarray, ends: dict[str, str], activation: str) -> None:
    known = evidence({"out": array}, ends=ends)
    proposal = propose(known)
    assert proposal is not None
    assert proposal.task == "classification"
    assert proposal.settings == {"activation": activation}
    best = int(array.argmax())
    assert decode(proposal, known.outputs).class_ids[0] == best


def test_timm_says_its_normalization() -> None:
    config = {
        "pretrained_cfg": {
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.5, 1.0],
            "crop_pct": 0.9,
            "interpolation": "bicubic",
        },
        "label_names": ["a", "b", "c"],
    }
    known = evidence({"out": floats([1, 2, 3])}, sidecars=Sidecars(transformers=config))
    proposal = propose(known)
    assert proposal is not None
    assert proposal.input["mean"] == [127.5, 127.5, 127.5]
    assert proposal.input["std"] == [63.75, 127.5, 255.0]
    assert proposal.input["crop_fraction"] == 0.9
    assert proposal.input["interpolation"] == "cubic"
    assert proposal.labels == ("a", "b", "c")
    assert "input.mean" not in proposal.assumed


@pytest.mark.parametrize(
    ("preprocessor", "mean", "std"),
    [
        (
            {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.4, 1.0]},
            [127.5, 102.0, 76.5],
            [51.0, 102.0, 255.0],
        ),
        ({"do_normalize": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}, [0.0], [255.0]),
        (
            {"do_rescale": False, "do_normalize": True, "image_mean": [5.0], "image_std": [2.0]},
            [5.0],
            [2.0],
        ),
    ],
)
def test_transformers_says_its_normalization(
    preprocessor: dict[str, Any], mean: list[float], std: list[float]
) -> None:
    known = evidence(
        {"logits": np.zeros((1, 5, 16, 16), np.float32)},
        sidecars=Sidecars(transformers={"id2label": {"0": "LABEL_0"}}, preprocessor=preprocessor),
        name="pixel_values",
    )
    proposal = propose(known)
    assert proposal is not None
    assert proposal.task == "segmentation"
    assert proposal.input["mean"] == pytest.approx(mean)
    assert proposal.input["std"] == pytest.approx(std)
    assert proposal.labels == ()  # the name is made up


def test_paddle_says_its_preprocessing() -> None:
    config = {
        "Preprocess": [
            {"type": "Resize", "keep_ratio": True, "target_size": [640, 640], "interp": 2},
            {
                "type": "NormalizeImage",
                "is_scale": True,
                "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225],
                "norm_type": "mean_std",
            },
            {"type": "Permute"},
        ],
        "label_list": ["a", "b", "c", "d"],
    }
    known = evidence(
        {"rows": floats([CLASS, SCORE, *BOX]), "count": np.array([1], np.int32)},
        sidecars=Sidecars(paddle=config),
    )
    proposal = propose(known)
    assert proposal is not None
    assert proposal.input["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert proposal.input["std"] == pytest.approx([58.395, 57.12, 57.375])
    assert proposal.input["resize"] == "letterbox"
    assert proposal.input["letterbox_align"] == "top_left"
    assert proposal.labels == ("a", "b", "c", "d")
    assert decode(proposal, known.outputs).label(0) == "d"


@pytest.mark.parametrize(
    ("outputs", "keywords", "task", "settings"),
    [
        ({"SemanticPredictions:0": np.ones((1, 32, 32), np.int64)}, {}, "segmentation", {}),
        ({"out": np.zeros((1, 5, 32, 32), np.float32)}, {}, "segmentation", {}),
        (
            {"out": np.zeros((1, 5, 32, 32), np.float32), "aux": np.ones((1, 5, 32, 32), "f")},
            {},
            "segmentation",
            {"mask_output": "out"},
        ),
        (
            {"518": np.full((1, 1, 32, 32), 0.4, np.float32)},
            {"ends": {"518": "Sigmoid"}},
            "segmentation",
            {},
        ),
        ({"mask": np.ones((1, 32, 32), np.uint8)}, {}, "segmentation", {}),
        ({"output0": np.ones((1, 64, 64), np.uint8)}, {"task": "semantic"}, "segmentation", {}),
        ({"output0": np.ones((1, 1, 64, 64), "f")}, {"task": "depth"}, "depth", {"unit": "m"}),
        ({"depth": np.ones((1, 1, 32, 32), np.float32)}, {}, "depth", {"unit": "inverse"}),
        ({"797": np.full((1, 32, 32), 300.0, "f")}, {}, "depth", {"unit": "inverse"}),
        (
            {"predicted_depth": np.ones((1, 32, 32), np.float32)},
            {"sidecars": Sidecars(transformers={"depth_estimation_type": "metric"})},
            "depth",
            {"unit": "m"},
        ),
    ],
)
def test_a_map(
    outputs: Arrays, keywords: dict[str, Any], task: str, settings: dict[str, Any]
) -> None:
    if "task" in keywords:
        keywords = {"metadata": ultralytics(task=keywords["task"])}
    proposal = propose(evidence(outputs, **keywords))
    assert proposal is not None
    assert (proposal.task, dict(proposal.settings)) == (task, settings)
    decode(proposal, outputs)
    input_spec(proposal)


@pytest.mark.parametrize(
    "outputs",
    [
        {"a": np.zeros((1, 2, 3, 4, 5), np.float32)},
        {"a": np.zeros((2, 3), np.int64)},
        {"a": np.zeros((1, 7, 5), np.float32), "b": np.zeros((1, 2, 5), np.float32)},
        {},
    ],
)
def test_outputs_of_an_unknown_kind(outputs: Arrays) -> None:
    assert propose(evidence(outputs)) is None


def test_a_task_that_no_decoder_reads() -> None:
    known = evidence({"output0": np.zeros((1, 56, CELLS), "f")}, metadata=ultralytics(task="pose"))
    with pytest.raises(ModelError, match="'pose', which no decoder"):
        propose(known)


def test_the_size_of_the_input_stays_unchanged_pixels_for_integers() -> None:
    known = evidence({"output": rows(100, *BOX, SCORE, CLASS)}, dtype="uint8")
    proposal = propose(known)
    assert proposal is not None
    assert (proposal.input["mean"], proposal.input["std"]) == ([0.0], [1.0])
