"""Quantizes a model: measures it on images, writes a new model folder, compares it with fp32.

From a script::

    from pathlib import Path

    from edge_inference.core.models.model_search import find_model
    from edge_inference.optimize.quantize import QuantizeRequest, quantize

    request = QuantizeRequest(find_model("nanodet"), Path("nanodet_int8"), calibration="images/")
    report = quantize(request)
    print(report.passed, report.check.reasons)

int8 needs the range of every tensor, fp16 the nodes whose values overflow. Both are written into
``model.yaml`` of the new folder; each engine derives its own file from that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import self_check_images
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.precision.derive import DERIVED, DeriveReport, derive_model
from edge_inference.engines.precision.exclude import named_nodes
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.int8 import TARGETS
from edge_inference.engines.precision.ranges import METHODS
from edge_inference.engines.quantized.variant_choice import require_unquantized
from edge_inference.errors import ConfigError, ModelError
from edge_inference.optimize.calibrate import DEFAULT_METHOD, calibrate_model, preprocess_images
from edge_inference.optimize.derived_model_check import DerivedModelCheck, check_derived_model
from edge_inference.optimize.images.calibration_images import (
    SkippedCallback,
    calibration_images,
    decode_frame,
)
from edge_inference.optimize.overflow import find_overflows
from edge_inference.optimize.quantized_folder import (
    CALIBRATION_FILE,
    StagedFolder,
    find_output_problem,
)
from edge_inference.optimize.yaml_edit import Value

DEFAULT_IMAGES = 128
#: One image in this many is held out of the calibration, up to MAX_HELD_OUT in all.
HELD_OUT_EVERY = 5
MAX_HELD_OUT = 32
#: With fewer images than this the ranges depend on single images.
RECOMMENDED_IMAGES = 50
_FIRST_HELD_OUT = 2
# Progress, as a fraction of the whole: measuring takes nearly all of the time.
_MEASURED, _DERIVED = 0.7, 0.75


@dataclass(frozen=True)
class QuantizeRequest:
    """What to quantize.

    ``output`` is the new model folder; it must not exist. ``calibration`` is a source of images
    as ``calibration_images`` takes it, ``topic`` one of its topics where it is a recorded bag.
    int8 needs a source; without one, fp16 uses the images of the self-check. At most
    ``max_images`` images are measured. ``keep_fp32`` names ONNX nodes that stay in fp32, in
    addition to those in ``model.yaml``. ``export`` is a file for the derived ONNX model,
    ``target`` the engine that it is for. ``keep_failed`` keeps a folder that does not pass.
    Raises ConfigError for values that do not exist or do not fit together.
    """

    model: ModelDescription
    output: Path
    precision: str = "int8"
    calibration: str | None = None
    topic: str = ""
    max_images: int = DEFAULT_IMAGES
    method: str = DEFAULT_METHOD
    keep_fp32: tuple[str, ...] = ()
    export: Path | None = None
    target: str = "onnxruntime"
    keep_failed: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("precision", self.precision, DERIVED),
            ("method", self.method, METHODS),
            ("target", self.target, TARGETS),
        ):
            if value not in known:
                raise ConfigError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        if self.precision == "int8" and self.calibration is None:
            raise ConfigError("calibration: int8 needs images as the model will see them")
        if self.topic and self.calibration is None:
            raise ConfigError("topic: expected a recorded bag as calibration, got none")
        if self.max_images < 1:
            raise ConfigError(f"max_images: expected at least 1, got {self.max_images}")


@dataclass(frozen=True)
class QuantizeReport:
    """What was done, one sentence for each step, and how close the result is to fp32.

    ``folder`` is the new model folder, None where it was not kept.
    """

    request: QuantizeRequest
    check: DerivedModelCheck
    steps: tuple[str, ...]
    folder: Path | None

    @property
    def passed(self) -> bool:
        """Tell whether the result is close enough to fp32."""
        return self.check.passed


def quantize(
    request: QuantizeRequest,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    *,
    skipped: SkippedCallback | None = None,
    before_staging: Callable[[Path], None] = lambda folder: None,
) -> QuantizeReport:
    """Measure, write the new model folder, and compare with fp32.

    The folder is kept if the check passes or the request says ``keep_failed``. ``skipped``
    gets a sentence for each image that cannot be read. ``before_staging`` gets the temporary
    folder before it exists, so that a supervisor can remove it if this process is killed.
    Raises ConfigError for an output that cannot be used, ModelError for a model that cannot be
    quantized, what ``calibrate`` and ``derive`` raise, and CancelledError soon after ``cancelled``
    returns True.
    """
    problem = find_output_problem(request.output, request.model)
    if problem is not None:
        raise ConfigError(f"output {request.output}: {problem}")
    _check_model(request)
    with StagedFolder(request.model.folder, request.output, before_staging) as staged:
        run = _QuantizeRun(request, staged, progress, cancelled, skipped)
        check = run.run()
        is_kept = check.passed or request.keep_failed
        if is_kept:
            staged.keep()
    return QuantizeReport(request, check, tuple(run.steps), request.output if is_kept else None)


def _check_model(request: QuantizeRequest) -> None:
    """Refuse a model that cannot be quantized before any step that takes long."""
    model = request.model
    if "fp32" not in model.variants:
        raise ModelError(
            f"model {model.name}: expected an fp32 variant to derive {request.precision} from, "
            "got none; add one to its model.yaml"
        )
    own = model.variants.get(request.precision)
    if own is not None:
        raise ModelError(
            f"model {model.name}: it has its own file for {request.precision} "
            f"({own.file.name}), which engines use instead; remove that variant from its model.yaml"
        )
    source = model.variants["fp32"]
    source.verify()
    require_unquantized(source.file, request.precision)
    if request.keep_fp32:
        named_nodes(fold(source.file), request.keep_fp32, str(source.file))


class CalibrationSplit:
    """Yields the images to measure on; ``held_out`` collects the images for the check."""

    def __init__(
        self,
        source: str,
        topic: str = "",
        max_images: int = DEFAULT_IMAGES,
        skipped: SkippedCallback | None = None,
    ) -> None:
        """Take what ``calibration_images`` takes; at most ``max_images`` are measured."""
        self.held_out: list[Frame] = []
        self._source = source
        self._topic = topic
        self._max_images = max_images
        self._skipped = skipped

    def __iter__(self) -> Iterator[Frame | CompressedFrame]:
        max_held_out = min(-(-self._max_images // (HELD_OUT_EVERY - 1)), MAX_HELD_OUT)
        limit = self._max_images + max_held_out
        images = calibration_images(self._source, self._topic, limit, self._skipped)
        for index, image in enumerate(images):
            is_held_out = index % HELD_OUT_EVERY == _FIRST_HELD_OUT
            if is_held_out and len(self.held_out) < MAX_HELD_OUT:
                self.held_out.append(decode_frame(image))
            else:
                yield image


class _QuantizeRun:
    """Runs all steps of one request."""

    def __init__(
        self,
        request: QuantizeRequest,
        staged: StagedFolder,
        progress: Progress,
        cancelled: Cancelled,
        skipped: SkippedCallback | None,
    ) -> None:
        self._request = request
        self._staged = staged
        self._progress = progress
        self._cancelled = cancelled
        self._images = CalibrationSplit(
            request.calibration or "", request.topic, request.max_images, skipped
        )
        self.steps: list[str] = []

    def run(self) -> DerivedModelCheck:
        """Measure, derive, compare; export if requested and the result is kept."""
        request = self._request
        model = self._calibrate_int8() if request.precision == "int8" else self._find_overflows()
        self._progress("deriving", _MEASURED)
        candidate = self._staged.folder.parent / "derived.onnx"
        self.steps.append(self._derive(model, "onnxruntime", candidate).summary())
        check = check_derived_model(
            model,
            request.precision,
            candidate,
            self._images.held_out,
            self._report_compared,
            self._cancelled,
        )
        if request.export is not None and (check.passed or request.keep_failed):
            report = self._derive(model, request.target, request.export)
            self.steps.append(f"exported: {request.export}, {report.summary()}")
        return check

    def _calibrate_int8(self) -> ModelDescription:
        request = self._request
        source = f"{Path(request.calibration or '').name} {request.topic}".strip()
        calibration = calibrate_model(
            request.model,
            self._images,
            source,
            request.method,
            self._report_measured,
            cancelled=self._cancelled,
        )
        calibration.save(self._staged.folder / CALIBRATION_FILE)
        self.steps.append(
            f"calibrated on {calibration.image_count} images of {source} "
            f"({calibration.method}), {len(self._images.held_out)} held out"
        )
        if calibration.image_count < RECOMMENDED_IMAGES:
            self.steps.append(
                f"{calibration.image_count} images are few: give at least {RECOMMENDED_IMAGES} "
                "that are typical of what the model will see"
            )
        keep = (*request.model.derive.int8_keep_fp32, *request.keep_fp32)
        values: dict[str, Value] = {"calibration": CALIBRATION_FILE}
        if keep:
            values["int8_keep_fp32"] = list(dict.fromkeys(keep))
        return self._staged.write_derivation(values)

    def _find_overflows(self) -> ModelDescription:
        request = self._request
        model = request.model
        is_golden = request.calibration is None
        images = self_check_images(model) if is_golden else self._images
        overflows = find_overflows(
            model.variants["fp32"].file,
            model.input.name,
            preprocess_images(images, model.input),
            self._report_measured,
            cancelled=self._cancelled,
            description=model,
        )
        source = str(request.calibration)
        if is_golden:
            source = "the golden images" if model.golden else "a generated image"
        nodes = ", ".join(f"{name} ({value:.3g})" for name, value in overflows.items())
        self.steps.append(f"nodes whose values do not fit fp16 on {source}: {nodes or 'none'}")
        keep = (*model.derive.fp16_keep_fp32, *request.keep_fp32, *overflows)
        return self._staged.write_derivation({"fp16_keep_fp32": list(dict.fromkeys(keep))})

    def _derive(self, model: ModelDescription, target: str, destination: Path) -> DeriveReport:
        return derive_model(model, self._request.precision, target, destination)

    def _report_measured(self, count: int) -> None:
        fraction = min(count / self._request.max_images, 1.0)
        self._progress(f"measuring, {count} images", _MEASURED * fraction)

    def _report_compared(self, fraction: float) -> None:
        self._progress("comparing with fp32", _DERIVED + (1 - _DERIVED) * fraction)
