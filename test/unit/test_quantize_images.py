"""Which of the images given to ``quantize`` are measured, and which are held out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_inference.cli.models import quantize as quantizing
from edge_inference.cli.models.quantize import HELD_OUT_EVERY, MOST_HELD_OUT
from edge_inference.core.images.frame import CompressedFrame, Frame
from small_model import make_image


def make_order(**but: object) -> quantizing.QuantizeOptions:
    values = {
        "model": "small",
        "model_path": "",
        "precision": "int8",
        "calibration": "images",
        "topic": "",
        "images": 128,
        "method": None,
        "keep_fp32": (),
        "output": "out",
        "export": None,
        "target": None,
        "force": False,
    }
    return quantizing.QuantizeOptions(**{**values, **but})


@pytest.mark.parametrize(
    ("there", "wanted", "calibrated", "held_out"),
    [(1, 128, 1, 0), (3, 128, 2, 1), (12, 128, 10, 2), (12, 4, 4, 1), (300, 400, 268, 32)],
)
def test_every_fifth_image_is_held_out(
    there: int, wanted: int, calibrated: int, held_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = Frame.from_array(make_image(0))

    def source(path: str, topic: str, limit: int, skipped: object) -> list[Frame]:
        return [frame] * min(there, limit)

    monkeypatch.setattr(quantizing, "calibration_images", source)
    found = quantizing._Images(make_order(images=wanted))
    assert len(list(found)) == calibrated
    assert len(found.held_out) == held_out
    assert held_out <= min(MOST_HELD_OUT, there // HELD_OUT_EVERY + 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_compressed_images_are_held_out_decoded(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.full((6, 9, channels), 77, np.uint8)
    done, data = cv2.imencode(".png", image)
    assert done
    compressed = CompressedFrame(data.ravel(), "png", 5, "camera")
    monkeypatch.setattr(quantizing, "calibration_images", lambda *_: [compressed] * 3)
    found = quantizing._Images(make_order())
    assert len(list(found)) == 2
    (frame,) = found.held_out
    assert (frame.width, frame.height, frame.stamp_ns) == (9, 6, 5)
    assert frame.encoding == {1: "mono8", 3: "bgr8", 4: "bgra8"}[channels]
