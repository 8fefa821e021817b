"""The table of all kinds of results: this package's, and those of other installed packages."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from edge_inference.core.extension_table import ExtensionTable
from edge_inference.core.results.classification_results import CLASSIFICATION
from edge_inference.core.results.depth_results import DEPTH
from edge_inference.core.results.detection_results import DETECTION
from edge_inference.core.results.golden_form import GoldenForm
from edge_inference.core.results.result import COMMON_FIELDS
from edge_inference.core.results.result_kind import ResultKind
from edge_inference.core.results.segmentation_results import SEGMENTATION
from edge_inference.core.runtime.worker import format_error
from edge_inference.core.settings import rules
from edge_inference.errors import InputError

_TOPIC = re.compile(r"[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)*")
_FUNCTIONS = ("to_json", "to_lines")
_OPTIONAL_FUNCTIONS = ("scores_by_label", "top_score", "warning", "draw", "agree")
_CLASS_PATH = re.compile(r"\w+(\.\w+)*:\w+")


def check_kind(kind: ResultKind[Any], others: Mapping[str, ResultKind[Any]]) -> str | None:
    """Return why a kind cannot be used beside the others, None if it can."""
    result_type = kind.result_type
    params = getattr(result_type, "__dataclass_params__", None)
    if not isinstance(result_type, type) or params is None or not params.frozen:
        return f"result_type: expected a frozen dataclass, got {result_type!r:.80}"
    optional = {
        field.name
        for field in dataclasses.fields(result_type)
        if (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
    }
    for name in COMMON_FIELDS:
        if name not in optional:
            return f"result_type: expected a field {name} with a default in {result_type.__name__}"
    if not isinstance(kind.topic, str) or not _TOPIC.fullmatch(kind.topic):
        return f"topic: expected a relative name such as keypoints, got {kind.topic!r:.80}"
    for other in others.values():
        if other.result_type is result_type:
            return f"result_type: {result_type.__name__} is that of the kind {other.name}"
        if other.topic == kind.topic:
            return f"topic: {kind.topic} is that of the kind {other.name}"
    if not isinstance(kind.adapters, tuple) or not kind.adapters:
        return "adapters: expected at least one module:Class, in a tuple"
    for path in kind.adapters:
        if not isinstance(path, str) or not _CLASS_PATH.fullmatch(path):
            return f"adapters: expected module:Class, got {path!r:.80}"
    for name in (*_FUNCTIONS, *_OPTIONAL_FUNCTIONS):
        function = getattr(kind, name)
        if not callable(function) and (name in _FUNCTIONS or function is not None):
            return f"{name}: expected a function, got {function!r:.80}"
    return None if kind.golden is None else _check_golden_form(kind.golden)


def _check_golden_form(form: GoldenForm[Any]) -> str | None:
    if not isinstance(form, GoldenForm) or not callable(form.compare):
        return f"golden: expected a GoldenForm with a function, got {form!r:.80}"
    try:
        taken = {"image", *rules(form.tolerance_class)}
        rules(form.expected_class)
    except Exception as error:  # of another package's class
        return f"golden: a settings class cannot be used: {format_error(error)}"
    if not isinstance(form.key, str) or not form.key or form.key in taken:
        return f"golden: expected a key besides {', '.join(sorted(taken))}, got {form.key!r:.80}"
    return None


RESULT_KINDS: ExtensionTable[ResultKind[Any]] = ExtensionTable(
    "result_kinds",
    "result kind",
    ResultKind,
    [DETECTION, CLASSIFICATION, SEGMENTATION, DEPTH],
    check_kind,
)


def kind_of(result: object) -> ResultKind[Any]:
    """Return the kind of a result, by its exact type. Raises InputError if no kind has it."""
    for kind in RESULT_KINDS.rows().values():
        if kind.result_type is type(result):
            return kind
    raise InputError(
        f"result: {type(result).__name__} is of no known kind; expected one of "
        f"{', '.join(kind.result_type.__name__ for kind in RESULT_KINDS.rows().values())}; "
        "add a ResultKind for it"
    )
