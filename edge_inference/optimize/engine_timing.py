"""Times the open engines of a model, and measures the energy of each."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.core.engine_configuration import EngineConfiguration
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.measured_costs import MeasuredCosts, Samples, Spread
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import Progress
from edge_inference.engines.serving.cost_recording import TimedRuns, configuration_of
from edge_inference.engines.serving.selection import Selection
from edge_inference.errors import EdgeInferenceError
from edge_inference.optimize.images.image_set import ImageSet

#: Runs a piece of work and returns the joules that it took; None where no sensor tells.
EnergyMeter = Callable[[Callable[[], None]], float | None]

#: Timed inferences cycle through this many inputs.
_TIMED_INPUTS = 8
#: Seconds of inferences for the energy of one engine: a sensor has a few samples in them.
_ENERGY_S = 1.5


@dataclasses.dataclass
class _TimedEngine:
    """An open engine with the number of images of its inferences, and what was measured."""

    selection: Selection
    backend: Backend
    batch: int = 1
    runs: TimedRuns | None = None
    failure: str = ""
    energy_j: float | None = None


class EngineTiming:
    """The engines of one model by name; an engine may be there with several batches.

    Without ``records_costs`` there are no samples for the cache.
    """

    def __init__(
        self, model: ModelDescription, images: ImageSet, cache: ArtifactCache, records_costs: bool
    ) -> None:
        self._model = model
        self._images = images
        self._cache = cache
        self._records_costs = records_costs
        self._engines: dict[str, _TimedEngine] = {}

    def add(self, name: str, selection: Selection, backend: Backend) -> None:
        """Add an open engine for inferences of one image."""
        self._engines[name] = _TimedEngine(selection, backend)

    def discard(self, name: str) -> None:
        """Leave an engine out, if it is there."""
        self._engines.pop(name, None)

    def add_batch(self, single: str, name: str, batch: int) -> str:
        """Add the engine ``single`` with a batch of images under another name.

        Returns why it cannot run, or an empty text.
        """
        engine = self._engines[single]
        inputs = self._inputs(1)[0]
        try:
            alone = engine.backend.infer(inputs)
            together = engine.backend.infer(_repeat(inputs, batch))
        except EdgeInferenceError as error:
            return f"{error}; export the model with a dynamic batch axis"
        for output, array in together.items():
            rows = alone[output].shape[0]
            if array.shape[:1] != (batch * rows,):
                return (
                    f"expected {batch * rows} rows of output {output}, got the shape "
                    f"{array.shape}; the graph has a fixed batch inside: export it again with a "
                    "dynamic batch axis"
                )
        self._engines[name] = dataclasses.replace(engine, batch=batch)
        return ""

    def names(self) -> list[str]:
        """Return the names of all engines."""
        return list(self._engines)

    def sides(self) -> dict[str, Callable[[int], None]]:
        """Return what runs one inference of each engine, for the number of the round."""
        singles = self._inputs(_TIMED_INPUTS)
        inputs = {
            batch: singles if batch == 1 else [_repeat(singles[0], batch)]
            for batch in {engine.batch for engine in self._engines.values()}
        }
        sides = {}
        for name, engine in self._engines.items():
            engine.runs = TimedRuns.of(engine.selection, engine.backend.infer)
            sides[name] = _side(engine, inputs[engine.batch])
        return sides

    def samples(self) -> dict[EngineConfiguration | None, Samples]:
        """Return the times of each engine whose cost can be recorded."""
        if not self._records_costs:
            return {}
        return {
            self._configuration(engine): engine.runs.samples()
            for engine in self._engines.values()
            if engine.runs is not None and not engine.failure
        }

    def measure_energy(
        self, meter: EnergyMeter, stop_if_cancelled: Callable[[], None], progress: Progress
    ) -> None:
        """Run each engine alone, and keep the joules of one inference where a sensor tells."""
        singles = self._inputs(1)[0]
        for name, engine in self._engines.items():
            if engine.failure:
                continue
            progress(f"{name}: measuring the energy", None)
            work = _EnergyWork(engine.backend, _repeat(singles, engine.batch), stop_if_cancelled)
            try:
                joules = meter(work)
            except EdgeInferenceError as error:
                stop_if_cancelled()
                engine.failure = str(error)
                continue
            if joules is not None:
                engine.energy_j = joules / work.count

    def figures(
        self, durations: Mapping[str, list[float]], costs: MeasuredCosts
    ) -> dict[str, dict[str, Any]]:
        """Return the fields of each engine's row; ``durations`` are milliseconds of each run."""
        figures: dict[str, dict[str, Any]] = {}
        for name, engine in self._engines.items():
            if engine.failure or engine.runs is None:
                figures[name] = {"failure": engine.failure}
                continue
            samples = engine.runs.samples()
            figures[name] = {
                "latency": Percentiles.of(durations[name]),
                "duration": Spread.of(samples.cpu_s or samples.wall_s),
                "is_cpu_time": samples.cpu_s is not None,
                "energy_j": engine.energy_j,
                "measured_cost": costs.newest(self._configuration(engine)),
            }
        return figures

    def _configuration(self, engine: _TimedEngine) -> EngineConfiguration | None:
        if not self._records_costs:
            return None
        found = configuration_of(engine.selection, self._cache)
        return None if found is None else dataclasses.replace(found, batch=engine.batch)

    def _inputs(self, count: int) -> list[dict[str, NDArray[Any]]]:
        preprocess = Preprocessor(self._model.input)
        return [
            {self._model.input.name: preprocess(image)[0].copy()} for image in self._images[:count]
        ]


class _EnergyWork:
    """Runs inferences for a while, and counts them."""

    def __init__(
        self, backend: Backend, inputs: Mapping[str, NDArray[Any]], stop: Callable[[], None]
    ) -> None:
        self._backend = backend
        self._inputs = inputs
        self._stop = stop
        self.count = 0

    def __call__(self) -> None:
        """Run at least one inference."""
        ended = time.monotonic() + _ENERGY_S
        while not self.count or time.monotonic() < ended:
            self._stop()
            self._backend.infer(self._inputs)
            self.count += 1


def _side(engine: _TimedEngine, inputs: list[dict[str, NDArray[Any]]]) -> Callable[[int], None]:
    def infer(round_index: int) -> None:
        if engine.failure or engine.runs is None:
            return
        try:
            engine.runs(inputs[round_index % len(inputs)])
        except EdgeInferenceError as error:
            engine.failure = str(error)

    return infer


def _repeat(inputs: Mapping[str, NDArray[Any]], batch: int) -> dict[str, NDArray[Any]]:
    return {name: np.repeat(array, batch, axis=0) for name, array in inputs.items()}
