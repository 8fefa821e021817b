"""``edge-inference quantize``: from a model and images to one that computes in int8 or fp16."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_inference.cli.exit_status import UsageError, print_error
from edge_inference.cli.models.quantize_report import QuantizeResult, compare, print_outcome
from edge_inference.cli.models.quantized_folder import CALIBRATION_FILE, StagedFolder, new_folder
from edge_inference.cli.models.yaml_edit import Value
from edge_inference.cli.perception.run_options import search_path
from edge_inference.cli.progress import ProgressDisplay, show_progress
from edge_inference.cli.signals import cancel_on_signal
from edge_inference.core.images import compressed
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.models.model import ModelDescription, find_model
from edge_inference.core.models.self_check import self_check_images
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.derive import DeriveReport, derive
from edge_inference.engines.precision.exclude import named_nodes
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.ranges import METHODS
from edge_inference.errors import ModelError
from edge_inference.optimize.calibrate import DEFAULT_METHOD, calibrate_model, tensors
from edge_inference.optimize.calibration_images import calibration_images
from edge_inference.optimize.overflow import find_overflows

#: Every so many images one is held out of the calibration, up to so many in all.
HELD_OUT_EVERY = 5
MOST_HELD_OUT = 32
#: With fewer than so many images the ranges follow those few.
FEW_IMAGES = 50
_FIRST_HELD_OUT = 2
# Parts of the whole, for the bar: the images take nearly all of the time.
_MEASURED, _DERIVED = 0.7, 0.75

Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class QuantizeOptions:
    """What ``quantize`` was asked for; None is "not given"."""

    model: str
    model_path: str
    precision: str
    calibration: str | None
    topic: str
    images: int
    method: str | None
    keep_fp32: tuple[str, ...]
    output: str
    export: str | None
    target: str | None
    force: bool

    def check(self) -> None:
        """Raise UsageError for options that do not go together or would have no effect."""
        if self.precision == "int8" and self.calibration is None:
            raise UsageError("int8 needs --calibration: images as the model will see them")
        if self.precision != "int8" and self.method is not None:
            raise UsageError(f"--method is for int8; {self.precision} has no ranges")
        if self.method is not None and self.method not in METHODS:
            raise UsageError(f"--method: expected one of {', '.join(METHODS)}, got {self.method!r}")
        if self.topic and self.calibration is None:
            raise UsageError("--topic is a topic of the bag that --calibration names")
        if self.target is not None and self.export is None:
            raise UsageError("--for says what --export-onnx FILE is for; name the file")
        if self.export is not None and not Path(self.export).absolute().parent.is_dir():
            raise UsageError(f"--export-onnx {self.export}: its folder does not exist")
        if self.export is not None and Path(self.export).is_dir():
            raise UsageError(f"--export-onnx {self.export}: this is a folder; name a file")


class _Images:
    """The images to measure on; every fifth is kept out for the check."""

    def __init__(self, order: QuantizeOptions) -> None:
        self.held_out: list[Frame] = []
        self._order = order

    def __iter__(self) -> Iterator[Frame | CompressedFrame]:
        order = self._order
        assert order.calibration is not None
        most = order.images + min(-(-order.images // (HELD_OUT_EVERY - 1)), MOST_HELD_OUT)
        found = calibration_images(order.calibration, order.topic, most, _tell)
        for number, image in enumerate(found):
            is_turn = number % HELD_OUT_EVERY == _FIRST_HELD_OUT
            if is_turn and len(self.held_out) < MOST_HELD_OUT:
                self.held_out.append(_decoded(image))
            else:
                yield image


def quantize(order: QuantizeOptions, as_json: bool) -> int:
    """Measure, write the folder, check what came of it; return the exit code.

    Raises EdgeInferenceError for what keeps it from being made, and ModelError
    with the figures where it is not close enough to fp32.
    """
    order.check()
    model = find_model(order.model, search_path(order.model_path))
    output = new_folder(order.output, model)
    _check_model(model, order)
    title = f"quantizing {model.name}"
    with cancel_on_signal() as cancelled, StagedFolder(model.folder, output) as staged:
        with show_progress(title, sys.stdout, as_json) as progress:
            outcome = _Quantization(model, order, staged, progress, cancelled).run()
        kept = outcome.passed or order.force
        if kept:
            staged.keep()
        print_outcome(outcome, output if kept else None, as_json)
    if not outcome.passed:
        raise ModelError(_refusal(model, order, outcome, output))
    return 0


def _check_model(model: ModelDescription, order: QuantizeOptions) -> None:
    """Say before anything takes long what would end it."""
    if "fp32" not in model.variants:
        raise ModelError(
            f"model {model.name}: other precisions are derived from its fp32 variant, and it has "
            "none; add one to its model.yaml"
        )
    own = model.variants.get(order.precision)
    if own is not None:
        raise ModelError(
            f"model {model.name}: it has a file of its own for {order.precision} "
            f"({own.file.name}), which engines would take; remove that variant from its model.yaml"
        )
    source = model.variants["fp32"]
    source.verify()
    if order.keep_fp32:
        named_nodes(fold(source.file), order.keep_fp32, str(source.file))


class _Quantization:
    """One run through all steps."""

    def __init__(
        self,
        model: ModelDescription,
        order: QuantizeOptions,
        staged: StagedFolder,
        progress: ProgressDisplay,
        cancelled: Cancelled,
    ) -> None:
        self._model = model
        self._order = order
        self._staged = staged
        self._progress = progress
        self._cancelled = cancelled
        self._images = _Images(order)
        self._steps: list[str] = []

    def run(self) -> QuantizeResult:
        """Measure, derive, compare; export where that was asked for and deserved."""
        made = self._int8() if self._order.precision == "int8" else self._fp16()
        self._progress("deriving", _MEASURED)
        candidate = self._staged.folder.parent / "derived.onnx"
        self._steps.append(self._derive(made, "onnxruntime", candidate).summary())
        outcome = compare(
            made,
            self._order.precision,
            candidate,
            self._images.held_out,
            self._compared,
            self._cancelled,
        )
        export = self._order.export
        if export is not None and (outcome.passed or self._order.force):
            report = self._derive(made, self._order.target or "onnxruntime", Path(export))
            self._steps.append(f"exported: {export}, {report.summary()}")
        return outcome.with_steps(self._steps)

    def _int8(self) -> ModelDescription:
        order = self._order
        described = f"{Path(order.calibration or '').name} {order.topic}".strip()
        calibration = calibrate_model(
            self._model,
            self._images,
            described,
            order.method or DEFAULT_METHOD,
            self._measured,
            cancelled=self._cancelled,
        )
        calibration.save(self._staged.folder / CALIBRATION_FILE)
        self._steps.append(
            f"calibrated on {calibration.image_count} images of {described} "
            f"({calibration.method}), {len(self._images.held_out)} held out"
        )
        if calibration.image_count < FEW_IMAGES:
            self._steps.append(
                f"{calibration.image_count} images are few: give {FEW_IMAGES} or more, "
                "as typical as they can be"
            )
        keep = (*self._model.derive.int8_keep_fp32, *order.keep_fp32)
        values: dict[str, Value] = {"calibration": CALIBRATION_FILE}
        if keep:
            values["int8_keep_fp32"] = list(dict.fromkeys(keep))
        return self._staged.write_derivation(values)

    def _fp16(self) -> ModelDescription:
        order, spec = self._order, self._model.input
        own = order.calibration is None
        images = self_check_images(self._model) if own else self._images
        overflows = find_overflows(
            self._model.variants["fp32"].file,
            spec.name,
            tensors(images, spec),
            self._measured,
            cancelled=self._cancelled,
        )
        where = "the golden images" if own else str(order.calibration)
        listing = ", ".join(f"{name} ({value:.3g})" for name, value in overflows.items())
        self._steps.append(f"values too large for fp16 on {where}: {listing or 'at no node'}")
        keep = (*self._model.derive.fp16_keep_fp32, *order.keep_fp32, *overflows)
        return self._staged.write_derivation({"fp16_keep_fp32": list(dict.fromkeys(keep))})

    def _derive(self, made: ModelDescription, target: str, destination: Path) -> DeriveReport:
        precision, ranges = self._order.precision, None
        if precision == "int8" and made.calibration is not None:
            ranges = Calibration.load(made.calibration)
        return derive(
            made.variants["fp32"].file,
            precision,
            target,
            destination,
            keep_fp32=made.derive.keep_fp32(precision),
            calibration=ranges,
        )

    def _measured(self, count: int) -> None:
        share = min(count / self._order.images, 1.0)
        self._progress(f"measuring, {count} images", _MEASURED * share)

    def _compared(self, share: float) -> None:
        self._progress("comparing with fp32", _DERIVED + (1 - _DERIVED) * share)


def _decoded(image: Frame | CompressedFrame) -> Frame:
    if isinstance(image, Frame):
        return image
    pixels, order = compressed.decode(image)
    encoding = {"gray": "mono8", "bgr": "bgr8", "bgra": "bgra8"}[order]
    return Frame.from_array(pixels, encoding, image.stamp_ns, image.frame_id)


def _refusal(
    model: ModelDescription, order: QuantizeOptions, outcome: QuantizeResult, output: Path
) -> str:
    kept = f"{output} is kept all the same" if order.force else "nothing is kept (--force keeps it)"
    return (
        f"model {model.name} in {order.precision}: {outcome.why()}; find the layers "
        "that lose most with edge-inference bisect and name them with --keep-fp32, calibrate on "
        "other images or with another --method, or change the thresholds in self_check of "
        f"model.yaml; {kept}"
    )


def _tell(sentence: str) -> None:
    print_error(sentence)
