"""Walks through the steps of a plan: makes each, judges it, keeps the best so far."""

from __future__ import annotations

from collections.abc import Sequence

from edge_inference.core.measured_costs import FASTER
from edge_inference.engines.cache.artifacts import Progress
from edge_inference.errors import ModelError
from edge_inference.optimize.recipe import recipe_log
from edge_inference.optimize.recipe.measured_point import Deployment, MeasuredPoint
from edge_inference.optimize.recipe.recipe_cost import RecipeProgress
from edge_inference.optimize.recipe.recipe_file import Recipe
from edge_inference.optimize.recipe.recipe_inputs import Network
from edge_inference.optimize.recipe.recipe_log import RecipeDecision, RecipeLog
from edge_inference.optimize.recipe.step_kind import PlannedStep
from edge_inference.optimize.recipe.step_maker import VALIDATION, MadeStep, StepMaker


class PlanWalk:
    """The state of a run: the network that goes on, and the best deployment so far.

    A deployment is kept if it is accurate enough; the best is the fastest of those. Of two that
    are about as fast the more accurate one is better. A step that changes the network is rolled
    back if the network is not accurate enough then; the next step starts from the one before.
    """

    def __init__(
        self, recipe: Recipe, maker: StepMaker, log: RecipeLog, progress: RecipeProgress
    ) -> None:
        self._plan = recipe.plan
        self._first_trainings = recipe.first_trainings
        self._target = recipe.target
        self._maker = maker
        self._log = log
        self._progress = progress
        self._network = maker.reference
        self._pending: Network | None = None
        #: The step to be repeated after the network has changed: that which deployed it, or the
        #: first one that could not.
        self._deploying: PlannedStep | None = None
        #: The best deployment of the present network by such a step.
        self._deployed: MeasuredPoint | None = None
        self._has_lost = False
        self._broken_families: set[str] = set()
        self.best: MeasuredPoint | None = None
        self.floor = 0.0

    def run(self) -> MeasuredPoint:
        """Make the steps until the target is met; return the best point."""
        plan, first = self._plan, self._first_trainings
        for index in range(first):
            self._train_first(index, plan[index])
        if self._measure_reference(first):
            return self.result()
        for index in range(first, len(plan)):
            step = plan[index]
            reason = self._reason_to_skip(step)
            if reason:
                self._log.add(RecipeDecision(index + 1, step.title, recipe_log.SKIPPED, reason))
                continue
            following = plan[index + 1] if index + 1 < len(plan) else None
            self._log.start(index + 1, step.title)
            try:
                points = self._take(index + 1, step, following)
            except ModelError as error:
                _require_own_fault(error)
                self._pending = None
                self._log.add(RecipeDecision(index + 1, step.title, recipe_log.FAILED, str(error)))
                continue
            if self._is_met(points):
                return self.result()
        self._log.add(
            RecipeDecision(
                0,
                "plan",
                recipe_log.STOPPED,
                "all steps are done, and none met the target with time to spare",
            )
        )
        return self.result()

    def _take(
        self, number: int, step: PlannedStep, following: PlannedStep | None
    ) -> list[MeasuredPoint]:
        """Make a step and judge it; return the points that keep the floor."""
        progress = self._progress.begin(number)
        made = self._maker.make(step, self._pending or self._network, progress)
        if made.network is None:
            points = self._judge_deployment(number, step, made, progress)
        else:
            points = self._judge_network(number, step, made, following, progress)
        self._progress.end(made.was_stored)
        return points

    def result(self) -> MeasuredPoint:
        """Return the best point."""
        assert self.best is not None
        return self.best

    def _train_first(self, index: int, step: PlannedStep) -> None:
        """Train before anything is compared: the trained network in fp32 is the reference."""
        self._log.start(index + 1, step.title)
        progress = self._progress.begin(index)
        made = self._maker.make(step, self._network, progress)
        assert made.network is not None
        self._network = self._maker.reference = made.network
        self._log.add(
            RecipeDecision(
                index + 1,
                step.title,
                recipe_log.KEPT,
                made.summary,
                was_stored=made.was_stored,
            )
        )
        self._progress.end(made.was_stored)

    def _measure_reference(self, index: int) -> bool:
        """Measure the network in fp32; return whether the walk ends with it."""
        progress = self._progress.begin(index)
        point = self._measure_on_validation(
            Deployment(self._maker.reference.model, "fp32"), progress
        )
        self.best = point
        self.floor = self._target.floor(point.accuracy)
        self._log.add(
            RecipeDecision(
                0,
                "network in fp32",
                recipe_log.KEPT,
                f"{point.describe(is_reference=True)}; at least {self.floor:.1%} is needed",
                point.figures(),
            )
        )
        if point.problems or point.accuracy.share < self.floor:
            self._log.add(
                RecipeDecision(
                    0,
                    "plan",
                    recipe_log.STOPPED,
                    "the network in fp32 is not accurate enough itself, and no step that makes it "
                    "smaller mends that: train it longer, or set a lower min_accuracy",
                )
            )
            return True
        return self._is_met([point])

    def _reason_to_skip(self, step: PlannedStep) -> str:
        if step.only_after_loss and not self._has_lost:
            return "int8 of this network keeps the accuracy without it"
        if step.family and step.family in self._broken_families:
            return "an earlier step of this kind broke the floor, and this one goes further"
        return ""

    def _judge_network(
        self,
        number: int,
        step: PlannedStep,
        made: MadeStep,
        following: PlannedStep | None,
        progress: Progress,
    ) -> list[MeasuredPoint]:
        """Keep or roll back a changed network; return its points."""
        assert made.network is not None
        plain = self._measure_on_validation(Deployment(made.network.model, "fp32"), progress)

        def decide(outcome: str, reason: str, point: MeasuredPoint) -> None:
            self._log.add(
                RecipeDecision(
                    number, step.title, outcome, reason, point.figures(), made.was_stored
                )
            )

        if not plain.keeps(self.floor):
            if following is not None and following.kind.recovers:
                self._pending = made.network
                decide(
                    recipe_log.DEFERRED,
                    f"{plain.describe()}; {following.title} may bring the accuracy back",
                    plain,
                )
                return []
            self._pending = None
            if step.family:
                self._broken_families.add(step.family)
            decide(recipe_log.ROLLED_BACK, self._why_broken(plain), plain)
            return []
        self._network, self._pending = made.network, None
        deployed, reason = self._deploy_again(made.network, progress)
        points = [plain, *deployed]
        own = max(points, key=lambda point: point.speedup)
        self._consider(points)
        if self.result() not in points:
            best = self.result()
            reason += f"; not faster than the best so far, which has {best.speedup:.2f}"
        decide(recipe_log.KEPT, f"{made.summary}; {own.describe()}{reason}", own)
        return points

    def _deploy_again(
        self, network: Network, progress: Progress
    ) -> tuple[list[MeasuredPoint], str]:
        """Repeat the deployment on a changed network; return its points that keep the floor.

        The text says why there are none.
        """
        self._deployed, self._has_lost = None, False
        if self._deploying is None:
            return [], ""
        title = self._deploying.title
        try:
            made = self._maker.make(self._deploying, network, progress)
            points = [self._measure_on_validation(each, progress) for each in made.deployments]
        except ModelError as error:
            _require_own_fault(error)
            self._has_lost = True
            return [], f"; {title} of it failed: {error}"
        kept = [point for point in points if point.keeps(self.floor)]
        self._has_lost = not kept
        if not kept:
            return [], f"; {title} of it: {self._why_broken(points[0])}"
        self._deployed = max(kept, key=lambda point: point.speedup)
        return kept, ""

    def _judge_deployment(
        self, number: int, step: PlannedStep, made: MadeStep, progress: Progress
    ) -> list[MeasuredPoint]:
        """Keep or roll back another precision of the network; return the points that keep."""
        points = [self._measure_on_validation(each, progress) for each in made.deployments]
        kept = [point for point in points if point.keeps(self.floor)]
        if self._deployed is None:
            self._has_lost = not kept
        self._deploying = self._deploying or step
        if not kept:
            point = max(points, key=lambda each: each.accuracy.share)
            outcome, reason = recipe_log.ROLLED_BACK, self._why_broken(point)
        else:
            point = max(kept, key=lambda each: each.speedup)
            outcome, reason = recipe_log.NOT_FASTER, f"{made.summary}; {point.describe()}"
            plain = self._measure_on_validation(Deployment(self._network.model, "fp32"), progress)
            others = [plain] if self._deployed is None else [plain, self._deployed]
            other = max(others, key=lambda each: each.speedup)
            if _is_better(point, other):
                outcome = recipe_log.KEPT
                self._deploying, self._deployed = step, point
            else:
                reason += f"; {other.deployment.name} of the same network has {other.speedup:.2f}"
            self._consider(kept)
        self._log.add(
            RecipeDecision(number, step.title, outcome, reason, point.figures(), made.was_stored)
        )
        return kept

    def _measure_on_validation(self, deployment: Deployment, progress: Progress) -> MeasuredPoint:
        return self._maker.measure(deployment, VALIDATION, progress)

    def _consider(self, points: Sequence[MeasuredPoint]) -> None:
        for point in points:
            if _is_better(point, self.result()):
                self.best = point

    def _is_met(self, points: Sequence[MeasuredPoint]) -> bool:
        met = [point for point in points if point.meets(self._target, self.floor)]
        if not met:
            return False
        self.best = max(met, key=lambda point: point.speedup)
        self._log.add(
            RecipeDecision(
                0,
                "plan",
                recipe_log.STOPPED,
                f"the target is met by {self.best.describe()}; further steps would only cost "
                "accuracy",
                self.best.figures(),
            )
        )
        return True

    def _why_broken(self, point: MeasuredPoint) -> str:
        if point.accuracy.share < self.floor:
            return f"{point.describe()}; less than the {self.floor:.1%} needed"
        return f"{point.describe()}; the self-check fails"


def _is_better(point: MeasuredPoint, other: MeasuredPoint) -> bool:
    """Tell whether a point is clearly faster, or about as fast and more accurate."""
    if point.speedup * FASTER > other.speedup:
        return True
    is_as_fast = point.speedup >= other.speedup * FASTER
    return is_as_fast and point.accuracy.share > other.accuracy.share


def _require_own_fault(error: ModelError) -> None:
    """Raise an error again that the disk is to blame for: it would hit every other step, too."""
    if isinstance(error.__cause__, OSError):
        raise error
