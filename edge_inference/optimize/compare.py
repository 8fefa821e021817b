"""Compares ways to run a model: backends times precisions, against ONNX Runtime in fp32.

All engines are open at once and infer in turns, so that their times can be
compared however busy the machine is. What cannot run here is a row with its
reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.measured_costs import Cost, MeasuredCosts, Measurement
from edge_inference.core.models.model import PRECISIONS, ModelDescription
from edge_inference.core.models.self_check import SelfCheckReport, self_check
from edge_inference.core.results import Classification
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.core.settings import suggestion
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import Cancelled, Progress, default_cache
from edge_inference.engines.cache.cost_cache import CostCache
from edge_inference.engines.interleaved_timing import time_interleaved
from edge_inference.engines.precision.int8_mode import (
    EXACT,
    FAST,
    INT8_MODES,
    mode_in_use,
    weight_bits,
)
from edge_inference.engines.precision.used_precision import onnxruntime_precisions
from edge_inference.engines.serving.cost_recording import TimedRuns, configuration_of, record_costs
from edge_inference.engines.serving.selection import (
    BACKEND_NAMES,
    EngineRequest,
    Selection,
    prepare,
)
from edge_inference.errors import (
    BackendError,
    CancelledError,
    ConfigError,
    EdgeInferenceError,
    ModelError,
    TensorError,
)
from edge_inference.optimize.image_set import ImageSet
from edge_inference.optimize.memoized_engine import MemoizedEngine

#: What can be compared, the reference's backend first.
BACKENDS = ("ort", *(name for name in BACKEND_NAMES if name not in ("auto", "null", "ort")))
REFERENCE = ("ort", "fp32")
_INT8_ON_CPU = ("ort", "int8")
DEFAULT_RUNS = 50

#: So many inputs take turns while the clock runs.
_TIMED_INPUTS = 8


@dataclass(frozen=True)
class CompareRequest:
    """What to compare.

    ``runs`` is how often each engine infers while the clock runs, ``threads`` and
    ``int8_modes`` are those of engines on the CPU. Raises ConfigError for what is unknown.
    """

    model: ModelDescription
    images: ImageSet
    backends: Sequence[str] = BACKENDS
    precisions: Sequence[str] = PRECISIONS
    runs: int = DEFAULT_RUNS
    threads: int = 1
    gpu: int = 0
    int8_modes: Sequence[str] = (EXACT,)

    def __post_init__(self) -> None:
        for what, names, known in (
            ("backends", self.backends, BACKENDS),
            ("precisions", self.precisions, PRECISIONS),
            ("int8_modes", self.int8_modes, INT8_MODES),
        ):
            for name in names:
                if name not in known:
                    raise ConfigError(f"{what}: {name!r} is unknown{suggestion(name, known)}")

    def ways(self) -> list[tuple[str, str, str | None]]:
        """Return each backend, precision and mode of int8 once, the reference first.

        The mode is None where this machine has only one.
        """
        asked = [(backend, name) for backend in self.backends for name in self.precisions]
        modes = [mode_in_use(weight_bits(mode)) for mode in self.int8_modes]
        ways = [
            (*way, mode)
            for way in (REFERENCE, *asked)
            for mode in (modes if way == _INT8_ON_CPU else (None,))
        ]
        return list(dict.fromkeys(ways))


@dataclass(frozen=True)
class MeasuredAccuracy:
    """How many of the labelled images were given their class first."""

    right: int
    counted: int

    @property
    def share(self) -> float:
        """Share of right answers, 0..1."""
        return self.right / self.counted


@dataclass(frozen=True)
class CompareRow:
    """One way to run the model; what could not be measured is None.

    ``int8_mode`` is None where there is only one. ``obstacle`` says why it cannot run.
    ``layers`` counts the layers (on the CPU those with weights) by the precision they really
    compute in, empty where the engine does not tell; ``used`` is the precision of most.
    ``bytes`` is the size of the file that the engine opens. ``measured`` is the cost that was
    kept, with its measurement, ``known`` the one that was kept here before.
    """

    backend: str
    precision: str
    obstacle: str = ""
    engine: str = ""
    used: str | None = None
    layers: Mapping[str, int] = field(default_factory=dict)
    bytes: int | None = None
    check: SelfCheckReport | None = None
    accuracy: MeasuredAccuracy | None = None
    latency: Percentiles | None = None
    measured: tuple[Cost, Measurement] | None = None
    known: tuple[Cost, Measurement] | None = None
    int8_mode: str | None = None

    @property
    def name(self) -> str:
        """Name it by backend and precision; exact int8 is int8."""
        return f"{self.backend} {self.precision}{' fast' if self.int8_mode == FAST else ''}"

    @property
    def is_reference(self) -> bool:
        """Tell whether the others are compared with it."""
        return (self.backend, self.precision) == REFERENCE

    @property
    def passed(self) -> bool:
        """Tell whether it runs and reaches the model's thresholds."""
        return not self.obstacle and self.check is not None and self.check.passed


@dataclass(frozen=True)
class Comparison:
    """All rows, and what they were measured on.

    ``problems`` are sentences about costs that could not be read, or not be kept.
    """

    model: ModelDescription
    images: ImageSet
    runs: int
    threads: int
    rows: tuple[CompareRow, ...]
    problems: tuple[str, ...] = ()

    def speedup(self, row: CompareRow) -> float | None:
        """Return how many times as fast as the reference a row is, by the median."""
        return _ratio(self.row(*REFERENCE), row)

    def speedup_of_backend(self, row: CompareRow) -> float | None:
        """Return how many times as fast as its own backend in fp32 a row is, by the median."""
        return _ratio(self.row(row.backend, "fp32"), row)

    def row(self, backend: str, precision: str) -> CompareRow | None:
        """Find a row."""
        wanted = (backend, precision)
        return next((row for row in self.rows if (row.backend, row.precision) == wanted), None)

    def fastest(self) -> CompareRow | None:
        """Return the fastest row that passes the self-check, by the median; None for none."""
        timed = {
            index: row.latency.p50
            for index, row in enumerate(self.rows)
            if row.passed and row.latency is not None and row.latency.p50 is not None
        }
        return self.rows[min(timed, key=lambda index: timed[index])] if timed else None


def compare(
    order: CompareRequest,
    cache: ArtifactCache | None = None,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> Comparison:
    """Prepare, check and time every way to run the model; keep the costs in the cache.

    What an engine needs is made where it is missing, however long that takes. Raises
    BackendError or ModelError where the reference itself cannot run, and
    CancelledError soon after ``cancelled`` says so.
    """
    if "fp32" not in order.model.variants:
        raise ModelError(
            f"model {order.model.name} has no fp32 variant, and everything is compared with that; "
            "add one to its model.yaml"
        )
    with ExitStack() as opened:
        work = _Work(order, cache or default_cache(), opened, progress, cancelled)
        rows = [work.row(*way) for way in order.ways()]
        latencies = work.time()
    rows = [dataclasses.replace(row, **latencies.get(row.name, {})) for row in rows]
    return Comparison(
        order.model, order.images, order.runs, order.threads, tuple(rows), tuple(work.problems)
    )


class _Work:
    """One comparison while it goes on."""

    def __init__(
        self,
        order: CompareRequest,
        cache: ArtifactCache,
        opened: ExitStack,
        progress: Progress,
        cancelled: Cancelled,
    ) -> None:
        self._order = order
        self._cache = cache
        self._opened = opened
        self._progress = progress
        self._cancelled = cancelled
        self._engines: dict[str, tuple[Selection, Backend]] = {}
        self._reference: MemoizedEngine | None = None
        self.problems: list[str] = []
        self._known = CostCache(cache.folder).read(self.problems.append)

    def row(self, backend: str, precision: str, int8_mode: str | None) -> CompareRow:
        """Prepare, open and check one way. Raises only for the reference, or where cancelled."""
        row = CompareRow(backend, precision, int8_mode=int8_mode)
        try:
            return self._checked(row)
        except EdgeInferenceError as error:
            self._stop_if_cancelled()
            if row.is_reference:
                raise
            self._engines.pop(row.name, None)
            return dataclasses.replace(row, obstacle=str(error))

    def time(self) -> dict[str, dict[str, Any]]:
        """Infer in turns; return the latency of each row, or why it failed meanwhile."""
        preprocess = Preprocessor(self._order.model.input)
        inputs = [
            {self._order.model.input.name: preprocess(image)[0].copy()}
            for image in self._order.images[:_TIMED_INPUTS]
        ]
        failures: dict[str, str] = {}
        timed = {
            name: TimedRuns.of(selection, engine.infer)
            for name, (selection, engine) in self._engines.items()
        }

        def side(name: str) -> Callable[[int], None]:
            def infer(turn: int) -> None:
                if name in failures:
                    return
                try:
                    timed[name](inputs[turn % len(inputs)])
                except EdgeInferenceError as error:
                    failures[name] = str(error)

            return infer

        def after_round(fraction: float) -> None:
            self._stop_if_cancelled()
            self._progress("timing in turns", fraction)

        sides = {name: side(name) for name in timed}
        durations = time_interleaved(sides, self._order.runs, after_round=after_round)
        points = {name: configuration_of(self._engines[name][0], self._cache) for name in timed}
        samples = {
            points[name]: runs.samples() for name, runs in timed.items() if name not in failures
        }
        found = record_costs(self._cache, "compare", samples, self.problems.append)
        known = MeasuredCosts(() if found is None else (found,))
        return {
            name: {"obstacle": failures[name]}
            if name in failures
            else {"latency": Percentiles.of(each), "measured": known.newest(points[name])}
            for name, each in durations.items()
        }

    def _checked(self, row: CompareRow) -> CompareRow:
        order = self._order
        request = EngineRequest(
            order.model,
            row.backend,
            row.precision,
            order.threads,
            order.gpu,
            int8_mode=row.int8_mode or EXACT,
        )

        def progress(phase: str, fraction: float | None) -> None:
            self._progress(f"{row.name}: {phase}", fraction)

        progress("preparing", None)
        selection = prepare(request, self._cache, progress, self._cancelled)
        self._stop_if_cancelled()
        file = selection.artifact.find(self._cache)
        assert selection.backend is not None and file is not None
        engine = self._opened.enter_context(selection.backend)
        self._engines[row.name] = selection, engine
        remembered = MemoizedEngine(self._counted(engine, progress))
        if row.is_reference:
            self._reference = remembered
        assert self._reference is not None
        check = self_check(
            order.model, self._reference, remembered, order.images, order.model.self_check
        )
        layers = _layers(row.backend, file)
        return dataclasses.replace(
            row,
            engine=engine.describe(),
            layers=layers,
            used=engine.precision_in_use or next(iter(layers), None),
            bytes=file.stat().st_size,
            check=check,
            accuracy=_accuracy(order, remembered),
            known=self._known.newest(configuration_of(selection, self._cache)),
        )

    def _counted(
        self, engine: Backend, progress: Progress
    ) -> Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]:
        """Wrap an engine so that progress is told and a cancelled comparison ends."""
        count = 0

        def infer(inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
            nonlocal count
            self._stop_if_cancelled()
            outputs = engine.infer(inputs)
            count += 1
            progress("checking", min(count / len(self._order.images), 1.0))
            return outputs

        return infer

    def _stop_if_cancelled(self) -> None:
        if self._cancelled():
            raise CancelledError(f"{self._order.model.name}: the comparison was cancelled")


def _accuracy(order: CompareRequest, infer: MemoizedEngine) -> MeasuredAccuracy | None:
    if order.images.class_ids is None:
        return None
    model, right = order.model, 0
    preprocess = Preprocessor(model.input)
    for image, class_id in zip(order.images, order.images.class_ids, strict=True):
        tensor, geometry = preprocess(image)
        try:
            result = model.decode(infer({model.input.name: tensor}), geometry)
        except TensorError:  # values that are not finite: the self-check says so
            continue
        if isinstance(result, Classification) and len(result):
            right += int(result.class_ids[0]) == class_id
    return MeasuredAccuracy(right, len(order.images))


def _layers(backend: str, file: Path) -> dict[str, int]:
    """Ask ONNX Runtime's CPU engine; other engines tell by themselves, or not at all."""
    if backend != "ort":
        return {}
    try:
        return onnxruntime_precisions(file)
    except BackendError:  # the package onnx is missing; the engine itself runs
        return {}


def _ratio(base: CompareRow | None, row: CompareRow) -> float | None:
    if base is None or base.latency is None or row.latency is None:
        return None
    if base.latency.p50 is None or not row.latency.p50:
        return None
    return base.latency.p50 / row.latency.p50
