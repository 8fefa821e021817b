"""Compares a derived model with fp32: how close its results are, and how fast it is."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.images.frame import Frame
from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.golden_check import run_golden_check
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import (
    SelfCheckReport,
    run_self_check,
    self_check_images,
)
from edge_inference.core.results import ResultAgreement
from edge_inference.errors import CancelledError

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class DerivedModelRow:
    """One set of images: closeness to fp32, and the median time of an inference on one thread."""

    images: str
    report: SelfCheckReport
    fp32_ms: float
    derived_ms: float


@dataclass(frozen=True)
class DerivedModelCheck:
    """Closeness and speed for each set of images; ``reasons`` say why the model fails."""

    precision: str
    rows: tuple[DerivedModelRow, ...]
    thresholds: SelfCheckThresholds
    golden_summary: str
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Tell whether the derived model is close enough to fp32."""
        return not self.reasons

    @property
    def is_checked(self) -> bool:
        """Tell whether anything could be compared."""
        return any(row.report.is_checked for row in self.rows)

    def first_reason(self) -> str:
        """Return the first reason, and how many more there are."""
        more = len(self.reasons) - 1
        return self.reasons[0] + (f" (and {more} more)" if more else "")


class _TimedEngine:
    """Measures each inference and calls ``after_inference``."""

    def __init__(self, engine: Backend, after_inference: Callable[[], None]) -> None:
        self._engine = engine
        self._after_inference = after_inference
        self.milliseconds: list[float] = []

    def __call__(self, inputs: Tensors) -> Tensors:
        start = time.perf_counter()
        outputs = self._engine.infer(inputs)
        self.milliseconds.append((time.perf_counter() - start) * 1e3)
        self._after_inference()
        return outputs


def check_derived_model(
    model: ModelDescription,
    precision: str,
    derived_file: Path,
    held_out: Sequence[Frame],
    progress: Callable[[float], None],
    cancelled: Callable[[], bool],
) -> DerivedModelCheck:
    """Run ONNX Runtime in fp32 and on the derived file, image by image, and compare.

    The golden images (without any, a generated image) must pass as they do whenever the model is
    loaded. The held-out images may be few, so the agreement threshold applies to all images
    together. A model of which nothing could be compared fails. Raises CancelledError soon after
    ``cancelled`` returns True.
    """
    own = "golden" if model.golden else "generated"
    image_sets = {own: self_check_images(model), "held out": list(held_out)}
    thresholds = {
        own: model.self_check,
        "held out": dataclasses.replace(model.self_check, agreement=0.0),
    }
    total = sum(len(images) for images in image_sets.values())
    done = 0

    def count_inference() -> None:
        nonlocal done
        done += 1
        progress(min(done / total, 1.0))
        if cancelled():
            raise CancelledError(f"model {model.name}: the comparison was cancelled")

    rows = []
    with (
        OrtBackend(model.variants["fp32"].file, precision="fp32").fit_to(model) as fp32,
        OrtBackend(derived_file, precision=precision).fit_to(model) as derived,
    ):
        for name, images in image_sets.items():
            if images:
                timed_fp32 = _TimedEngine(fp32, lambda: None)
                timed_derived = _TimedEngine(derived, count_inference)
                report = run_self_check(model, timed_fp32, timed_derived, images, thresholds[name])
                rows.append(
                    DerivedModelRow(
                        name,
                        report,
                        statistics.median(timed_fp32.milliseconds),
                        statistics.median(timed_derived.milliseconds),
                    )
                )
        golden = run_golden_check(model, derived.infer)
    reasons = [f"{row.images} images: {text}" for row in rows for text in row.report.reasons]
    if not reasons and not any(row.report.is_checked for row in rows):
        reasons.append(f"{rows[0].report.summary()}, or give them with --calibration")
    if not reasons:
        reasons += check_agreement(rows, model.self_check)
    if not golden.passed:
        reasons.append(golden.summary())
    return DerivedModelCheck(
        precision, tuple(rows), model.self_check, golden.summary(), tuple(reasons)
    )


def check_agreement(rows: Sequence[DerivedModelRow], thresholds: SelfCheckThresholds) -> list[str]:
    """Return why the results of all images together do not agree enough; nothing if they do.

    What is found only with the lowest confidence counts if nothing else is found.
    """
    found = [row.report for row in rows if not row.report.is_faint]
    if not any(report.results is not None and report.results.compared for report in found):
        found = [row.report for row in rows]
    agreements = (report.results for report in found if report.results is not None)
    total = sum(agreements, start=ResultAgreement(0, 0))
    if total.share >= thresholds.agreement:
        return []
    return [
        f"all images: {total.share:.1%} of the results agree, "
        f"at least {thresholds.agreement:.1%} is needed"
    ]
