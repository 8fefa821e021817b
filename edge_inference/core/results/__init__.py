"""The results of models as structs of arrays, in source pixels; one file for each kind.

``kinds.py`` is the table of all kinds; a row (``result_kind.py``) holds everything that the rest of
the package must know of a kind.
"""

from __future__ import annotations

from edge_inference.core.results.classification_results import (
    CLASSIFICATION,
    Classification,
    ExpectedClass,
)
from edge_inference.core.results.depth_results import DEPTH, DepthMap
from edge_inference.core.results.detection_results import DETECTION, Detections, ExpectedObject
from edge_inference.core.results.golden_form import GoldenComparison, GoldenForm, Tolerance
from edge_inference.core.results.kinds import RESULT_KINDS, kind_of
from edge_inference.core.results.result import Result, label_of
from edge_inference.core.results.result_agreement import Leniency, ResultAgreement
from edge_inference.core.results.result_kind import ResultKind
from edge_inference.core.results.segmentation_results import (
    SEGMENTATION,
    ExpectedArea,
    Segmentation,
)

__all__ = [
    "CLASSIFICATION",
    "DEPTH",
    "DETECTION",
    "RESULT_KINDS",
    "SEGMENTATION",
    "Classification",
    "DepthMap",
    "Detections",
    "ExpectedArea",
    "ExpectedClass",
    "ExpectedObject",
    "GoldenComparison",
    "GoldenForm",
    "Leniency",
    "Result",
    "ResultAgreement",
    "ResultKind",
    "Segmentation",
    "Tolerance",
    "kind_of",
    "label_of",
]
