"""The result of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.recipe.measured_point import MeasuredPoint
from edge_inference.optimize.recipe.recipe_cost import PlannedCost
from edge_inference.optimize.recipe.recipe_file import Recipe
from edge_inference.optimize.recipe.recipe_log import RecipeDecision


@dataclass(frozen=True)
class RecipePlan:
    """What a recipe will do at most, with estimated seconds; ``log_folder`` has its log."""

    recipe: Recipe
    costs: tuple[PlannedCost, ...]
    log_folder: Path

    @property
    def seconds(self) -> float:
        """Return the estimated seconds of all steps."""
        return sum(cost.seconds for cost in self.costs)

    def to_json(self) -> dict[str, Any]:
        """Return the plan for JSON."""
        return {
            "target": self.recipe.target.describe(),
            "steps": [
                {"step": index, "title": cost.title, "seconds": round(cost.seconds, 1)}
                for index, cost in enumerate(self.costs)
            ],
            "seconds": round(self.seconds, 1),
            "log": str(self.log_folder),
        }


@dataclass(frozen=True)
class RecipeReport:
    """What a recipe found.

    ``chosen`` was measured on the validation part, by which it was chosen, ``tested`` is the same
    deployment on the test part, ``reference_accuracy`` that of the network in fp32 there.
    ``misses`` says what of the target ``tested`` does not meet. ``engine`` is a sentence about
    TensorRT. ``sha256`` covers all files of the model folder ``output``.
    """

    recipe: Recipe
    decisions: tuple[RecipeDecision, ...]
    chosen: MeasuredPoint
    tested: MeasuredPoint
    reference_accuracy: MeasuredAccuracy
    misses: tuple[str, ...]
    engine: str
    output: Path
    sha256: str
    log_folder: Path

    @property
    def is_met(self) -> bool:
        """Tell whether the model meets the target on the test part."""
        return not self.misses

    def summary(self) -> str:
        """Return the outcome in a few sentences."""
        outcome = "PASS" if self.is_met else f"FAIL: {'; '.join(self.misses)}"
        reference = self.reference_accuracy
        return (
            f"{outcome}. {self.output} on {self.tested.accuracy.total} test images in "
            f"{self.tested.describe()}; fp32 had {reference.share:.1%}, "
            f"{self.tested.reference_time.median_s * 1e3:.3g} ms. {self.engine}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "met": self.is_met,
            "misses": list(self.misses),
            "target": self.recipe.target.describe(),
            "chosen": self.chosen.figures(),
            "tested": self.tested.figures(),
            "reference_accuracy": self.reference_accuracy.share,
            "engine": self.engine,
            "output": str(self.output),
            "sha256": self.sha256,
            "log": str(self.log_folder),
        }
