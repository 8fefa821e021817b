"""Proposals by family: the proposed decoder finds the one object in the outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_inference.core.exports.families import propose
from edge_inference.core.exports.proposal import Evidence
from edge_inference.core.exports.sidecars import Sidecars
from edge_inference.errors import ModelError
from proposal_kit import (
    BOX,
    CELLS,
    CENTER,
    CLASS,
    SCORE,
    SIDE,
    ULTRALYTICS,
    UNIT,
    Arrays,
    decode,
    evidence,
    floats,
    input_spec,
    rows,
    scores,
    ultralytics,
)

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
    "YOLOv4": (
        evidence(
            {"boxes": rows(20, *UNIT)[:, :, None], "confs": rows(20, *scores(7))},
        ),
        "yolov4",
    ),
    "YOLO-NAS": (
        evidence({"pred_bboxes": rows(20, *BOX), "pred_scores": rows(20, *scores(7))}),
        "yolo_nas",
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


def test_heads_of_yolov5() -> None:
    heads = {f"{s}": np.full((1, 3, SIDE // s, SIDE // s, 12), -9, "f") for s in (8, 16, 32)}
    # Anchor 0 of stride 8 is 10 x 13: centre 8 * (2 * 0.5 - 0.5 + (2, 3)), size (2 * 0.5)^2.
    heads["8"][0, 0, 3, 2] = [0, 0, 0, 0, 9, *[-9, -9, -9, 9, -9, -9, -9]]
    proposal = propose(evidence(heads))
    assert proposal is not None
    assert proposal.decoder == "yolov5_heads"
    result = decode(proposal, heads)
    np.testing.assert_allclose(result.boxes, [[15, 21.5, 25, 34.5]], atol=1e-3)
    assert result.class_ids.tolist() == [CLASS]


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
            {"out": np.zeros((1, 5, 32, 32), np.float32), "aux": np.ones((1, 5, 16, 16), "f")},
            {},
            "segmentation",
            {"mask_output": "out"},
        ),
        (
            {f"disp_{side}": np.ones((1, 1, side, side), "f") for side in (64, 32, 16, 8)},
            {},
            "depth",
            {"unit": "inverse", "depth_output": "disp_64"},
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
        # Heads of YOLOv5 have an axis for three anchors.
        {str(side): np.zeros((1, 3, side, side, 7, 1), "f") for side in (8, 4, 2)},
        {str(side): np.zeros((1, 2, side, side, 7), "f") for side in (8, 4, 2)},
        # Lists of objects are no classes, whatever their names.
        {"a": np.zeros((1, 7, 4), "f"), "b": np.zeros((1, 7), "f"), "c": np.zeros((1, 7), "f")},
        {"a": np.zeros((1, 2, 4), "f"), "b": np.zeros((1, 2), "f"), "c": np.zeros((1, 2), "f")},
        {"a": np.zeros((7, 4), "f"), "b": np.zeros(7, "f"), "c": np.zeros(7, "f")},
        # A detector's heads are no segmentation.
        {
            f"{kind}{side}": np.zeros((1, channels, side, side), "f")
            for kind, channels in (("scores", 20), ("boxes", 36))
            for side in (32, 16, 8)
        },
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
