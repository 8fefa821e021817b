"""What an exporter wrote into an ONNX file's metadata about the model.

Ultralytics writes texts of Python values: ``names`` is ``{0: 'person', …}``, ``imgsz`` is
``[height, width]``. Its older YOLOv5 exporter writes only ``stride`` and ``names``.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_inference.core.bounded_file import parse_json
from edge_inference.core.label_file import labels_of

#: The task of this package by the exporter's name of it; "" for a task that no decoder reads.
TASKS = {
    "detect": "detection",
    "classify": "classification",
    "semantic": "segmentation",
    "depth": "depth",
    "segment": "",
    "pose": "",
    "obb": "",
}


@dataclass(frozen=True)
class ExporterMetadata:
    """What the metadata says; empty or None for what it does not.

    ``task`` is the exporter's own word. ``size`` is width, height. ``end2end`` tells whether the
    outputs need no non-maximum suppression. ``nms`` tells whether the exporter added one.
    """

    author: str = ""
    description: str = ""
    license: str = ""
    source: str = ""
    version: str = ""
    task: str = ""
    head: str = ""
    labels: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    stride: int | None = None
    channels: int | None = None
    end2end: bool | None = None
    nms: bool | None = None


def read_exporter_metadata(metadata: Mapping[str, str]) -> ExporterMetadata:
    """Interpret the metadata of an ONNX file. What cannot be interpreted is left out."""
    arguments = _value(metadata, "args")
    nms = arguments.get("nms") if isinstance(arguments, dict) else None
    return ExporterMetadata(
        author=metadata.get("author", "").strip(),
        description=metadata.get("description", "").strip(),
        license=metadata.get("license", "").strip(),
        source=metadata.get("docs", ""),
        version=metadata.get("version", ""),
        task=metadata.get("task", ""),
        head=metadata.get("head", ""),
        labels=_labels(_value(metadata, "names")),
        size=_size(_value(metadata, "imgsz")),
        stride=_whole(_value(metadata, "stride")),
        channels=_whole(_value(metadata, "channels")),
        end2end=_truth(_value(metadata, "end2end")),
        nms=_truth(nms),
    )


def _value(metadata: Mapping[str, str], key: str) -> Any:
    """Return the value of a Python or JSON literal, None for another text."""
    text = metadata.get(key, "")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of an unknown escape, such as "\\d"
            return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        return parse_json(text)
    except ValueError:
        return None


def _labels(value: object) -> tuple[str, ...]:
    try:
        return labels_of(value) or ()
    except ValueError:  # numbers that are no classes
        return ()


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _size(value: object) -> tuple[int, int] | None:
    sides = [value, value] if isinstance(value, int) else value
    if not isinstance(sides, list | tuple) or len(sides) != 2:
        return None
    height, width = _whole(sides[0]), _whole(sides[1])
    return (width, height) if width is not None and height is not None else None
