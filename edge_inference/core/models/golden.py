"""What a model folder requires: results on golden images, and thresholds for closeness to fp32.

``golden_check.py`` and ``self_check.py`` check a running model against these.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.core.settings import setting
from edge_inference.core.yaml_file import Section


@dataclass(frozen=True)
class ExpectedObject:
    """An object that a detector must find."""

    label: str = setting(description="its class")
    score: float = setting(description="its score", minimum=0.0, maximum=1.0)
    box: tuple[float, ...] = setting(description="x, y, width, height", unit="source px")

    def check(self) -> str | None:
        """Return why the box is invalid, None if it is valid."""
        if len(self.box) != 4 or min(self.box[2:]) <= 0:
            return (
                f"box: expected x, y, width, height with both sizes above 0, got {list(self.box)}"
            )
        return None


@dataclass(frozen=True)
class ExpectedClass:
    """A class that a classifier must report; the first of a list must be the best."""

    label: str = setting(description="the class")
    score: float = setting(description="its probability", minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class ExpectedArea:
    """The share of the image that a class must cover."""

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
    """How far a result may differ from the expected one and still pass."""

    iou: float = setting(0.8, "minimum overlap of boxes", minimum=0.0, maximum=1.0)
    score: float = setting(
        0.1, "maximum difference of a score, probability or share", minimum=0.0, maximum=1.0
    )
    extra: float = setting(
        0.6, "minimum score of an unlisted object that fails the check", minimum=0.0, maximum=1.0
    )


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
    """An image, and what the model must find in it."""

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
        item = entry.read(expected_class)
        if item.label not in labels:
            raise entry.error("label", f"expected one of the model's labels, got {item.label!r}")
        expected.append(item)
    if not expected and task != "detection":
        raise section.error(key, "expected at least one entry, got none: there is nothing to check")
    return Golden(image, tuple(expected), tolerance)
