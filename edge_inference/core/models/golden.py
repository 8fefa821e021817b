"""What a model folder demands of a running model: results on golden images, closeness to fp32.

``golden_check.py`` and ``self_check.py`` hold a running model against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.core.settings import setting
from edge_inference.core.yaml_file import Section


@dataclass(frozen=True)
class ExpectedObject:
    """An object that a detector finds."""

    label: str = setting(description="its class")
    score: float = setting(description="its score", minimum=0.0, maximum=1.0)
    box: tuple[float, ...] = setting(description="x, y, width, height", unit="source px")

    def check(self) -> str | None:
        """Refuse a box that is none."""
        if len(self.box) != 4 or min(self.box[2:]) <= 0:
            return f"box: expected x, y, width, height, both sizes above 0, got {list(self.box)}"
        return None


@dataclass(frozen=True)
class ExpectedClass:
    """A class that a classifier reports; the first of a list is its best."""

    label: str = setting(description="the class")
    score: float = setting(description="its probability", minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class ExpectedArea:
    """How much of the image a class covers."""

    label: str = setting(description="the class")
    share: float = setting(description="its share of all pixels", minimum=0.0, maximum=1.0)


Expected = ExpectedObject | ExpectedClass | ExpectedArea

_EXPECTED: dict[str, tuple[str, type[Any]]] = {
    "detection": ("objects", ExpectedObject),
    "classification": ("classes", ExpectedClass),
    "segmentation": ("areas", ExpectedArea),
}


@dataclass(frozen=True)
class Tolerance:
    """How far a result may be from the expected one and still pass."""

    iou: float = setting(0.8, "least overlap of boxes", minimum=0.0, maximum=1.0)
    score: float = setting(
        0.1, "largest difference of a score, probability or share", minimum=0.0, maximum=1.0
    )
    extra: float = setting(
        0.6, "score from which an object that is not listed is a failure", minimum=0.0, maximum=1.0
    )


@dataclass(frozen=True)
class SelfCheckThresholds:
    """What a candidate must reach against the reference; everything above passes.

    The defaults let a careful int8 quantisation through and no careless one: made per
    channel, EfficientNet-Lite0 and NanoDet stay above 8.5 dB and a cosine of 0.93; made
    per tensor, EfficientNet-Lite0 falls to 5.4 dB, 0.87 and 77 % agreement. Models that
    sort or select inside (boxes after suppression) change the order of their outputs with
    every rounding: lower ``cosine`` and ``sqnr_db`` for these, agreement still judges.
    """

    agreement: float = setting(
        0.9, "least share of results that agree with fp32", minimum=0.0, maximum=1.0
    )
    cosine: float = setting(
        0.9, "least cosine similarity of an output with fp32", minimum=-1.0, maximum=1.0
    )
    sqnr_db: float = setting(
        8.0, "least signal to quantisation noise of an output against fp32", unit="dB"
    )


@dataclass(frozen=True)
class Golden:
    """An image, and what the model finds in it."""

    image: Path
    expected: tuple[Expected, ...]
    tolerance: Tolerance


def read_golden(section: Section, task: str, labels: tuple[str, ...], image: Path) -> Golden:
    """Read one entry of ``golden`` in ``model.yaml``. Raises ConfigError with line and key."""
    if task not in _EXPECTED:
        raise section.error(None, f"golden images are for {', '.join(_EXPECTED)}, not {task}")
    key, expected_class = _EXPECTED[task]
    tolerance = section.read(Tolerance, "image", key)
    expected = []
    for entry in section.section_list(key):
        wanted = entry.read(expected_class)
        if wanted.label not in labels:
            raise entry.error("label", f"{wanted.label!r} is none of the model's labels")
        expected.append(wanted)
    if not expected and task != "detection":
        raise section.error(key, "expected at least one entry, got none: nothing would be checked")
    return Golden(image, tuple(expected), tolerance)
