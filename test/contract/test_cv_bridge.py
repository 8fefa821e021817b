"""If cv_bridge is installed, the images equal those of cv_bridge."""

from __future__ import annotations

import numpy as np
import pytest

from edge_inference.core.images.encodings import to_bgr
from edge_inference.core.images.frame import Frame

cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge is not installed")
sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="sensor_msgs is not installed")

WIDTH, HEIGHT = 64, 48
# Bytes per pixel of the encodings that cv_bridge converts to bgr8.
COLORS = {
    "bgr8": 3,
    "rgb8": 3,
    "bgra8": 4,
    "rgba8": 4,
    "mono8": 1,
    "mono16": 2,
    "yuv422": 2,
    "yuv422_yuy2": 2,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
}
# Not in the list: cv_bridge converts it.
OTHERS = {"rgb16": 6, "bgr16": 6, "bayer_rggb16": 2}


def noise(step: int) -> np.ndarray:
    return np.random.default_rng(step).integers(0, 256, HEIGHT * step, np.uint8)


def theirs(encoding: str, step: int, data: np.ndarray) -> np.ndarray:
    message = sensor_msgs.Image(
        height=HEIGHT, width=WIDTH, encoding=encoding, step=step, data=data.tobytes()
    )
    return cv_bridge.CvBridge().imgmsg_to_cv2(message, "bgr8")


@pytest.mark.parametrize(("encoding", "size"), [*COLORS.items(), *OTHERS.items()])
@pytest.mark.parametrize("padding", [0, 12])
def test_bgr8(encoding: str, size: int, padding: int) -> None:
    step = WIDTH * size + padding
    data = noise(step)
    ours = to_bgr(Frame(data, WIDTH, HEIGHT, encoding, step))
    np.testing.assert_array_equal(ours, theirs(encoding, step, data))
