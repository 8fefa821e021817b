"""What a model folder is worth in one precision: accuracy, time, size and the self-check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.measured_costs import Spread
from edge_inference.core.models.golden_check import run_golden_check
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import run_self_check, self_check_images
from edge_inference.core.onnx_format.onnx_files import model_size
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import Cancelled, Progress, onnx_for
from edge_inference.engines.precision.int8_mode import INT8_MODES, mode_in_use, weight_bits
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.onnx_timing import measure_files
from edge_inference.optimize.recipe.target import MARGIN, RecipeTarget
from edge_inference.optimize.training.evaluate import evaluate_engine
from edge_inference.optimize.training.labeled_dataset import LabeledDataset

#: Times several ONNX files as :func:`~edge_inference.optimize.onnx_timing.measure_files` does.
MeasureFiles = Callable[..., dict[str, Spread]]

_REFERENCE, _POINT = "reference", "point"


@dataclass(frozen=True)
class Deployment:
    """A model folder, and the precision in which it runs.

    ``int8_mode`` is None where this machine has only one.
    """

    model: ModelDescription
    precision: str
    int8_mode: str | None = None

    @property
    def name(self) -> str:
        """Return the precision, with the form of int8 where there are two."""
        return f"{self.precision} {self.int8_mode}" if self.int8_mode else self.precision

    def make_file(self, cache: ArtifactCache, progress: Progress, cancelled: Cancelled) -> Path:
        """Return the file that ONNX Runtime opens; derive it first if needed."""
        bits = weight_bits(self.int8_mode) if self.int8_mode else weight_bits(INT8_MODES[0])
        artifact = onnx_for(self.model, self.precision, "onnxruntime", bits)
        return artifact.make(cache, progress, cancelled)


@dataclass(frozen=True)
class MeasuredPoint:
    """A deployment and what was measured of it.

    ``time`` and ``reference_time`` are seconds of one inference, from one measurement, in which
    the network in fp32 was the reference; ``bytes`` is the size of the file that runs.
    ``problems`` are the reasons for which the self-check fails. ``is_confirmed`` tells that a
    second measurement, made because the first was close to the target, met it too; the times are
    then those of the slower one. It is None where none was needed.
    """

    deployment: Deployment
    accuracy: MeasuredAccuracy
    time: Spread
    reference_time: Spread
    bytes: int
    problems: tuple[str, ...] = ()
    is_confirmed: bool | None = None

    @property
    def speedup(self) -> float:
        """Return the speed over that of the reference, by the medians."""
        return self.reference_time.median_s / self.time.median_s

    def meets(self, target: RecipeTarget, floor: float) -> bool:
        """Tell whether the point meets the target, with some time to spare."""
        is_fast = target.is_fast_enough(self.time, self.reference_time, MARGIN)
        return self.keeps(floor) and is_fast and self.is_confirmed is not False

    def keeps(self, floor: float) -> bool:
        """Tell whether the point is accurate enough and passes the self-check."""
        return not self.problems and self.accuracy.share >= floor

    def figures(self) -> dict[str, Any]:
        """Return the measured figures for JSON."""
        return {
            "precision": self.deployment.precision,
            "int8_mode": self.deployment.int8_mode,
            "correct": self.accuracy.correct,
            "images": self.accuracy.total,
            "accuracy": self.accuracy.share,
            "median_ms": self.time.median_s * 1e3,
            "p95_ms": self.time.p95_s * 1e3,
            "reference_median_ms": self.reference_time.median_s * 1e3,
            "reference_p95_ms": self.reference_time.p95_s * 1e3,
            "speedup": self.speedup,
            "bytes": self.bytes,
            "problems": list(self.problems),
            "is_confirmed": self.is_confirmed,
        }

    @classmethod
    def of_figures(cls, deployment: Deployment, figures: Mapping[str, Any]) -> MeasuredPoint:
        """Return the point of stored figures."""
        return cls(
            deployment,
            MeasuredAccuracy(figures["correct"], figures["images"]),
            Spread(figures["median_ms"] / 1e3, figures["p95_ms"] / 1e3),
            Spread(figures["reference_median_ms"] / 1e3, figures["reference_p95_ms"] / 1e3),
            figures["bytes"],
            tuple(figures["problems"]),
            figures["is_confirmed"],
        )

    def describe(self, *, is_reference: bool = False) -> str:
        """Return the figures as text; the reference has no speed-up."""
        confirmed = {None: "", True: ", measured twice", False: ", not met a second time"}
        faster = "" if is_reference else f", {self.speedup:.2f} times as fast as fp32"
        text = (
            f"{self.deployment.name}: accuracy {self.accuracy.share:.1%} of "
            f"{self.accuracy.total}, {self.time.median_s * 1e3:.3g} ms{faster}"
            f"{confirmed[self.is_confirmed]}, {self.bytes / 1e3:.0f} kB"
        )
        return f"{text}; {'; '.join(self.problems)}" if self.problems else text


@dataclass(frozen=True)
class PointMeter:
    """Measures deployments against the network in fp32 (``reference``) on labeled images."""

    reference: ModelDescription
    dataset: LabeledDataset
    target: RecipeTarget
    cache: ArtifactCache
    measure: MeasureFiles = measure_files

    def __call__(
        self, deployment: Deployment, progress: Progress, cancelled: Cancelled
    ) -> MeasuredPoint:
        """Measure; a time close to the target is measured a second time.

        Raises what opening a model and an inference raise, CancelledError soon after
        ``cancelled`` returns True.
        """
        fp32 = Deployment(self.reference, "fp32")
        files = {
            _REFERENCE: fp32.make_file(self.cache, progress, cancelled),
            _POINT: deployment.make_file(self.cache, progress, cancelled),
        }
        accuracy, problems = self._check(deployment, files[_POINT], progress, cancelled)
        times = self._time(deployment, files, progress)
        confirmed = None
        found = times[_POINT], times[_REFERENCE]
        if self.target.is_fast_enough(*found) and self.target.is_doubtful(*found):
            again = self._time(deployment, files, progress)
            second = again[_POINT], again[_REFERENCE]
            confirmed = self.target.is_fast_enough(*second)
            found = max(found, second, key=lambda pair: pair[0].median_s / pair[1].median_s)
        return MeasuredPoint(
            deployment, accuracy, *found, model_size(files[_POINT]), problems, confirmed
        )

    def _check(
        self, deployment: Deployment, file: Path, progress: Progress, cancelled: Cancelled
    ) -> tuple[MeasuredAccuracy, tuple[str, ...]]:
        model = deployment.model
        with ExitStack() as stack:
            backend = stack.enter_context(
                OrtBackend(file, precision=deployment.precision).fit_to(model)
            )
            accuracy = evaluate_engine(
                lambda inputs: backend.infer(
                    {name: for_graph(images, model.input) for name, images in inputs.items()}
                ),
                model.input.name,
                self.dataset,
                progress,
                cancelled,
            )
            golden = run_golden_check(model, backend.infer)
            problems = [] if golden.passed else list(golden.reasons)
            if deployment.precision != "fp32":
                source = model.variants["fp32"].file
                fp32 = stack.enter_context(OrtBackend(source, precision="fp32").fit_to(model))
                check = run_self_check(model, fp32.infer, backend.infer, self_check_images(model))
                problems += check.reasons
        return accuracy, tuple(problems)

    def _time(
        self, deployment: Deployment, files: Mapping[str, Path], progress: Progress
    ) -> dict[str, Spread]:
        images, _ = self.dataset.load([0])
        inputs = {
            name: {model.input.name: for_graph(images, model.input)}
            for name, model in ((_REFERENCE, self.reference), (_POINT, deployment.model))
        }
        return self.measure(
            files,
            inputs,
            self.target.runs,
            lambda fraction: progress("measuring the time", fraction),
            threads=self.target.threads,
        )


def deployments_of(model: ModelDescription, precision: str) -> list[Deployment]:
    """Return the forms of a precision that this machine has."""
    if precision != "int8":
        return [Deployment(model, precision)]
    modes = dict.fromkeys(mode_in_use(weight_bits(mode)) for mode in INT8_MODES)
    return [Deployment(model, precision, mode) for mode in modes]


def for_graph(images: NDArray[Any], spec: InputSpec) -> NDArray[Any]:
    """Return images ``(N, C, H, W)`` in the order of axes and the type of a model's graph."""
    axes = (0, 1, 2, 3) if spec.is_planar else (0, 2, 3, 1)
    return np.ascontiguousarray(images.transpose(axes), dtype=spec.dtype)
