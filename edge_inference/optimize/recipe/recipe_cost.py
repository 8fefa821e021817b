"""What a recipe costs: measured on one training step and one inference before it starts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.optimize.recipe.measured_point import for_graph
from edge_inference.optimize.recipe.step_kind import CostBasis, PlannedStep
from edge_inference.optimize.recipe.target import RecipeTarget
from edge_inference.optimize.training.labeled_dataset import DatasetSplit
from edge_inference.optimize.training.torch_model import TorchModel
from edge_inference.optimize.training.train import TrainingSettings, train

_TIMED_BATCHES = 3
_TIMED_INFERENCES = 5
#: Export and derivation of a small network; most of it does not depend on the network.
_EXPORT_S = 1.5


@dataclass(frozen=True)
class PlannedCost:
    """One step of a plan with its estimated seconds."""

    title: str
    seconds: float


def measure_cost_basis(
    network: TorchModel | None,
    model: ModelDescription,
    split: DatasetSplit,
    training: TrainingSettings,
    cancelled: Cancelled = lambda: False,
    now_s: Callable[[], float] = time.perf_counter,
) -> CostBasis:
    """Time some training steps and inferences. Raises what training and an inference raise."""
    train_step_s = None
    if network is not None:
        few = split.train.subset(range(min(training.batch * _TIMED_BATCHES, len(split.train))))
        settings = dataclasses.replace(training, epochs=1)
        train(network, few.subset([0, 1]), settings, cancelled=cancelled)  # imports and warms up
        started_s = now_s()
        train(network, few, settings, cancelled=cancelled)
        train_step_s = (now_s() - started_s) / -(-len(few) // training.batch)
    images, _ = split.validation.load([0])
    tensor = for_graph(images, model.input)
    with OrtBackend(model.variants["fp32"].file).fit_to(model) as backend:
        backend.infer({model.input.name: tensor})
        started_s = now_s()
        for _ in range(_TIMED_INFERENCES):
            backend.infer({model.input.name: tensor})
        inference_s = (now_s() - started_s) / _TIMED_INFERENCES
    return CostBasis(
        train_step_s, inference_s, training.batch, len(split.train), len(split.validation)
    )


def plan_costs(
    plan: Sequence[PlannedStep], basis: CostBasis, target: RecipeTarget
) -> tuple[PlannedCost, ...]:
    """Return each step with its estimated seconds, the measurement of its result included.

    Steps that turn out to be unnecessary cost nothing, so that the sum is an upper estimate.
    """
    point_s = _EXPORT_S + basis.inference_s * (basis.validation_images + 2 * target.runs)
    costs, repeated_s = [], 0.0
    for step in plan:
        own_s = step.kind.estimate(step.settings, basis) + point_s
        if step.kind.changes_network:
            costs.append(PlannedCost(step.title, own_s + repeated_s))
        else:
            costs.append(PlannedCost(step.title, own_s))
            # The deployment is repeated for each later network.
            repeated_s = repeated_s if step.only_after_loss else max(repeated_s, own_s)
    return tuple(costs)


class RecipeProgress:
    """Tells the progress of the whole recipe: the step, what it does, and the time left.

    The time left is the estimate for the remaining steps, corrected by how long the finished
    ones took against theirs, and by the present phase where that takes longer.
    """

    def __init__(
        self,
        costs: Sequence[PlannedCost],
        progress: Progress,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._costs = costs
        self._progress = progress
        self._now_s = now_s
        self._step = -1
        self._phase = ""
        self._started_s = self._phase_started_s = now_s()
        self._estimated_s = self._taken_s = 0.0

    def begin(self, step: int) -> Progress:
        """Begin the step with this index and return where its progress goes."""
        self._step = step
        self._phase = ""
        self._started_s = self._now_s()
        return self._tell

    def end(self, was_stored: bool) -> None:
        """End the step; one that an earlier run had finished says nothing about the speed."""
        if not was_stored:
            self._estimated_s += self._costs[self._step].seconds
            self._taken_s += self._now_s() - self._started_s

    def _tell(self, phase: str, fraction: float | None) -> None:
        now_s = self._now_s()
        if phase != self._phase:
            self._phase, self._phase_started_s = phase, now_s
        own = self._costs[self._step]
        pace = self._taken_s / self._estimated_s if self._estimated_s and self._taken_s else 1.0
        elapsed_s = now_s - self._started_s
        own_left_s = max(own.seconds * pace - elapsed_s, 0.0)
        if fraction:
            phase_s = now_s - self._phase_started_s
            own_left_s = max(own_left_s, phase_s * (1 - fraction) / fraction)
        before_s = sum(cost.seconds for cost in self._costs[: self._step])
        after_s = sum(cost.seconds for cost in self._costs[self._step + 1 :])
        own_share = elapsed_s / (elapsed_s + own_left_s) if elapsed_s + own_left_s else 0.0
        total_s = before_s + own.seconds + after_s
        share = "" if fraction is None else f" {fraction:.0%}"
        self._progress(
            f"step {self._step + 1} of {len(self._costs)}, {own.title}: {phase}{share}, "
            f"about {max(own_left_s + after_s * pace, 1.0):.0f} s left",
            (before_s + own_share * own.seconds) / total_s if total_s else None,
        )
