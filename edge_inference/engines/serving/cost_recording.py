"""Times engines and records their costs in the cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.core.engine_configuration import EngineConfiguration
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
from edge_inference.engines.cache.artifact_cache import ArtifactCache, key_of
from edge_inference.engines.cache.cost_cache import CostCache
from edge_inference.engines.interleaved_timing import WARM_UP_CALLS, time_interleaved
from edge_inference.engines.precision.int8_mode import INT8_MODES
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import (
    Selection,
    artifact_for,
    execution_of,
    int8_mode_of,
)
from edge_inference.errors import CacheError, EdgeInferenceError

#: Seconds for interleaved timing, if they give enough runs of each engine, and the most runs.
BUDGET_S = 1.0
MAX_RUNS = 50

Report = Callable[[str], None]


class TimedRuns:
    """Wraps ``Backend.infer`` and times each call. Call it from one thread only.

    The first ``WARM_UP_CALLS`` runs do not count. ``by_cpu`` keeps the thread's CPU time, too.
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
        """Wall seconds of the last run, including the warm-up."""
        return self._wall_s[-1]

    def samples(self) -> Samples:
        """Return the times of all runs after the warm-up."""
        cpu_s = self._cpu_s[WARM_UP_CALLS:] if self._by_cpu else None
        return Samples(self._wall_s[WARM_UP_CALLS:], cpu_s)


def is_timed_by_cpu(selection: Selection) -> bool:
    """Tell whether an inference runs entirely in the calling thread.

    It does for ONNX Runtime on the CPU with one thread; its CPU time is then the cost.
    """
    return selection.name == "ort" and selection.request.threads == 1


def engine_configuration(
    request: EngineRequest, backend: str, precision: str, cache: ArtifactCache
) -> EngineConfiguration | None:
    """Return the configuration of a request on ``backend`` in ``precision``, with batch 1.

    None where its file does not exist yet or is damaged, and for a backend whose costs are not
    recorded.
    """
    try:
        execution = execution_of(request, backend)
        if execution is None:
            return None
        artifact = artifact_for(request, backend, precision)
        digest = artifact.digest(cache)
        int8_mode = int8_mode_of(backend, precision, artifact)
    except (EdgeInferenceError, OSError):  # a part is missing; opening the engine reports it
        return None
    if digest is None:
        return None
    if request.model.extra_inputs:  # they may decide how much there is to compute
        values = {name: value.tolist() for name, value in request.model.extra_inputs.items()}
        digest = key_of({"artifact": digest, "extra inputs": values})
    if int8_mode is not None:
        execution = f"{execution}, {int8_mode}"
    return EngineConfiguration(request.model.name, precision, backend, digest, execution=execution)


def configuration_of(selection: Selection, cache: ArtifactCache) -> EngineConfiguration | None:
    """Return the configuration of a selection, see :func:`engine_configuration`."""
    return engine_configuration(selection.request, selection.name, selection.precision, cache)


def current_costs(
    model: ModelDescription, known: MeasuredCosts, cache: ArtifactCache
) -> list[tuple[Cost, Measurement]]:
    """Return the newest costs of a model's present files; costs of older files are left out."""
    artifacts: dict[tuple[str, str], set[str]] = {}
    found = []
    for cost, measurement in known.newest_of_model(model.name):
        key = cost.configuration.backend, cost.configuration.precision
        if key not in artifacts:
            requests = (EngineRequest(model, *key, int8_mode=mode) for mode in INT8_MODES)
            configurations = (engine_configuration(request, *key, cache) for request in requests)
            artifacts[key] = {
                configuration.artifact
                for configuration in configurations
                if configuration is not None
            }
        if cost.configuration.artifact in artifacts[key]:
            found.append((cost, measurement))
    return found


def record_costs(
    cache: ArtifactCache,
    by: str,
    samples: Mapping[EngineConfiguration | None, Samples],
    report: Report,
) -> Measurement | None:
    """Record interleaved times in the cache and return the measurement; None without enough runs.

    If the cache cannot be written, ``report`` gets the error and only the record is lost.
    """
    known = {
        configuration: each for configuration, each in samples.items() if configuration is not None
    }
    measurement = Measurement.of(by, time.time(), known)
    if measurement is not None:
        try:
            CostCache(cache.folder).add(measurement, report)
        except CacheError as error:
            report(str(error))
    return measurement


def time_engines(
    by: str, engines: Sequence[tuple[Selection, Backend]], cache: ArtifactCache, report: Report
) -> Measurement | None:
    """Time open engines interleaved and record their costs. Raises the errors of an inference.

    Every engine runs ``MINIMUM_RUNS`` to ``MAX_RUNS`` times, small models more often.
    """
    timed: dict[EngineConfiguration | None, TimedRuns] = {}
    sides = {}
    for number, (selection, backend) in enumerate(engines):
        runs = timed[configuration_of(selection, cache)] = TimedRuns.of(selection, backend.infer)
        sides[str(number)] = _side(runs, selection.request.model)
    time_interleaved(sides, 0, warm_up=WARM_UP_CALLS)
    round_s = sum(runs.last_s for runs in timed.values())
    count = max(MINIMUM_RUNS, min(MAX_RUNS, int(BUDGET_S / round_s)))
    time_interleaved(sides, count, warm_up=0)
    return record_costs(
        cache, by, {configuration: runs.samples() for configuration, runs in timed.items()}, report
    )


def _side(runs: TimedRuns, model: ModelDescription) -> Callable[[int], object]:
    image, _ = Preprocessor(model.input)(self_check_images(model, 1)[0])
    inputs = {model.input.name: image.copy()}
    return lambda turn: runs(inputs)
