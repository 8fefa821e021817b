"""The progress of a recipe: the time left follows what the finished steps took."""

from __future__ import annotations

import re

from edge_inference.optimize.recipe.recipe_cost import (
    PlannedCost,
    RecipeProgress,
    plan_costs,
)
from edge_inference.optimize.recipe.step_kind import CostBasis
from edge_inference.optimize.recipe.step_table import default_plan
from edge_inference.optimize.recipe.target import RecipeTarget
from edge_inference.optimize.training.train import TrainingSettings


class _Watch:
    """Collects what is told, by a clock of its own."""

    def __init__(self, *seconds: float) -> None:
        self.now_s = 0.0
        self.told: list[tuple[str, float | None]] = []
        costs = [PlannedCost(f"step {number}", each) for number, each in enumerate(seconds)]
        self.progress = RecipeProgress(
            costs, lambda *told: self.told.append(told), lambda: self.now_s
        )

    def left_s(self) -> int:
        found = re.search(r"about (\d+) s left", self.told[-1][0])
        assert found is not None
        return int(found[1])

    def fraction(self) -> float:
        fraction = self.told[-1][1]
        assert fraction is not None
        return fraction


def test_the_time_left_follows_the_pace() -> None:
    watch = _Watch(10.0, 20.0)
    tell = watch.progress.begin(0)
    tell("training", 0.0)
    assert watch.told[-1][0].startswith("step 1 of 2, step 0: training 0%")
    assert watch.left_s() == 30
    watch.now_s = 20.0  # twice as long as estimated
    watch.progress.end(was_stored=False)
    watch.progress.begin(1)("training", 0.0)
    assert watch.left_s() == 40
    assert watch.fraction() == 1 / 3


def test_a_step_of_an_earlier_run_changes_no_pace() -> None:
    watch = _Watch(10.0, 20.0)
    watch.progress.begin(0)
    watch.now_s = 0.1
    watch.progress.end(was_stored=True)
    watch.progress.begin(1)("training", 0.0)
    assert watch.left_s() == 20


def test_a_phase_that_takes_longer_corrects_the_estimate() -> None:
    watch = _Watch(10.0, 5.0)
    tell = watch.progress.begin(0)
    tell("training", 0.0)
    watch.now_s = 30.0
    tell("training", 0.25)
    assert watch.left_s() == 90 + 5
    fractions = [fraction for _, fraction in watch.told]
    assert fractions == sorted(fractions, key=lambda each: each or 0.0)


def test_the_default_plan_repeats_the_deployment_of_each_network() -> None:
    basis = CostBasis(0.01, 0.001, 32, 320, 100)
    plan = default_plan(TrainingSettings(epochs=4), has_network=True, is_trained=False)
    costs = {cost.title: cost.seconds for cost in plan_costs(plan, basis, RecipeTarget())}
    names = [step.kind.name for step in plan]
    assert names[:5] == ["train", "quantize", "mixed_precision", "quantize_aware", "prune"]
    assert names[-2:] == ["distill", "quantize_aware"]
    assert costs["train"] < costs["mixed_precision"] < costs["prune 0.3"]
    of_onnx = default_plan(TrainingSettings(), has_network=False, is_trained=True)
    assert [step.kind.name for step in of_onnx] == ["quantize", "mixed_precision"]
