"""Measures candidates: how close to fp32 they are, and how long an inference takes."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.measured_costs import Spread
from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import run_self_check
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import Cancelled
from edge_inference.engines.interleaved_timing import time_interleaved
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.cost_recording import is_timed_by_cpu
from edge_inference.engines.serving.selection import Selection, prepare
from edge_inference.errors import CancelledError, EdgeInferenceError, ModelError
from edge_inference.optimize.images.image_set import ImageSet
from edge_inference.optimize.memoized_engine import MemoizedEngine
from edge_inference.optimize.placement.precision_candidate import (
    CandidateResult,
    PrecisionCandidate,
)

#: Other load on the machine only adds time: the least disturbed runs are compared.
_UNDISTURBED_PERCENTILE = 10
_MIN_ROUNDS, _MAX_ROUNDS = 12, 300
#: A shorter inference runs several times in a row.
_SHORT_S, _MAX_IN_A_ROW = 5e-3, 5
#: Times that engines are opened anew: where their memory lies changes their time by some percent.
_OPENED = 2
FP32 = PrecisionCandidate("fp32", "fp32", is_single=True)


@dataclass(frozen=True)
class TimedEngine:
    """An open engine: ``infer`` runs it on one image, all of it in this thread if ``by_cpu``."""

    candidate: PrecisionCandidate
    infer: Callable[[], object]
    by_cpu: bool


#: Returns the milliseconds of each run of engines by name, in about that many seconds.
EngineTimer = Callable[[Mapping[str, TimedEngine], float], Mapping[str, Sequence[float]]]


def time_engines(engines: Mapping[str, TimedEngine], budget_s: float) -> dict[str, list[float]]:
    """Time engines interleaved: the CPU time where they run in this thread, else by the clock.

    A short inference runs several times in a row, as the first one pays for what the engine
    before it left in the processor's caches.
    """
    by_cpu = all(engine.by_cpu for engine in engines.values())
    now_ns = time.thread_time_ns if by_cpu else time.perf_counter_ns
    probe = time_interleaved(
        {name: _side(engine, 1) for name, engine in engines.items()}, 1, now_ns=now_ns
    )
    shortest_s = max(min(found[0] for found in probe.values()) / 1e3, 1e-9)
    in_a_row = int(np.clip(_SHORT_S / shortest_s, 1, _MAX_IN_A_ROW))
    round_s = in_a_row * sum(found[0] for found in probe.values()) / 1e3
    rounds = int(np.clip(budget_s / max(round_s, 1e-9), _MIN_ROUNDS, _MAX_ROUNDS))
    sides = {name: _side(engine, in_a_row) for name, engine in engines.items()}
    times = time_interleaved(sides, rounds, warm_up=0, now_ns=now_ns)
    return {name: [each / in_a_row for each in found] for name, found in times.items()}


def _side(engine: TimedEngine, in_a_row: int) -> Callable[[int], object]:
    def run(round_number: int) -> None:
        for _ in range(in_a_row):
            engine.infer()

    return run


def undisturbed(milliseconds: Sequence[float]) -> float:
    """Return the milliseconds of a run that other load did not disturb."""
    return float(np.percentile(milliseconds, _UNDISTURBED_PERCENTILE))


class CandidateMeasurer:
    """Opens candidates one at a time beside fp32, or several together.

    The engines are closed with ``stack``. The files that candidates need are made in ``cache``.
    """

    def __init__(
        self,
        model: ModelDescription,
        backend: str,
        images: ImageSet,
        thresholds: SelfCheckThresholds,
        cache: ArtifactCache,
        stack: ExitStack,
        cancelled: Cancelled,
        timer: EngineTimer = time_engines,
    ) -> None:
        """Open fp32. Raises what opening it raises, and ModelError if nothing can be compared."""
        self._model = model
        self._backend = backend
        self._images = images
        self._thresholds = thresholds
        self._cache = cache
        self._cancelled = cancelled
        self._timer = timer
        spec = model.input
        tensor = Preprocessor(spec)(images[0])[0].copy()
        self._inputs: Mapping[str, NDArray[Any]] = {spec.name: tensor}
        selection, engine = self._open(FP32, stack)
        self._baseline = self._timed(FP32, selection, engine)
        if backend != "ort":
            reference = prepare(EngineRequest(model, "ort", "fp32"), cache)
            assert reference.backend is not None
            engine = stack.enter_context(reference.backend)
        self._reference = MemoizedEngine(engine.infer)
        check = run_self_check(model, self._reference, self._reference, images, thresholds)
        if not check.is_checked:
            raise ModelError(
                f"model {model.name}: {check.summary()}, or give images with --images in which it "
                "does"
            )
        agreement = check.figures().get("agreement")
        self.fp32 = CandidateResult(FP32, len(images), 1.0, None, agreement, math.inf)

    def measure(
        self, candidate: PrecisionCandidate, images: ImageSet, timing_s: float | None
    ) -> CandidateResult:
        """Check a candidate on images, and time it for about ``timing_s`` seconds unless None.

        A candidate that cannot be derived or opened is a result with the reason. Raises
        CancelledError.
        """
        self._stop_if_cancelled()
        try:
            with ExitStack() as stack:
                selection, engine = self._open(candidate, stack)
                check = run_self_check(
                    self._model, self._reference, self._checked(engine), images, self._thresholds
                )
                figures = check.figures()
                times = None
                if timing_s is not None:
                    timed = self._timed(candidate, selection, engine)
                    times = self._timer({"fp32": self._baseline, "candidate": timed}, timing_s)
        except CancelledError:
            raise
        except EdgeInferenceError as error:
            self._stop_if_cancelled()
            return CandidateResult(candidate, len(images), reasons=(str(error),))
        is_equal = check.outputs is not None and not check.outputs.max_difference
        sqnr_db = figures.get("sqnr_db", math.inf if is_equal else None)
        agreement = figures.get("agreement")
        result = CandidateResult(
            candidate, len(images), None, None, agreement, sqnr_db, check.reasons
        )
        if times is None:
            return result
        return _with_times(result, times["candidate"], times["fp32"])

    def compare(
        self, results: Sequence[CandidateResult], budget_s: float
    ) -> dict[str, CandidateResult]:
        """Time several candidates and fp32 together; return the results with these times by key.

        They are opened several times, in another order; the least disturbed times count.
        """
        candidates = {result.candidate.key: result.candidate for result in results}
        candidates.setdefault(FP32.key, FP32)
        best: dict[str, Sequence[float]] = {}
        for number in range(_OPENED):
            with ExitStack() as stack:
                engines = {}
                for key in sorted(candidates, reverse=bool(number % 2)):
                    self._stop_if_cancelled()
                    selection, engine = self._open(candidates[key], stack)
                    engines[key] = self._timed(candidates[key], selection, engine)
                times = self._timer(engines, budget_s / _OPENED)
            for key, found in times.items():
                if key not in best or undisturbed(found) < undisturbed(best[key]):
                    best[key] = found
        return {
            result.candidate.key: _with_times(result, best[result.candidate.key], best[FP32.key])
            for result in results
        }

    def _open(self, candidate: PrecisionCandidate, stack: ExitStack) -> tuple[Selection, Backend]:
        model = dataclasses.replace(self._model, derive=candidate.derive)
        if candidate is FP32:
            model = self._model
        request = EngineRequest(model, self._backend, candidate.precision)
        selection = prepare(request, self._cache, cancelled=self._cancelled)
        assert selection.backend is not None
        return selection, stack.enter_context(selection.backend)

    def _timed(
        self, candidate: PrecisionCandidate, selection: Selection, engine: Backend
    ) -> TimedEngine:
        return TimedEngine(
            candidate, lambda: engine.infer(self._inputs), is_timed_by_cpu(selection)
        )

    def _checked(
        self, engine: Backend
    ) -> Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]:
        def infer(inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
            self._stop_if_cancelled()
            return engine.infer(inputs)

        return infer

    def _stop_if_cancelled(self) -> None:
        if self._cancelled():
            raise CancelledError(f"{self._model.name}: the search was cancelled")


def _with_times(
    result: CandidateResult, milliseconds: Sequence[float], fp32: Sequence[float]
) -> CandidateResult:
    return dataclasses.replace(
        result,
        relative_time=undisturbed(milliseconds) / undisturbed(fp32),
        seconds=Spread.of([each / 1e3 for each in milliseconds]),
    )
