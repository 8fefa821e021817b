"""``edge-inference quantize``: checks the options, runs the work, prints the report."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from edge_inference.cli.bounded_run import remove_with_child
from edge_inference.cli.exit_status import UsageError, print_error
from edge_inference.cli.models.quantize_format import print_ptq_report, print_report
from edge_inference.cli.perception.run_options import search_path
from edge_inference.cli.progress import show_progress
from edge_inference.cli.signals import cancel_on_signal
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.precision.ranges import METHODS
from edge_inference.errors import ModelError
from edge_inference.optimize.calibrate import DEFAULT_METHOD
from edge_inference.optimize.quantization.ptq_report import PtqRequest, compare_ptq
from edge_inference.optimize.quantize import QuantizeReport, QuantizeRequest, quantize
from edge_inference.optimize.quantized_folder import find_output_problem


@dataclass(frozen=True)
class QuantizeOptions:
    """Options of ``quantize``; None for an option that was not given."""

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
    data: str | None = None

    def check(self) -> None:
        """Raise UsageError for options that exclude each other or would have no effect."""
        if self.precision == "int8" and self.calibration is None:
            raise UsageError("int8 needs --calibration: images as the model will see them")
        if self.precision != "int8" and self.method is not None:
            raise UsageError(f"--method is for int8; {self.precision} has no ranges")
        if self.method is not None and self.method not in METHODS:
            raise UsageError(f"--method: expected one of {', '.join(METHODS)}, got {self.method!r}")
        if self.data is not None and self.output:
            raise UsageError("--data needs --report: --output measures no accuracy")
        if self.topic and self.calibration is None:
            raise UsageError("--topic needs --calibration: the bag that has the topic")
        if self.target is not None and self.export is None:
            raise UsageError("--for needs --export-onnx FILE: the file that the target is for")
        if self.export is not None and not Path(self.export).absolute().parent.is_dir():
            raise UsageError(f"--export-onnx {self.export}: its folder does not exist")
        if self.export is not None and Path(self.export).is_dir():
            raise UsageError(f"--export-onnx {self.export}: this is a folder; name a file")

    def request(self) -> QuantizeRequest:
        """Return the request. Raises UsageError, and ModelError for an unknown model."""
        model = find_model(self.model, search_path(self.model_path))
        self.check()
        return QuantizeRequest(
            model,
            self._output_folder(model),
            self.precision,
            self.calibration,
            self.topic,
            self.images,
            self.method or DEFAULT_METHOD,
            self.keep_fp32,
            None if self.export is None else Path(self.export),
            self.target or "onnxruntime",
            self.force,
        )

    def report_request(self) -> PtqRequest:
        """Return the request of ``--report``. Raises UsageError, and what opening the data does."""
        if self.precision != "int8":
            raise UsageError(f"--report compares int8; remove --precision {self.precision}")
        for option, value in (("--export-onnx", self.export), ("--force", self.force or None)):
            if value is not None:
                raise UsageError(f"{option} needs --output: --report writes nothing")
        self.check()
        model = find_model(self.model, search_path(self.model_path))
        labeled = None
        if self.data is not None:
            from edge_inference.optimize.training.dataset_sources import open_dataset

            labeled = open_dataset(self.data, model.input)
        return PtqRequest(
            model,
            self.calibration or "",
            self.topic,
            self.images,
            METHODS if self.method is None else (self.method,),
            labeled,
            keep_fp32=self.keep_fp32,
        )

    def _output_folder(self, model: ModelDescription) -> Path:
        try:
            folder = Path(self.output).expanduser()
        except RuntimeError as error:
            raise UsageError(f"--output {self.output}: no such user on this machine") from error
        problem = find_output_problem(folder, model)
        if problem is not None:
            raise UsageError(f"--output {self.output}: {problem}")
        return folder


def quantize_model(options: QuantizeOptions, as_json: bool) -> int:
    """Quantize, print the report, and return the exit code.

    Raises EdgeInferenceError if the work fails, and ModelError with the figures if the result
    is not close enough to fp32.
    """
    request = options.request()
    title = f"quantizing {request.model.name}"
    with cancel_on_signal() as cancelled:
        with show_progress(title, sys.stdout, as_json) as progress:
            report = quantize(
                request,
                progress,
                cancelled,
                skipped=print_error,
                before_staging=remove_with_child,
            )
        print_report(report, as_json)
    if not report.passed:
        raise ModelError(_failure(report))
    return 0


def report_quantization(options: QuantizeOptions, as_json: bool) -> int:
    """Compare fp32 and int8, print the report, and return the exit code."""
    request = options.report_request()
    title = f"comparing {request.model.name}"
    with cancel_on_signal() as cancelled:
        with show_progress(title, sys.stdout, as_json) as progress:
            report = compare_ptq(request, progress, cancelled, skipped=print_error)
        print_ptq_report(report, as_json)
    return 0


def _failure(report: QuantizeReport) -> str:
    request = report.request
    outcome = (
        f"{request.output} is kept because of --force"
        if report.folder is not None
        else "no folder was kept (--force keeps it)"
    )
    hint = ""
    if report.check.is_checked:
        is_faint = any(row.report.is_faint for row in report.check.rows)
        images = "give images in which the model finds something, " if is_faint else ""
        other = "calibrate on other images or with another --method, "
        hint = (
            f"{images}find the layers that lose most with edge-inference bisect and name them with "
            f"--keep-fp32, {other if request.precision == 'int8' else ''}or change the thresholds "
            "in self_check of model.yaml; "
        )
    return (
        f"model {request.model.name} in {request.precision}: {report.check.first_reason()}; "
        f"{hint}{outcome}"
    )
