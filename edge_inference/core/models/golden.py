"""What a model folder requires: results on golden images, and thresholds for closeness to fp32.

``golden_check.py`` and ``self_check.py`` check a running model against these.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.core.results import RESULT_KINDS, ResultKind
from edge_inference.core.results.result import is_class_number
from edge_inference.core.settings import setting
from edge_inference.core.yaml_file import Section


@dataclass(frozen=True)
class SelfCheckThresholds:
    """The minimum agreement of a candidate with the reference.

    With the defaults, a careful int8 quantization passes and a careless one fails: quantized per
    channel, EfficientNet-Lite0 and NanoDet stay above 8.5 dB and a cosine of 0.93; quantized per
    tensor, EfficientNet-Lite0 falls to 5.4 dB, 0.87 and 77 % agreement. In models that sort or
    select inside (boxes after suppression), each rounding can change the order of the outputs:
    lower ``cosine`` and ``sqnr_db`` for these, and rely on ``agreement``.
    """

    agreement: float = setting(
        0.9, "minimum share of results that agree with fp32", minimum=0.0, maximum=1.0
    )
    cosine: float = setting(
        0.9, "minimum cosine similarity of an output with fp32", minimum=-1.0, maximum=1.0
    )
    sqnr_db: float = setting(8.0, "minimum SQNR of an output against fp32", unit="dB")


@dataclass(frozen=True)
class Golden:
    """An image, and what the model must find in it.

    ``expected`` are entries, and ``tolerance`` tolerances, in the form of the model's kind of
    result (``ResultKind.golden``).
    """

    image: Path
    expected: tuple[Any, ...]
    tolerance: Any


def read_golden(
    section: Section, kind: ResultKind[Any], labels: tuple[str, ...], image: Path
) -> Golden:
    """Read one entry of ``golden`` in ``model.yaml``. Raises ConfigError with line and key."""
    form = kind.golden
    if form is None:
        usable = ", ".join(each.name for each in RESULT_KINDS.rows().values() if each.golden)
        raise section.error(None, f"golden images are for {usable}, not {kind.name}")
    tolerance = section.read(form.tolerance_class, "image", form.key)
    expected = []
    for entry in section.section_list(form.key):
        item = entry.read(form.expected_class)
        label = getattr(item, "label", None)
        if label is not None and labels and label not in labels:
            raise entry.error("label", f"expected one of the model's labels, got {label!r}")
        if label is not None and not labels and not is_class_number(label):
            raise entry.error(
                "label",
                f"expected a class number in quotes, since the model has no labels, got {label!r}",
            )
        expected.append(item)
    if not expected and not form.may_be_empty:
        raise section.error(
            form.key, "expected at least one entry, got none: there is nothing to check"
        )
    return Golden(image, tuple(expected), tolerance)
