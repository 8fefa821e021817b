"""The mapping between a source image and a model input, in both directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Geometry:
    """The affine map from source pixels to tensor pixels.

    ``tensor = source * scale + offset`` on each axis, in continuous
    coordinates where an image of ``width`` pixels spans ``0 .. width``.
    A stretch has no offset; a letterbox has a positive offset (its padding);
    a centre crop has a negative one.
    """

    source_width: int
    source_height: int
    scale_x: float
    scale_y: float
    offset_x: float = 0.0
    offset_y: float = 0.0

    def points_to_tensor(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Map ``(..., 2)`` x, y points from source pixels to tensor pixels."""
        return np.asarray(points * self._scale(points) + self._offset(points))

    def points_to_source(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Map ``(..., 2)`` x, y points from tensor pixels to source pixels."""
        return np.asarray((points - self._offset(points)) / self._scale(points))

    def boxes_to_source(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map ``(N, 4)`` x1, y1, x2, y2 boxes to source pixels, clipped to the image."""
        corners = self.points_to_source(boxes.reshape(-1, 2))
        limit = np.array([self.source_width, self.source_height], dtype=corners.dtype)
        clipped = np.clip(corners, 0, limit)
        return np.asarray(clipped.reshape(-1, 4), dtype=np.float32)

    def _scale(self, like: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.array([self.scale_x, self.scale_y], dtype=like.dtype)

    def _offset(self, like: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.array([self.offset_x, self.offset_y], dtype=like.dtype)
