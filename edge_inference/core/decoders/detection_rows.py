"""Detections of models that include non-maximum suppression: one row of values for each object.

Exporters differ in the order of the values, which the setting ``columns`` tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.box_formats import to_corners, to_pixels
from edge_inference.core.decoders.detection import (
    Candidates,
    SelectionSettings,
    select_best,
    to_detections,
)
from edge_inference.core.decoders.detection_lists import (
    choose_classes,
    filled_scores,
    read_count,
    to_table,
)
from edge_inference.core.decoders.registry import DecodeContext, register
from edge_inference.core.results import Detections
from edge_inference.core.settings import setting, with_default
from edge_inference.errors import TensorError

#: The columns of a box for each of its forms, with the name of the form.
_BOX_COLUMNS: dict[str, tuple[str, ...]] = {
    "xyxy": ("x1", "y1", "x2", "y2"),
    "xywh": ("x1", "y1", "w", "h"),
    "cxcywh": ("cx", "cy", "w", "h"),
}
_COLUMNS = ("batch", "unused", "x1", "y1", "x2", "y2", "cx", "cy", "w", "h", "score", "class")


@dataclass(frozen=True)
class DetectionRowsSettings(SelectionSettings):
    """One row for each object, of any model that includes non-maximum suppression."""

    columns: tuple[str, ...] = setting(
        ("x1", "y1", "x2", "y2", "score", "class"),
        "values of a row in their order: x1, y1, x2, y2 (or cx, cy, w, h; or x1, y1, w, h), "
        "score, class; batch: rows of other images than the first are left out; unused: any other",
        choices=_COLUMNS,
        read_only=True,
        max_length=64,
    )
    normalized: bool = setting(
        False, "true: boxes from 0 to 1; false: boxes in input pixels", read_only=True
    )
    background: bool = setting(
        False, "class 0 of the model is the background, which has no label", read_only=True
    )
    rows_output: str = setting("", "output with the rows; empty: automatic", read_only=True)
    classes_output: str = setting(
        "",
        "output with class numbers [1, N], for rows without class; empty: automatic",
        read_only=True,
    )
    count_output: str = setting(
        "", "output with the number of rows, if any; empty: automatic", read_only=True
    )

    def check(self) -> str | None:
        """Refuse columns without a box or score, and columns that are given twice."""
        named = [name for name in self.columns if name != "unused"]
        if len(set(named)) != len(named):
            return "columns: expected every value once"
        box = set(named) - {"batch", "score", "class"}
        if box not in [set(names) for names in _BOX_COLUMNS.values()]:
            return "columns: expected x1, y1, x2, y2, or cx, cy, w, h, or x1, y1, w, h"
        return None if "score" in named else "columns: expected a score"


def _columns(text: str) -> Any:
    return with_default(DetectionRowsSettings, "columns", tuple(text.split()))


@dataclass(frozen=True)
class EfficientDetSettings(DetectionRowsSettings):
    """EfficientDet of google/automl, rows [1, N, 7], classes from 1."""

    columns: tuple[str, ...] = _columns("unused y1 x1 y2 x2 score class")
    background: bool = with_default(DetectionRowsSettings, "background", True)


@dataclass(frozen=True)
class EffdetSettings(DetectionRowsSettings):
    """EfficientDet of efficientdet-pytorch (effdet), rows [1, N, 6], classes from 1."""

    background: bool = with_default(DetectionRowsSettings, "background", True)


@dataclass(frozen=True)
class Yolov7EndToEndSettings(DetectionRowsSettings):
    """YOLOv7 with --end2end --max-wh, rows [N, 7] with N from 0."""

    columns: tuple[str, ...] = _columns("batch x1 y1 x2 y2 class score")


@dataclass(frozen=True)
class YoloNasFlatSettings(DetectionRowsSettings):
    """YOLO-NAS in the flat format of its export, rows [N, 7] with N from 0."""

    columns: tuple[str, ...] = _columns("batch x1 y1 x2 y2 score class")


@dataclass(frozen=True)
class PaddleDetectionSettings(DetectionRowsSettings):
    """PaddleDetection: rows [N, 6] and the number of rows."""

    columns: tuple[str, ...] = _columns("class score x1 y1 x2 y2")


@dataclass(frozen=True)
class RtmdetSettings(DetectionRowsSettings):
    """RTMDet and other models exported by MMDeploy: rows [1, N, 5] and labels [1, N]."""

    columns: tuple[str, ...] = _columns("x1 y1 x2 y2 score")


@dataclass(frozen=True)
class OpenVinoDetectionSettings(DetectionRowsSettings):
    """DetectionOutput of Caffe and OpenVINO: rows [1, 1, N, 7], boxes from 0 to 1."""

    columns: tuple[str, ...] = _columns("batch class score x1 y1 x2 y2")
    normalized: bool = with_default(DetectionRowsSettings, "normalized", True)
    background: bool = with_default(DetectionRowsSettings, "background", True)


@register("detection_rows", DetectionRowsSettings)
@register("efficientdet", EfficientDetSettings)
@register("effdet", EffdetSettings)
@register("yolov7_end_to_end", Yolov7EndToEndSettings)
@register("yolo_nas_flat", YoloNasFlatSettings)
@register("paddle_detection", PaddleDetectionSettings)
@register("rtmdet", RtmdetSettings)
@register("detection_output", OpenVinoDetectionSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: DetectionRowsSettings
) -> Detections:
    """Decode rows ``[1, N, K]``, ``[N, K]`` or ``[1, 1, N, K]``, a value for each of the columns.

    N may be another one for each image, also 0. Rows without a class need the class numbers
    ``[1, N]`` in another output. A count ``[1]`` tells how many rows are valid. No suppression
    is repeated.
    """
    rows = _choose_rows(outputs, settings)
    length = len(rows.array)
    count = read_count(outputs, length, settings.count_output, (rows.name,))
    classes = None
    if "class" not in settings.columns:
        classes = choose_classes(outputs, settings.classes_output, length, (rows.name,))
        classes = classes._replace(array=classes.array[:count])
    found = _read(rows._replace(array=rows.array[:count]), classes, context, settings)
    return to_detections(select_best(found, context, settings), context)


def _choose_rows(
    outputs: Mapping[str, NDArray[Any]], settings: DetectionRowsSettings
) -> checks.Output:
    """Return the output of the rows, as ``(N, K)``."""
    width = len(settings.columns)

    def has_rows(array: NDArray[Any]) -> bool:
        table = to_table(array)
        return table is not None and table.shape[1] == width

    output = checks.choose_output(
        outputs,
        settings.rows_output,
        setting="rows_output",
        expected=f"rows [1, N, {width}] or [N, {width}]",
        fits=has_rows,
        keywords=("det", "box", "out"),
    )
    table = to_table(output.array)
    if table is None or table.shape[1] != width:
        raise TensorError(
            f"output {output.name!r}: expected rows [1, N, {width}] or [N, {width}] of "
            f"{', '.join(settings.columns)}, got {list(output.array.shape)}; correct columns or "
            "rows_output in model.yaml"
        )
    return checks.Output(output.name, table)


def _read(
    rows: checks.Output,
    classes: checks.Output | None,
    context: DecodeContext,
    settings: DetectionRowsSettings,
) -> Candidates:
    """Return the candidates above the confidence."""
    values = checks.to_floats(rows)
    columns = settings.columns
    if "batch" in columns:
        of_first = _rows_of_first_image(rows.name, values[:, columns.index("batch")])
        values = values[of_first]
        classes = None if classes is None else classes._replace(array=classes.array[of_first])
    if classes is None:
        classes = checks.Output(rows.name, values[:, columns.index("class")])
    scores = filled_scores(checks.Output(rows.name, values[:, columns.index("score")]))
    class_ids = checks.expect_listed_classes(
        classes, classes.array, scores, context.labels, background=settings.background
    )
    above = np.flatnonzero((scores >= settings.confidence) & (class_ids >= 0))
    order = next(order for order, box in _BOX_COLUMNS.items() if set(box) <= set(columns))
    boxes = values[above][:, [columns.index(name) for name in _BOX_COLUMNS[order]]]
    boxes = to_corners(boxes, order, rows.name, "columns")
    boxes = to_pixels(boxes, context, settings.normalized, rows.name)
    return Candidates(boxes, scores[above], class_ids[above], rows.name)


def _rows_of_first_image(name: str, numbers: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell for each row whether it is of image 0; a row of image -1 only fills the output."""
    first = numbers == 0
    if (numbers != np.round(numbers)).any() or (not first.any() and (numbers > 0).any()):
        raise TensorError(
            f"output {name!r}: expected the numbers of images from 0 in column batch, got "
            f"{numbers[~first][0]:.4g}; correct columns in model.yaml, with unused for a column "
            "that does not number the images of a batch"
        )
    return np.asarray(first)
