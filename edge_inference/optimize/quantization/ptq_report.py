"""What post-training quantization costs and gains: every calibration method and int8 form.

fp32 and each int8 form run on the same images, which the calibration did not see, and their times
are measured interleaved. Nothing is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.backends.cpu_instructions import CpuInstructions, find_cpu_instructions
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.measured_costs import Spread
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import run_self_check, self_check_images
from edge_inference.core.onnx_format.onnx_files import model_size
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.precision.derive import derive
from edge_inference.engines.precision.int8_mode import (
    EXACT,
    INT8_MODES,
    mode_in_use,
    weight_bits,
)
from edge_inference.engines.precision.ranges import METHODS
from edge_inference.engines.quantized.variant_choice import require_unquantized
from edge_inference.errors import CancelledError, ConfigError, ModelError
from edge_inference.optimize.calibrate import calibrate_with_methods, preprocess_images
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.images.calibration_images import SkippedCallback
from edge_inference.optimize.memoized_engine import MemoizedEngine
from edge_inference.optimize.onnx_timing import DEFAULT_RUNS, measure_files
from edge_inference.optimize.quantize import DEFAULT_IMAGES, CalibrationSplit
from edge_inference.optimize.training.dataset_sources import check_labels
from edge_inference.optimize.training.evaluate import evaluate_engine
from edge_inference.optimize.training.labeled_dataset import LabeledDataset

_FP32 = "fp32"
#: A measured gain below this share of the time is noise.
_CLEARLY = 0.03
# Progress, as a fraction of the whole.
_CALIBRATED, _DERIVED, _TIMED = 0.4, 0.5, 0.6


@dataclass(frozen=True)
class PtqRequest:
    """What to compare.

    ``calibration`` is a source of images as ``calibration_images`` takes it, ``topic`` one of its
    topics where it is a recorded bag; every fifth image is held out for the comparison. With
    ``labeled`` images of the model's classes the accuracy is measured, too. ``runs`` are the timed
    inferences of each form. Raises ConfigError, SourceError.
    """

    model: ModelDescription
    calibration: str
    topic: str = ""
    max_images: int = DEFAULT_IMAGES
    methods: tuple[str, ...] = METHODS
    labeled: LabeledDataset | None = None
    runs: int = DEFAULT_RUNS
    keep_fp32: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise ConfigError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
        for name, value in (("max_images", self.max_images), ("runs", self.runs)):
            if value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value}")
        if self.labeled is not None:
            check_labels(self.labeled, self.model.labels)


@dataclass(frozen=True)
class PtqRow:
    """One form of the model; what was not measured is None.

    ``mode`` is None where this machine has only one form of int8, and ``method`` for fp32.
    ``agreement`` is the share of equal results, ``sqnr_db`` that of the worst output: None for
    fp32 itself, and infinite for equal outputs.
    """

    form: str
    method: str | None
    mode: str | None
    agreement: float | None
    sqnr_db: float | None
    accuracy: MeasuredAccuracy | None
    time: Spread
    bytes: int

    @property
    def name(self) -> str:
        """Return the form and the method, such as "int8 mse"."""
        return self.form if self.method is None else f"{self.form} {self.method}"


@dataclass(frozen=True)
class PtqReport:
    """All forms, that of fp32 first."""

    model: ModelDescription
    calibration_images: int
    compared_images: int
    instruction_set: str
    rows: tuple[PtqRow, ...]

    @property
    def fp32(self) -> PtqRow:
        """Return the row of fp32."""
        return self.rows[0]

    def speedup(self, row: PtqRow) -> float:
        """Return how many times as fast as fp32 a form is, by the medians."""
        return self.fp32.time.median_s / row.time.median_s

    def best(self) -> PtqRow | None:
        """Return the row with the best SQNR of those with the highest agreement; None without."""
        rows = [row for row in self.rows[1:] if row.sqnr_db is not None]
        return max(rows, key=lambda row: (row.agreement or 0.0, row.sqnr_db), default=None)

    def summary(self) -> str:
        """Return the outcome in a few sentences; it says where int8 is not faster here."""
        parts = []
        best = self.best()
        if best is not None:
            agreement = "" if best.agreement is None else f"agreement {best.agreement:.1%}, "
            parts.append(
                f"closest to fp32: {best.name}, {agreement}SQNR {best.sqnr_db:.1f} dB, "
                f"{self.speedup(best):.2f} times as fast"
            )
        for form in dict.fromkeys(row.form for row in self.rows[1:]):
            speedup = max(self.speedup(row) for row in self.rows if row.form == form)
            if speedup < 1 - _CLEARLY:
                parts.append(f"{form} is slower than fp32 on this machine ({speedup:.2f} times)")
            elif speedup < 1 + _CLEARLY:
                parts.append(f"{form} is not faster than fp32 on this machine")
        return "; ".join(parts) or "nothing could be compared"

    def to_json(self) -> dict[str, Any]:
        """Return the object for ``--json``."""
        return {
            "model": self.model.name,
            "instruction_set": self.instruction_set,
            "calibration_images": self.calibration_images,
            "compared_images": self.compared_images,
            "rows": [self._row_as_json(row) for row in self.rows],
            "summary": self.summary(),
        }

    def _row_as_json(self, row: PtqRow) -> dict[str, Any]:
        is_equal = row.sqnr_db == float("inf")
        return {
            "form": row.form,
            "method": row.method,
            "mode": row.mode,
            "agreement": row.agreement,
            "sqnr_db": None if is_equal else row.sqnr_db,
            "accuracy": None if row.accuracy is None else row.accuracy.share,
            "labeled_images": None if row.accuracy is None else row.accuracy.total,
            "cpu_ms": row.time.median_s * 1e3,
            "cpu_p95_ms": row.time.p95_s * 1e3,
            "speedup": self.speedup(row),
            "bytes": row.bytes,
        }


def compare_ptq(
    request: PtqRequest,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    *,
    skipped: SkippedCallback | None = None,
    cpu: CpuInstructions | None = None,
) -> PtqReport:
    """Calibrate with every method, derive every int8 form for ONNX Runtime, and measure all.

    On a CPU with two int8 modes both are measured; ``cpu`` is this machine's by default.
    ``skipped`` gets a sentence for each image that cannot be read. Raises ModelError for a model
    without an fp32 variant or with its own int8, what ``calibrate`` and ``derive`` raise, and
    CancelledError soon after ``cancelled`` returns True.
    """
    cpu = cpu or find_cpu_instructions()
    with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
        return _Comparison(request, progress, cancelled, skipped, cpu, Path(folder)).run()


@dataclass(frozen=True)
class _Form:
    """A file to compare."""

    form: str
    method: str | None
    mode: str | None
    file: Path

    @property
    def name(self) -> str:
        return self.form if self.method is None else f"{self.form} {self.method}"


class _Comparison:
    """The steps of one comparison."""

    def __init__(
        self,
        request: PtqRequest,
        progress: Progress,
        cancelled: Cancelled,
        skipped: SkippedCallback | None,
        cpu: CpuInstructions,
        folder: Path,
    ) -> None:
        self._request = request
        self._progress = progress
        self._cancelled = cancelled
        self._cpu = cpu
        self._folder = folder
        self._images = CalibrationSplit(
            request.calibration, request.topic, request.max_images, skipped
        )
        self._calibrated = 0

    def run(self) -> PtqReport:
        request = self._request
        model = request.model
        if _FP32 not in model.variants:
            raise ModelError(
                f"model {model.name}: expected an fp32 variant to derive int8 from, got none; add "
                "one to its model.yaml"
            )
        model.variants[_FP32].verify()
        require_unquantized(model.variants[_FP32].file, "int8")
        forms = [_Form(_FP32, None, None, model.variants[_FP32].file), *self._derive()]
        frames: list[Frame] = self._images.held_out or list(self_check_images(model))
        tensor, _ = Preprocessor(model.input)(frames[0])
        times = measure_files(
            {form.name: form.file for form in forms},
            {form.name: {model.input.name: tensor} for form in forms},
            request.runs,
            self._report_timed,
            model,
        )
        return PtqReport(
            model,
            self._calibrated,
            len(frames),
            self._cpu.instruction_set,
            tuple(self._compare(forms, frames, times)),
        )

    def _derive(self) -> list[_Form]:
        """Calibrate once, and derive a file for each method and mode."""
        request, model = self._request, self._request.model
        source = model.variants[_FP32].file
        calibrations = calibrate_with_methods(
            source,
            model.input.name,
            preprocess_images(self._images, model.input),
            request.methods,
            self._report_calibrated,
            cancelled=self._cancelled,
            images=Path(request.calibration).name,
            model=model,
        )
        forms = []
        bits = dict.fromkeys(weight_bits(mode, self._cpu) for mode in INT8_MODES)
        for method, calibration in calibrations.items():
            for each in bits:
                self._stop_if_cancelled()
                self._progress(f"deriving int8 with {method}", _CALIBRATED)
                mode = mode_in_use(each, self._cpu)
                file = self._folder / f"{method}-{each}.onnx"
                derive(
                    source,
                    "int8",
                    "onnxruntime",
                    file,
                    keep_fp32=(*model.derive.keep_fp32("int8"), *request.keep_fp32),
                    calibration=calibration,
                    weight_bits=each,
                )
                name = "int8" if mode in (None, EXACT) else f"int8 {mode}"
                forms.append(_Form(name, method, mode, file))
        return forms

    def _compare(
        self, forms: list[_Form], frames: list[Frame], times: Mapping[str, Spread]
    ) -> Iterator[PtqRow]:
        """Yield the row of each form, with its closeness to fp32 and its accuracy."""
        request, model = self._request, self._request.model
        with ExitStack() as stack:
            source = stack.enter_context(OrtBackend(forms[0].file).fit_to(model))
            reference = MemoizedEngine(source.infer)
            for index, form in enumerate(forms):
                self._stop_if_cancelled()
                self._progress(f"comparing {form.name}", _TIMED + (1 - _TIMED) * index / len(forms))
                agreement = sqnr_db = accuracy = None
                engine = source
                if index:
                    engine = stack.enter_context(OrtBackend(form.file).fit_to(model))
                    check = run_self_check(model, reference, engine.infer, frames, model.self_check)
                    agreement = check.figures().get("agreement")
                    if check.outputs is not None and check.outputs.has_signal:
                        sqnr_db = check.outputs.sqnr_db
                if request.labeled is not None:
                    accuracy = evaluate_engine(
                        engine.infer,
                        model.input.name,
                        request.labeled,
                        cancelled=self._cancelled,
                        output_name=getattr(model.decoder_settings, "scores_output", None) or None,
                    )
                yield PtqRow(
                    form.form,
                    form.method,
                    form.mode,
                    agreement,
                    sqnr_db,
                    accuracy,
                    times[form.name],
                    model_size(form.file),
                )

    def _report_calibrated(self, count: int) -> None:
        self._calibrated = count
        share = min(count / self._request.max_images, 1.0)
        self._progress(f"calibrating, {count} images", _CALIBRATED * share)

    def _report_timed(self, fraction: float) -> None:
        self._stop_if_cancelled()
        self._progress("timing", _DERIVED + (_TIMED - _DERIVED) * fraction)

    def _stop_if_cancelled(self) -> None:
        if self._cancelled():
            raise CancelledError(f"{self._request.model.name}: the comparison was cancelled")
