"""Makes and measures the steps of a recipe, unless an earlier run has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.core.models.model import load_model
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.optimize.recipe.measured_point import (
    Deployment,
    MeasuredPoint,
    MeasureFiles,
    PointMeter,
    deployments_of,
)
from edge_inference.optimize.recipe.recipe_inputs import (
    MODEL,
    Network,
    RecipeInputs,
    read_network,
    write_network,
)
from edge_inference.optimize.recipe.step_kind import PlannedStep, StepInput
from edge_inference.optimize.recipe.step_store import StepStore, as_plain, folder_digest
from edge_inference.optimize.recipe.target import RecipeTarget

#: The parts of the data that deployments are measured on.
VALIDATION, TEST = "validation", "test"
#: What of a target changes a measurement: with an accuracy alone nothing has to be timed anew.
_TIMING = ("latency_ms", "speedup", "backend", "threads", "runs")


@dataclass(frozen=True)
class MadeStep:
    """A step's result: the network that goes on, or the deployments in a precision.

    ``was_stored`` tells that an earlier run had finished it.
    """

    network: Network | None
    deployments: tuple[Deployment, ...]
    summary: str
    was_stored: bool


class StepMaker:
    """Finds results in the store by everything that changes them, and makes those that are not.

    ``reference`` is the network in fp32 that all is compared with, and the teacher.
    """

    def __init__(
        self,
        inputs: RecipeInputs,
        target: RecipeTarget,
        store: StepStore,
        cancelled: Cancelled,
        measure: MeasureFiles,
    ) -> None:
        self.reference = inputs.network
        self._inputs = inputs
        self._target = target
        self._store = store
        self._cancelled = cancelled
        self._measure = measure

    def make(self, step: PlannedStep, network: Network, progress: Progress) -> MadeStep:
        """Return the result of a step that starts from a network. Raises what the step raises."""
        kind = step.kind
        parts = self._inputs.parts(
            step=kind.name,
            settings=as_plain(step.settings),
            network=network.digest,
            teacher=self.reference.digest,
        )

        def make(folder: Path) -> dict[str, Any]:
            given = StepInput(
                network.module,
                network.model,
                self.reference.module,
                self._inputs.split,
                folder / MODEL,
                self._store.cache.folder,
            )
            output = kind.run(given, step.settings, progress, self._cancelled)
            told = {"summary": output.summary, "precision": output.precision}
            if output.network is not None:
                told |= write_network(output.network, folder, self._inputs.split)
            return told

        stored = self._store.get_or_make(parts, kind.name, make, self._cancelled)
        summary = stored.metadata["summary"]
        if not kind.changes_network:
            model = load_model(stored.folder / MODEL)
            deployments = tuple(deployments_of(model, stored.metadata["precision"]))
            return MadeStep(None, deployments, summary, stored.was_stored)
        assert network.module is not None
        changed = read_network(stored.folder, network.module, stored.metadata)
        return MadeStep(changed, (), summary, stored.was_stored)

    def measure(self, deployment: Deployment, part: str, progress: Progress) -> MeasuredPoint:
        """Return what a deployment is worth on VALIDATION or TEST.

        Times are measured once: a run that was killed goes on with the decisions that it took.
        """
        split = self._inputs.split
        target = as_plain(self._target)
        parts = self._inputs.parts(
            measured=folder_digest(deployment.model.folder),
            precision=deployment.precision,
            int8_mode=deployment.int8_mode,
            reference=self.reference.digest,
            part=part,
            target={name: target[name] for name in _TIMING},
            machine=self._store.machine,
        )
        meter = PointMeter(
            self.reference.model,
            split.test if part == TEST else split.validation,
            self._target,
            self._store.cache,
            self._measure,
        )
        stored = self._store.get_or_make(
            parts,
            f"measured-{deployment.precision}",
            lambda folder: meter(deployment, progress, self._cancelled).figures(),
            self._cancelled,
        )
        return MeasuredPoint.of_figures(deployment, stored.metadata)
