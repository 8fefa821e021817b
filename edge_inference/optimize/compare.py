"""Compares engines for models: each backend in each precision, against ONNX Runtime in fp32.

All engines are open at once and their inferences are interleaved, so that a busy machine slows
all of them alike. An engine that cannot run here is a row with the reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.core.engine_configuration import EngineConfiguration
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.measured_costs import MeasuredCosts, Samples
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import run_self_check
from edge_inference.core.models.variants import PRECISIONS
from edge_inference.core.onnx_format.onnx_files import model_size
from edge_inference.core.results import Classification
from edge_inference.core.settings import suggestion
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import Cancelled, Progress, default_cache
from edge_inference.engines.cache.cost_cache import CostCache
from edge_inference.engines.interleaved_timing import time_interleaved
from edge_inference.engines.precision.int8_mode import (
    EXACT,
    INT8_MODES,
    mode_in_use,
    weight_bits,
)
from edge_inference.engines.precision.used_precision import onnxruntime_precisions
from edge_inference.engines.serving.backend_table import BACKENDS, EngineRequest
from edge_inference.engines.serving.cost_recording import configuration_of, record_costs
from edge_inference.engines.serving.selection import prepare
from edge_inference.errors import (
    BackendError,
    CancelledError,
    ConfigError,
    EdgeInferenceError,
    ModelError,
    TensorError,
)
from edge_inference.optimize.comparison import (
    REFERENCE,
    CompareRow,
    Comparison,
    MeasuredAccuracy,
)
from edge_inference.optimize.engine_timing import EnergyMeter, EngineTiming
from edge_inference.optimize.images.image_set import ImageSet
from edge_inference.optimize.memoized_engine import MemoizedEngine

_INT8_ON_CPU = ("ort", "int8")
DEFAULT_RUNS = 50

#: Most images of one inference.
MAX_BATCH = 256


def comparable_backends() -> tuple[str, ...]:
    """Return the backends that can be compared; that of the reference comes first."""
    return ("ort", *(name for name in BACKENDS.rows() if name not in ("null", "ort")))


@dataclass(frozen=True)
class CompareRequest:
    """What to compare.

    ``runs`` is the number of timed inferences of each engine. ``threads`` and ``int8_modes``
    apply to engines on the CPU. ``batches`` are numbers of images of one inference, timed besides
    1. Without ``records_costs`` the cache does not get the costs, since nodes could not use them:
    those of another input size than the one in model.yaml. Raises ConfigError for an unknown name
    or an impossible batch.
    """

    model: ModelDescription
    images: ImageSet
    backends: Sequence[str] = dataclasses.field(default_factory=comparable_backends)
    precisions: Sequence[str] = PRECISIONS
    runs: int = DEFAULT_RUNS
    threads: int = 1
    gpu: int = 0
    int8_modes: Sequence[str] = (EXACT,)
    batches: Sequence[int] = (1,)
    records_costs: bool = True

    def __post_init__(self) -> None:
        for field_name, names, known in (
            ("backends", self.backends, comparable_backends()),
            ("precisions", self.precisions, PRECISIONS),
            ("int8_modes", self.int8_modes, INT8_MODES),
        ):
            for name in names:
                if name not in known:
                    raise ConfigError(f"{field_name}: {name!r} is unknown{suggestion(name, known)}")
        for batch in self.batches:
            if not 1 <= batch <= MAX_BATCH:
                raise ConfigError(f"batches: expected 1 to {MAX_BATCH} images, got {batch}")

    def candidates(self) -> list[tuple[str, str, str | None]]:
        """Return each backend, precision and int8 mode once, the reference first.

        The mode is None where this machine has only one.
        """
        pairs = [(backend, name) for backend in self.backends for name in self.precisions]
        modes = [mode_in_use(weight_bits(mode)) for mode in self.int8_modes]
        candidates = [
            (*pair, mode)
            for pair in (REFERENCE, *pairs)
            for mode in (modes if pair == _INT8_ON_CPU else (None,))
        ]
        return list(dict.fromkeys(candidates))


def compare(
    request: CompareRequest,
    cache: ArtifactCache | None = None,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> Comparison:
    """Prepare, check and time every candidate, and store the costs in the cache.

    Files that an engine needs are built if they are missing, however long that takes. Raises
    BackendError or ModelError if the reference cannot run, and CancelledError soon
    after ``cancelled`` returns True.
    """
    (comparison,) = compare_models((request,), cache, progress, cancelled)
    return comparison


def compare_models(
    requests: Sequence[CompareRequest],
    cache: ArtifactCache | None = None,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    energy_meter: EnergyMeter | None = None,
) -> tuple[Comparison, ...]:
    """Compare as :func:`compare` does, with the engines of all requests timed in the same rounds.

    Times of different models can be compared then, too. The number of rounds is the largest
    ``runs``. With ``energy_meter`` each engine runs alone afterwards for more than a second.
    """
    for request in requests:
        if "fp32" not in request.model.variants:
            raise ModelError(
                f"model {request.model.name} has no fp32 variant, which is the reference; "
                "add one to its model.yaml"
            )
    with ExitStack() as stack:
        runs = [
            _CompareRun(request, cache or default_cache(), stack, progress, cancelled)
            for request in requests
        ]
        rows = [run.check_all() for run in runs]
        timings = _time(runs, energy_meter, progress)
    return tuple(
        Comparison(
            run.request.model,
            run.request.images,
            run.request.runs,
            run.request.threads,
            tuple(dataclasses.replace(row, **figures.get(row.name, {})) for row in checked),
            tuple(run.problems),
        )
        for run, checked, figures in zip(runs, rows, timings, strict=True)
    )


def _time(
    runs: Sequence[_CompareRun], energy_meter: EnergyMeter | None, progress: Progress
) -> list[dict[str, dict[str, Any]]]:
    """Time all engines; return for each run and row its latency and cost, or its failure."""

    def after_round(fraction: float) -> None:
        runs[0].stop_if_cancelled()
        progress("timing", fraction)

    sides = {
        f"{number} {name}": side
        for number, run in enumerate(runs)
        for name, side in run.timing.sides().items()
    }
    count = max((run.request.runs for run in runs), default=0)
    durations = time_interleaved(sides, count, after_round=after_round)
    samples: dict[EngineConfiguration | None, Samples] = {}
    for run in runs:
        samples.update(run.timing.samples())
    recorded = record_costs(runs[0].cache, "compare", samples, runs[0].problems.append)
    costs = MeasuredCosts(() if recorded is None else (recorded,))
    if energy_meter is not None:
        for run in runs:
            run.timing.measure_energy(energy_meter, run.stop_if_cancelled, progress)
    return [
        run.timing.figures(
            {name: durations[f"{number} {name}"] for name in run.timing.names()}, costs
        )
        for number, run in enumerate(runs)
    ]


class _CompareRun:
    """The comparison of one model in progress, with its open engines."""

    def __init__(
        self,
        request: CompareRequest,
        cache: ArtifactCache,
        stack: ExitStack,
        progress: Progress,
        cancelled: Cancelled,
    ) -> None:
        self.request = request
        self.cache = cache
        self._stack = stack
        self._progress = progress
        self._cancelled = cancelled
        self.timing = EngineTiming(request.model, request.images, cache, request.records_costs)
        self._reference: MemoizedEngine | None = None
        self.problems: list[str] = []
        self._previous_costs = CostCache(cache.folder).read(self.problems.append)

    def check_all(self) -> list[CompareRow]:
        """Check every candidate; see :meth:`check`."""
        rows = [row for each in self.request.candidates() for row in self.check(*each)]
        self._reference = None  # frees the outputs that it keeps
        return rows

    def check(self, backend: str, precision: str, int8_mode: str | None) -> list[CompareRow]:
        """Prepare, open and check one candidate; return a row for each batch.

        Raises only for the reference or if cancelled.
        """
        row = CompareRow(backend, precision, int8_mode=int8_mode)
        batches = sorted({1, *self.request.batches})
        rows = [dataclasses.replace(row, batch=batch) for batch in batches]
        try:
            checked = self._check(row)
        except EdgeInferenceError as error:
            self.stop_if_cancelled()
            if row.is_reference:
                raise
            self.timing.discard(row.name)
            return [dataclasses.replace(each, failure=str(error)) for each in rows]
        return [checked, *(self._add_batch(checked, batch) for batch in batches[1:])]

    def _add_batch(self, single: CompareRow, batch: int) -> CompareRow:
        """Return the row of a batch; each of its images has the results of the single one."""
        row = dataclasses.replace(single, batch=batch, previous_cost=None)
        failure = self.timing.add_batch(single.name, row.name, batch)
        return (
            dataclasses.replace(row, failure=f"a batch of {batch}: {failure}") if failure else row
        )

    def _check(self, row: CompareRow) -> CompareRow:
        request = self.request
        engine_request = EngineRequest(
            request.model,
            row.backend,
            row.precision,
            request.threads,
            request.gpu,
            int8_mode=row.int8_mode or EXACT,
        )

        def progress(phase: str, fraction: float | None) -> None:
            self._progress(f"{row.name}: {phase}", fraction)

        progress("preparing", None)
        selection = prepare(engine_request, self.cache, progress, self._cancelled)
        self.stop_if_cancelled()
        file = selection.artifact.find(self.cache)
        assert selection.backend is not None and file is not None
        engine = self._stack.enter_context(selection.backend)
        self.timing.add(row.name, selection, engine)
        memoized = MemoizedEngine(self._count_inferences(engine, progress))
        if row.is_reference:
            self._reference = memoized
        assert self._reference is not None
        check = run_self_check(
            request.model, self._reference, memoized, request.images, request.model.self_check
        )
        layers = _count_layers(row.backend, file)
        return dataclasses.replace(
            row,
            engine=engine.describe(),
            layers_by_precision=layers,
            precision_in_use=engine.precision_in_use or next(iter(layers), None),
            file_bytes=_size_of(file),
            check=check,
            accuracy=_measure_accuracy(request, memoized),
            previous_cost=self._previous_costs.newest(configuration_of(selection, self.cache)),
        )

    def _count_inferences(
        self, engine: Backend, progress: Progress
    ) -> Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]:
        """Wrap an engine to report progress and to end a cancelled comparison."""
        count = 0

        def infer(inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
            nonlocal count
            self.stop_if_cancelled()
            outputs = engine.infer(inputs)
            count += 1
            progress("checking", min(count / len(self.request.images), 1.0))
            return outputs

        return infer

    def stop_if_cancelled(self) -> None:
        """Raise CancelledError if the user has cancelled."""
        if self._cancelled():
            raise CancelledError(f"{self.request.model.name}: the comparison was cancelled")


def _measure_accuracy(request: CompareRequest, infer: MemoizedEngine) -> MeasuredAccuracy | None:
    if request.images.class_ids is None:
        return None
    model, correct = request.model, 0
    preprocess = Preprocessor(model.input)
    for image, class_id in zip(request.images, request.images.class_ids, strict=True):
        tensor, geometry = preprocess(image)
        try:
            result = model.decode(infer({model.input.name: tensor}), geometry)
        except TensorError:  # the self-check reports values that are not finite
            continue
        if isinstance(result, Classification) and len(result):
            correct += int(result.class_ids[0]) == class_id
    return MeasuredAccuracy(correct, len(request.images))


def _size_of(file: Path) -> int:
    """Return the size of a file, and of the files of weights that an ONNX file has besides."""
    return model_size(file) if file.suffix.lower() == ".onnx" else file.stat().st_size


def _count_layers(backend: str, file: Path) -> dict[str, int]:
    """Count the layers of ONNX Runtime's CPU engine by precision; nothing for other backends."""
    if backend != "ort":
        return {}
    try:
        return onnxruntime_precisions(file)
    except BackendError:  # the package onnx is missing; the engine runs without it
        return {}
