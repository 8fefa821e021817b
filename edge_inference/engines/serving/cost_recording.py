"""Timing engines, and keeping in the cache what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.backends.gpu import find_gpu
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.measured_costs import (
    MINIMUM_RUNS,
    Cost,
    MeasuredCosts,
    Measurement,
    Samples,
)
from edge_inference.core.models.golden_check import InferFunction
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import self_check_images
from edge_inference.core.operating_point import EngineConfiguration
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.cost_cache import CostCache
from edge_inference.engines.interleaved_timing import WARM_UP, time_in_turns
from edge_inference.engines.precision.int8_mode import INT8_MODES
from edge_inference.engines.serving.selection import (
    EngineRequest,
    Selection,
    artifact_for,
    int8_mode_of,
)
from edge_inference.errors import CacheError, EdgeInferenceError

#: So long engines are timed for the sake of their ratio, if that gives enough runs of each,
#: and so often at the most.
BUDGET_S = 1.0
MOST_RUNS = 50

Report = Callable[[str], None]


class TimedRuns:
    """Wraps ``Backend.infer``; call it as that, in one thread.

    The first ``WARM_UP`` runs do not count. ``by_cpu`` notes the thread's CPU time, too.
    """

    @classmethod
    def of(cls, selection: Selection, infer: InferFunction) -> TimedRuns:
        """Wrap the engine of a selection."""
        return cls(infer, by_cpu=is_timed_by_cpu(selection))

    def __init__(self, infer: InferFunction, *, by_cpu: bool) -> None:
        self._infer = infer
        self._by_cpu = by_cpu
        self._wall_s: list[float] = []
        self._cpu_s: list[float] = []

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Return the outputs for these inputs."""
        wall_ns, cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
        outputs = self._infer(inputs)
        self._cpu_s.append((time.thread_time_ns() - cpu_ns) / 1e9)
        self._wall_s.append((time.perf_counter_ns() - wall_ns) / 1e9)
        return outputs

    @property
    def last_s(self) -> float:
        """Wall seconds of the last run, the first ones included."""
        return self._wall_s[-1]

    def samples(self) -> Samples:
        """Return the times of all runs that count."""
        cpu_s = self._cpu_s[WARM_UP:] if self._by_cpu else None
        return Samples(self._wall_s[WARM_UP:], cpu_s)


def is_timed_by_cpu(selection: Selection) -> bool:
    """Tell whether the CPU time of the thread that infers is what an inference takes.

    It is where one thread of the processor computes; otherwise others do.
    """
    return selection.name == "ort" and selection.request.threads == 1


def operating_point(
    request: EngineRequest, backend: str, precision: str, cache: ArtifactCache
) -> EngineConfiguration | None:
    """Return what a request comes to on ``backend`` in ``precision``, one image at a time.

    None where its file is not made yet or is damaged, and where nothing computes.
    """
    if backend == "null":
        return None
    try:
        artifact = artifact_for(request, backend, precision)
        digest = artifact.digest(cache)
        form = _form(request, backend, int8_mode_of(backend, precision, artifact))
    except (EdgeInferenceError, OSError):  # what it takes is missing; who opens it says so
        return None
    if digest is None:
        return None
    return EngineConfiguration(request.model.name, precision, backend, digest, form=form)


def point_of(selection: Selection, cache: ArtifactCache) -> EngineConfiguration | None:
    """Return what a selection comes to, as :func:`operating_point` does."""
    return operating_point(selection.request, selection.name, selection.precision, cache)


def current_costs(
    model: ModelDescription, known: MeasuredCosts, cache: ArtifactCache
) -> list[tuple[Cost, Measurement]]:
    """Return the newest costs of a model as it is now; what it was before is left out."""
    artifacts: dict[tuple[str, str], set[str]] = {}
    found = []
    for cost, measurement in known.of_model(model.name):
        way = cost.point.backend, cost.point.precision
        if way not in artifacts:
            requests = (EngineRequest(model, *way, int8_mode=mode) for mode in INT8_MODES)
            points = (operating_point(request, *way, cache) for request in requests)
            artifacts[way] = {point.artifact for point in points if point is not None}
        if cost.point.artifact in artifacts[way]:
            found.append((cost, measurement))
    return found


def record(
    cache: ArtifactCache,
    by: str,
    samples: Mapping[EngineConfiguration | None, Samples],
    report: Report,
) -> Measurement | None:
    """Keep in the cache what was timed in turns and return it; None where it tells nothing.

    A cache that cannot be written costs nothing but the measurement: ``report`` gets why.
    """
    known = {point: each for point, each in samples.items() if point is not None}
    measurement = Measurement.of(by, time.time(), known)
    if measurement is not None:
        try:
            CostCache(cache.folder).add(measurement, report)
        except CacheError as error:
            report(str(error))
    return measurement


def time_together(
    by: str, engines: Sequence[tuple[Selection, Backend]], cache: ArtifactCache, report: Report
) -> Measurement | None:
    """Time open engines in turns and keep what was found. Raises what an inference raises.

    Large models run as often as is needed, small ones more often.
    """
    timed: dict[EngineConfiguration | None, TimedRuns] = {}
    sides = {}
    for number, (selection, backend) in enumerate(engines):
        runs = timed[point_of(selection, cache)] = TimedRuns.of(selection, backend.infer)
        sides[str(number)] = _side(runs, selection.request.model)
    time_in_turns(sides, 0, warm_up=WARM_UP)
    round_s = sum(runs.last_s for runs in timed.values())
    count = max(MINIMUM_RUNS, min(MOST_RUNS, int(BUDGET_S / round_s)))
    time_in_turns(sides, count, warm_up=0)
    return record(cache, by, {point: runs.samples() for point, runs in timed.items()}, report)


def _side(runs: TimedRuns, model: ModelDescription) -> Callable[[int], object]:
    image, _ = Preprocessor(model.input)(self_check_images(model, 1)[0])
    inputs = {model.input.name: image.copy()}
    return lambda turn: runs(inputs)


def _form(request: EngineRequest, backend: str, int8_mode: str | None) -> str:
    if backend == "ort":
        threads = f"threads={request.threads}"
        return threads if int8_mode is None else f"{threads}, {int8_mode}"
    name = find_gpu(request.gpu).name
    return name if request.cuda_graph or backend != "trt" else f"{name}, without graph"
