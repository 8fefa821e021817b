"""Results: vision_msgs where it is installed, this package's own messages elsewhere."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from edge_inference import msg as own
from edge_inference.composition.adapter import Adapter
from edge_inference.core import results
from edge_inference.core.frame import Frame
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.images import ImageAdapter


class DetectionArrayAdapter(Adapter[results.Detections]):
    """Detections as ``edge_inference/DetectionArray``."""

    message_type = own.DetectionArray

    def to_message(self, item: results.Detections) -> own.DetectionArray:
        """Build the message; boxes become x, y, width, height."""
        return own.DetectionArray(
            header=to_header(item.stamp_ns, item.frame_id),
            model=item.model,
            source_width=item.source_width or 0,
            source_height=item.source_height or 0,
            detections=[
                own.Detection(
                    class_id=int(item.class_ids[i]),
                    label=item.label(i),
                    score=float(item.scores[i]),
                    x=x1,
                    y=y1,
                    width=x2 - x1,
                    height=y2 - y1,
                )
                for i, (x1, y1, x2, y2) in enumerate(item.boxes.tolist())
            ],
        )

    def from_message(self, message: own.DetectionArray) -> results.Detections:
        """Build the object; it knows only the labels that occur."""
        found = message.detections
        corners = [(d.x, d.y, d.x + d.width, d.y + d.height) for d in found]
        names = {d.class_id: d.label for d in found}
        return results.Detections(
            boxes=np.array(corners, dtype=np.float32).reshape(-1, 4),
            scores=np.array([d.score for d in found], dtype=np.float32),
            class_ids=np.array([d.class_id for d in found], dtype=np.int32),
            labels=tuple(names.get(i, str(i)) for i in range(max(names, default=-1) + 1)),
            source_width=message.source_width or None,
            source_height=message.source_height or None,
            model=message.model,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


class ClassificationAdapter(Adapter[results.Classification]):
    """Classification as ``edge_inference/ClassificationResult``."""

    message_type = own.ClassificationResult

    def to_message(self, item: results.Classification) -> own.ClassificationResult:
        """Build the message."""
        return own.ClassificationResult(
            header=to_header(item.stamp_ns, item.frame_id),
            model=item.model,
            class_ids=array("i", item.class_ids.tolist()),
            labels=[item.label(i) for i in range(len(item))],
            confidences=array("f", item.scores.tolist()),
        )

    def from_message(self, message: own.ClassificationResult) -> results.Classification:
        """Build the object; it knows only the labels that occur."""
        names = dict(zip(message.class_ids, message.labels, strict=True))
        return results.Classification(
            class_ids=np.array(message.class_ids, dtype=np.int32),
            scores=np.array(message.confidences, dtype=np.float32),
            labels=tuple(names.get(i, str(i)) for i in range(max(names, default=-1) + 1)),
            model=message.model,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


class SegmentationAdapter(Adapter[results.Segmentation]):
    """Segmentation as ``edge_inference/Segmentation``; its mask is an Image."""

    message_type = own.Segmentation
    _images = ImageAdapter()

    def to_message(self, item: results.Segmentation) -> own.Segmentation:
        """Build the message."""
        encoding = "mono8" if item.mask.dtype == np.uint8 else "16UC1"
        height, width = item.mask.shape
        pixels = np.ascontiguousarray(item.mask).view(np.uint8).reshape(-1)
        frame = Frame(
            pixels,
            width,
            height,
            encoding,
            pixels.size // height,
            False,
            item.stamp_ns,
            item.frame_id,
        )
        return own.Segmentation(
            header=to_header(item.stamp_ns, item.frame_id),
            model=item.model,
            labels=list(item.labels),
            unknown_id=item.unknown_id,
            score=item.score,
            mask=self._images.to_message(frame),
        )

    def from_message(self, message: own.Segmentation) -> results.Segmentation:
        """Build the object; the mask is a view."""
        mask = message.mask
        dtype = np.dtype(np.uint8 if mask.encoding == "mono8" else np.uint16)
        return results.Segmentation(
            mask=np.frombuffer(mask.data, dtype=dtype).reshape(mask.height, mask.width),
            labels=tuple(message.labels),
            score=message.score,
            unknown_id=message.unknown_id,
            model=message.model,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


class DepthAdapter(Adapter[results.DepthMap]):
    """DepthMap as a 32FC1 ``sensor_msgs/Image`` (REP 118)."""

    message_type = Image
    _images = ImageAdapter()

    def to_message(self, item: results.DepthMap) -> Image:
        """Build the message."""
        height, width = item.depth.shape
        pixels = np.ascontiguousarray(item.depth, dtype=np.float32).view(np.uint8).reshape(-1)
        return self._images.to_message(
            Frame(pixels, width, height, "32FC1", width * 4, False, item.stamp_ns, item.frame_id)
        )

    def from_message(self, message: Image) -> results.DepthMap:
        """Build the object; an Image does not tell its unit, REP 118 says metres."""
        return results.DepthMap(
            depth=np.frombuffer(message.data, dtype=np.float32).reshape(
                message.height, message.width
            ),
            unit="m",
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


def detection_adapter() -> Adapter[results.Detections]:
    """Return the adapter for detections: vision_msgs where it can be imported."""
    try:
        from edge_inference.nodes.conversions.vision import VisionDetectionAdapter
    except ImportError:
        return DetectionArrayAdapter()
    return VisionDetectionAdapter()


def classification_adapter() -> Adapter[results.Classification]:
    """Return the adapter for classifications: vision_msgs where it can be imported."""
    try:
        from edge_inference.nodes.conversions.vision import VisionClassificationAdapter
    except ImportError:
        return ClassificationAdapter()
    return VisionClassificationAdapter()


def result_adapters() -> dict[type[Any], Adapter[Any]]:
    """Return the adapter of every kind of result."""
    return {
        results.Detections: detection_adapter(),
        results.Classification: classification_adapter(),
        results.Segmentation: SegmentationAdapter(),
        results.DepthMap: DepthAdapter(),
    }
