"""Finds the adapters of results, and converts results to this package's own messages."""

from __future__ import annotations

import importlib
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_inference import msg as own
from edge_inference.composition.adapter import Adapter
from edge_inference.core import results
from edge_inference.core.results import ResultKind
from edge_inference.core.runtime.worker import format_error
from edge_inference.errors import InputError, PluginError
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.result_bounds import RESULT_BOUNDS, to_boxes, to_scores

# Limits the list of labels, which is as long as the largest class number of a message.
_MAX_CLASS_ID = 65535


class DetectionArrayAdapter(Adapter[results.Detections]):
    """Detections as ``edge_inference/DetectionArray``."""

    message_type = own.DetectionArray
    bounds = RESULT_BOUNDS

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
        """Build the object with only the labels that occur in the message."""
        found = message.detections
        corners = [(d.x, d.y, d.x + d.width, d.y + d.height) for d in found]
        labels = _labels([d.class_id for d in found], [d.label for d in found])
        return results.Detections(
            boxes=to_boxes(corners, "DetectionArray"),
            scores=to_scores([d.score for d in found], "DetectionArray"),
            class_ids=np.array([d.class_id for d in found], dtype=np.int32),
            labels=labels,
            source_width=message.source_width or None,
            source_height=message.source_height or None,
            model=message.model,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


class ClassificationAdapter(Adapter[results.Classification]):
    """Classification as ``edge_inference/ClassificationResult``."""

    message_type = own.ClassificationResult
    bounds = RESULT_BOUNDS

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
        """Build the object with only the labels that occur in the message."""
        counts = len(message.class_ids), len(message.labels), len(message.confidences)
        if len(set(counts)) != 1:
            raise InputError(
                "ClassificationResult: expected class_ids, labels, confidences of one length, got "
                f"{counts[0]}, {counts[1]} and {counts[2]}"
            )
        scores = to_scores(message.confidences, "ClassificationResult")
        return results.Classification(
            class_ids=np.array(message.class_ids, dtype=np.int32),
            scores=scores,
            labels=_labels(message.class_ids, message.labels),
            model=message.model,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


def _labels(class_ids: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    """Return labels by class number; classes that do not occur are named by their number."""
    for class_id in class_ids:
        if not 0 <= class_id <= _MAX_CLASS_ID:
            raise InputError(f"class_id: expected 0 to {_MAX_CLASS_ID}, got {class_id}")
    known = dict(zip(class_ids, names, strict=True))
    return tuple(known.get(i, str(i)) for i in range(max(known, default=-1) + 1))


def result_adapter(kind: ResultKind[Any]) -> Adapter[Any]:
    """Return a new adapter of a kind: of the classes that it names, the first that can be used.

    A class whose message package is not installed is skipped. Raises PluginError if none is left,
    and for a class that does not exist or cannot be used.
    """
    missing = []
    for path in kind.adapters:
        title = f"result kind {kind.name}: adapter {path}"
        module_name, _, class_name = path.partition(":")
        try:
            adapter_class = getattr(importlib.import_module(module_name), class_name, None)
            if isinstance(adapter_class, type) and issubclass(adapter_class, Adapter):
                return adapter_class()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # another package's code may raise anything
            # The adapter's own module must exist; what it imports may be absent.
            if not isinstance(error, ImportError) or f"{module_name}.".startswith(f"{error.name}."):
                raise PluginError(f"{title}: {format_error(error)}") from error
            missing.append(str(error))
            continue
        raise PluginError(f"{title}: expected a subclass of Adapter, got {adapter_class!r}")
    raise PluginError(
        f"result kind {kind.name}: expected the messages of one of {', '.join(kind.adapters)}, got "
        f"{'; '.join(missing)}; install their package"
    )
