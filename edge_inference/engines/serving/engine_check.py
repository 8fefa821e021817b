"""Checks an opened engine: the golden check on images, then the self-check on numbers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.images.frame import Frame
from edge_inference.core.measured_costs import Measurement
from edge_inference.core.models.golden_check import InferFunction, run_golden_check
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import run_self_check, self_check_images
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import Cancelled
from edge_inference.engines.precision.int8_mode import FAST
from edge_inference.engines.precision.used_precision import main_precision
from edge_inference.engines.serving.cost_recording import (
    Report,
    TimedRuns,
    configuration_of,
    engine_configuration,
    record_costs,
)
from edge_inference.engines.serving.selection import Selection, fallback
from edge_inference.errors import BackendError, CancelledError, ModelError

#: TensorRT records its CUDA graph in the second run.
_FIRST_RUNS = 2


@dataclass(frozen=True)
class EngineCheck:
    """The result of the checks: notes for diagnostics, and the failures of checks that only warn.

    ``precision`` is the precision that the engine really computes in, None where it is unknown.
    ``timed`` are the self-check's inferences on the engine and on the reference.
    """

    notes: Mapping[str, str]
    warnings: tuple[str, ...]
    precision: str | None = None
    timed: tuple[TimedRuns, TimedRuns] | None = None


def check_engine(
    selection: Selection,
    backend: Backend,
    *,
    golden: str = "refuse",
    agreement: str = "refuse",
    cancelled: Cancelled = lambda: False,
) -> EngineCheck:
    """Check an opened engine. ``golden`` and ``agreement`` are "refuse", "warn" or "off".

    The golden check compares the results with those in the model folder. The self-check
    compares the numbers with ONNX Runtime in fp32 on the CPU; it does not run where that
    reference is the engine itself. Raises ModelError with the figures where a check with
    policy "refuse" fails, and CancelledError before the next inference once ``cancelled``
    returns True.
    """
    model = selection.request.model
    notes: dict[str, str] = {}
    warnings: list[str] = []

    def unless_cancelled(infer: InferFunction) -> InferFunction:
        def run(inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
            if cancelled():
                raise CancelledError(f"the checks of model {model.name}: cancelled")
            return infer(inputs)

        return run

    infer = unless_cancelled(backend.infer)
    hint = "set int8_mode to exact, or " if selection.int8_mode == FAST else ""
    threads = selection.request.threads
    timed = None

    def report(name: str, policy: str, passed: bool, summary: str, parameter: str) -> None:
        notes[name] = summary
        if passed:
            return
        sentence = f"model {model.name} on {backend.describe()}: {summary}"
        if parameter:
            sentence += f"; {hint}set {parameter} to warn to run it nevertheless"
        if policy != "warn":  # an unknown policy refuses, too
            raise ModelError(sentence)
        warnings.append(sentence)

    if selection.name == "null":
        return EngineCheck({}, ())
    if model.input.batch > 1:
        notes["batch"] = (
            f"batch: one image fills the fixed batch of {model.input.batch}, so an inference costs "
            f"as much as {model.input.batch}; export the model with batch 1 to avoid that"
        )
    if golden != "off":
        found = run_golden_check(model, infer)
        # Where outputs cannot be decoded, running it nevertheless gives no result.
        parameter = "golden_check" if found.has_results else ""
        report("golden check", golden, found.passed, found.summary(), parameter)
    if agreement != "off" and not _is_reference(selection) and "fp32" in model.variants:
        with reference_backend(model, threads) as expected:
            candidate = TimedRuns.of(selection, infer)
            reference = TimedRuns(unless_cancelled(expected.infer), by_cpu=threads == 1)
            compared = run_self_check(model, reference, candidate, self_check_images(model))
            timed = candidate, reference
        report("self-check", agreement, not compared.reasons, compared.summary(), "self_check")
    return EngineCheck(notes, tuple(warnings), _precision(selection, backend), timed)


def record_check(
    selection: Selection, checked: EngineCheck, cache: ArtifactCache, report: Report
) -> Measurement | None:
    """Record the times of the self-check's inferences; None where there were too few.

    The self-check runs the engine and the reference interleaved.
    """
    if checked.timed is None:
        return None
    request = fallback(selection.request)
    configurations = (
        configuration_of(selection, cache),
        engine_configuration(request, request.backend, "fp32", cache),
    )
    samples = {
        configuration: runs.samples()
        for configuration, runs in zip(configurations, checked.timed, strict=True)
    }
    return record_costs(cache, "self-check", samples, report)


def warm_up(model: ModelDescription, backend: Backend) -> None:
    """Run an engine's first inferences, which are slow, before it serves."""
    spec = model.input
    image = Frame.from_array(np.zeros((2, 2, 3), np.uint8))
    for _ in range(_FIRST_RUNS):
        if [tensor.name for tensor in backend.inputs] == [spec.name]:
            backend.infer({spec.name: np.zeros(spec.shape, spec.dtype)})
        if backend.takes_image(image, spec):
            backend.infer_image(image, spec)


def reference_backend(model: ModelDescription, threads: int = 1) -> Backend:
    """Return the reference of the self-check, not open yet: ONNX Runtime in fp32 on the CPU."""
    file = model.variants["fp32"].file
    return OrtBackend(file, threads=threads, precision="fp32").fit_to(model)


def _precision(selection: Selection, backend: Backend) -> str | None:
    if backend.precision_in_use is not None or not isinstance(backend, OrtBackend):
        return backend.precision_in_use
    if selection.name == "ort" and selection.precision != "fp32":
        with suppress(BackendError):  # unknown without the package onnx
            return main_precision(backend.file)
    return None


def _is_reference(selection: Selection) -> bool:
    return (selection.name, selection.precision) == ("ort", "fp32")
