"""Which calibration images ``quantize`` measures, and which it holds out for the check."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.models.model import load_model
from edge_inference.errors import ConfigError
from edge_inference.optimize import quantize as quantize_module
from edge_inference.optimize.quantize import (
    HELD_OUT_EVERY,
    MAX_HELD_OUT,
    CalibrationSplit,
    QuantizeRequest,
)
from small_model import make_image, write_model


def make_request(folder: Path, **changes: object) -> QuantizeRequest:
    model = load_model(write_model(folder / "small"))
    return QuantizeRequest(
        **{"model": model, "output": folder / "out", "calibration": "images", **changes}
    )


@pytest.mark.parametrize(
    ("available", "limit", "calibrated", "held_out"),
    [(1, 128, 1, 0), (3, 128, 2, 1), (12, 128, 10, 2), (12, 4, 4, 1), (300, 400, 268, 32)],
)
def test_every_fifth_image_is_held_out(
    available: int,
    limit: int,
    calibrated: int,
    held_out: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = Frame.from_array(make_image(0))

    def source(path: str, topic: str, limit: int, skipped: object) -> list[Frame]:
        return [frame] * min(available, limit)

    monkeypatch.setattr(quantize_module, "calibration_images", source)
    split = CalibrationSplit("images", max_images=limit)
    assert len(list(split)) == calibrated
    assert len(split.held_out) == held_out
    assert held_out <= min(MAX_HELD_OUT, available // HELD_OUT_EVERY + 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_compressed_images_are_held_out_decoded(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.full((6, 9, channels), 77, np.uint8)
    done, data = cv2.imencode(".png", image)
    assert done
    compressed = CompressedFrame(data.ravel(), "png", 5, "camera")
    monkeypatch.setattr(quantize_module, "calibration_images", lambda *_: [compressed] * 3)
    split = CalibrationSplit("images")
    assert len(list(split)) == 2
    (frame,) = split.held_out
    assert (frame.width, frame.height, frame.stamp_ns) == (9, 6, 5)
    assert frame.encoding == {1: "mono8", 3: "bgr8", 4: "bgra8"}[channels]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "fp32"}, "precision: expected one of fp16, int8, got 'fp32'"),
        ({"method": "max"}, "method: expected one of minmax, percentile, mse, entropy, got 'max'"),
        ({"target": "tpu"}, "target: expected one of"),
        ({"calibration": None}, "calibration: int8 needs images"),
        ({"precision": "fp16", "calibration": None, "topic": "/x"}, "topic: expected a recorded"),
        ({"max_images": 0}, "max_images: expected at least 1, got 0"),
    ],
)
def test_a_request_refuses_wrong_values(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        make_request(tmp_path, **changes)
    assert str(caught.value).startswith(message)
