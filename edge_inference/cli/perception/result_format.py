"""Results as JSON and as text."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_inference.cli.perception.frame_tracker import STAGES, FrameRecord
from edge_inference.core.exhaustive import unhandled_error
from edge_inference.core.results import (
    Classification,
    DepthMap,
    Detections,
    Result,
    Segmentation,
    label_of,
)
from edge_inference.errors import InputError


def record_to_json(record: FrameRecord) -> dict[str, Any]:
    """Return one frame as an object of the output of ``--json``."""
    return {
        "source": record.source,
        "frame": record.number,
        "stamp": record.stamp_ns,
        "model": record.result.model,
        "results": result_to_json(record.result),
        "ms": {
            stage: _rounded(record.process_ms[stage], 3)
            for stage in STAGES
            if stage in record.process_ms
        },
        "age_ms": _rounded(record.age_ms, 3),
    }


def result_to_json(result: Result) -> list[dict[str, Any]]:
    """Return the findings, best first.

    Detections have label, score and box (x, y, width, height in source pixels);
    classifications label and score; segmentations the share of the image for each class;
    depth maps minimum, median and maximum, null where nothing was measured.
    """
    if isinstance(result, Detections):
        return [
            {
                "label": result.label(index),
                "score": _rounded(result.scores[index], 4),
                "box": _box(result.boxes[index]),
            }
            for index in range(len(result))
        ]
    if isinstance(result, Classification):
        return [
            {"label": result.label(index), "score": _rounded(result.scores[index], 4)}
            for index in range(len(result))
        ]
    if isinstance(result, Segmentation):
        return [{"label": label, "share": share} for label, share in _shares(result)]
    if isinstance(result, DepthMap):
        return [_depth(result)]
    raise unhandled_error(result, "results as JSON")


def format_result(result: Result, limit: int) -> list[str]:
    """Return one line for each of the first ``limit`` findings."""
    if isinstance(result, DepthMap):
        depth = _depth(result)
        figures = [depth["min"], depth["median"], depth["max"]]
        if None in figures:
            return ["no depth"]
        return ["depth " + " … ".join(f"{figure:.2f}" for figure in figures) + f" {result.unit}"]
    lines = []
    for entry in result_to_json(result)[:limit]:
        if "box" in entry:
            box = ", ".join(f"{side:.0f}" for side in entry["box"])
            lines.append(f"{entry['label']} {entry['score']:.2f} [{box}]")
        elif "score" in entry:
            lines.append(f"{entry['label']} {entry['score']:.2f}")
        elif "share" in entry:
            lines.append(f"{entry['label']} {entry['share']:.0%}")
        else:
            raise InputError(f"results as text: expected a box, score or share, got {entry}")
    return lines


def _box(corners: Any) -> list[float]:
    x1, y1, x2, y2 = (float(value) for value in corners)
    return [round(value, 1) for value in (x1, y1, x2 - x1, y2 - y1)]


def _shares(result: Segmentation) -> list[tuple[str, float]]:
    counts = np.bincount(result.mask.reshape(-1))
    total = result.mask.size
    order = sorted(np.flatnonzero(counts), key=lambda class_id: -counts[class_id])
    return [
        (label_of(result.labels, int(class_id)), round(float(counts[class_id]) / total, 4))
        for class_id in order
        if class_id != result.unknown_id
    ]


def _depth(result: DepthMap) -> dict[str, Any]:
    seen = result.depth[np.isfinite(result.depth)]
    figures = (seen.min(), np.median(seen), seen.max()) if seen.size else (None, None, None)
    names = ("min", "median", "max")
    return {name: _rounded(v, 4) for name, v in zip(names, figures, strict=True)} | {
        "unit": result.unit
    }


def _rounded(value: Any, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)
