"""Models with a further input, with four channels or with many, on the topics from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_inference.core.images.frame import Frame
from input_kinds import (
    CELL,
    cells_image,
    expected_scores,
    write_classifier,
    write_detector,
)
from perception_rig import Pipeline
from rig import Outside, Rig, wait_for


def send(pipeline: Pipeline, pixels: np.ndarray, encoding: str) -> None:
    stamp = pipeline.rig.container.node.get_clock().now().nanoseconds
    data = np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8)
    height, width = pixels.shape[:2]
    frame = Frame(data, width, height, encoding, data.size // height, False, stamp, "cam")
    pipeline.images.publish(frame)


def check_on(pipeline: Pipeline) -> None:
    """Wait until the engine with its checks is in service."""
    wait_for(
        lambda: bool(pipeline.states) and pipeline.states[-1].backend == "ort", "ort in service"
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_boxes_in_a_number_that_depends_on_the_image(
    rig: Rig, outside: Outside, tmp_path: Path, precision: str
) -> None:
    folder = write_detector(tmp_path / "cells")
    checks = {"golden_check": "refuse", "self_check": "refuse", "precision": precision}
    pipeline = Pipeline(rig, {**checks, "backend": "ort"}, model=str(folder))
    check_on(pipeline)
    for number, cells in enumerate([{(1, 2): 0.9}, {}, {(0, 0): 0.7, (3, 1): 0.5}], start=1):
        send(pipeline, np.repeat(np.repeat(cells_image(cells), 4, 0), 4, 1), "bgr8")
        found = pipeline.detections.wait(number)[number - 1]
        side = 4 * CELL
        boxes = [[x * side, y * side, (x + 1) * side, (y + 1) * side] for x, y in cells]
        np.testing.assert_allclose(found.boxes, np.array(boxes).reshape(-1, 4), atol=0.5)
    assert pipeline.lost() == {}


@pytest.mark.parametrize(
    ("options", "encoding", "dtype"),
    [
        ({"channels": 4, "input": {"color": "RGBA"}}, "rgba8", np.uint8),
        ({"channels": 4, "layout": "HWC", "input": {"color": "RGBA"}}, "rgba8", np.uint8),
        (
            {"channels": 6, "input": {"color": "MULTI", "channel_count": 6, "std": [100.0]}},
            "16UC6",
            np.uint16,
        ),
        ({"layout": "CHW", "dtype": "int64"}, "rgb8", np.uint8),
        ({"batch": 4, "input": {"batch": 4}}, "rgb8", np.uint8),
    ],
)
def test_scores_of_other_inputs(
    rig: Rig, outside: Outside, tmp_path: Path, options: dict[str, Any], encoding: str, dtype: Any
) -> None:
    folder = write_classifier(tmp_path / "model", **options)
    checks = {"golden_check": "refuse", "self_check": "refuse"}
    pipeline = Pipeline(rig, {**checks, "backend": "ort"}, model=str(folder))
    check_on(pipeline)
    color = np.array((200, 100, 50, 25, 150, 75)[: options.get("channels", 3)])
    factor = options.get("input", {}).get("std", [1.0])[0]
    pixels = np.tile((color * factor).astype(dtype), (10, 14, 1))
    send(pipeline, pixels, encoding)
    found = pipeline.classes.wait(1)[0]
    scores = np.empty(len(color))
    scores[found.class_ids] = found.scores
    np.testing.assert_allclose(scores, expected_scores(color[None, None]), rtol=1e-3)
    assert pipeline.lost() == {}


def test_a_camera_without_alpha_costs_frames_and_is_told(
    rig: Rig, outside: Outside, tmp_path: Path
) -> None:
    folder = write_classifier(tmp_path / "model", channels=4, input={"color": "RGBA"})
    pipeline = Pipeline(rig, {"backend": "ort"}, model=str(folder))
    check_on(pipeline)
    send(pipeline, np.zeros((10, 14, 3), np.uint8), "rgb8")
    wait_for(lambda: pipeline.lost().get("invalid") == 1, "the frame to be refused")
    send(pipeline, np.zeros((10, 14, 4), np.uint8), "rgba8")
    pipeline.classes.wait(1)
