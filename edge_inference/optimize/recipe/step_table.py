"""All kinds of steps, and the plan of a recipe that names none."""

from __future__ import annotations

import dataclasses
from typing import Any

from edge_inference.optimize.recipe.deployment_steps import QUANTIZE
from edge_inference.optimize.recipe.network_steps import TRAIN
from edge_inference.optimize.recipe.step_kind import PlannedStep, StepKind
from edge_inference.optimize.training.train import TrainingSettings

STEP_KINDS: dict[str, StepKind] = {kind.name: kind for kind in (TRAIN, QUANTIZE)}
"""Each kind of step by its name in a recipe."""


#: What a step takes from the recipe's section ``training``, besides its own epochs and rate.
_SHARED_TRAINING = (
    "batch",
    "weight_decay",
    "optimizer",
    "amp",
    "seed",
    "device",
    "threads",
)


def default_settings(kind: StepKind, training: TrainingSettings) -> Any:
    """Return the settings of a step that gives none; ``training`` is that of the recipe.

    A step that trains on keeps its own number of epochs and learning rate.
    """
    if isinstance(kind.default, TrainingSettings):
        return training
    if not hasattr(kind.default, "training"):
        return kind.default
    shared = {name: getattr(training, name) for name in _SHARED_TRAINING}
    own = dataclasses.replace(kind.default.training, **shared)
    return dataclasses.replace(kind.default, training=own)


def default_plan(
    training: TrainingSettings, *, has_network: bool, is_trained: bool
) -> list[PlannedStep]:
    """Return the steps of a recipe without ``steps``, the least invasive first."""
    quantize = PlannedStep(QUANTIZE, QUANTIZE.default)
    if not has_network:
        return [quantize]
    first = [] if is_trained else [PlannedStep(TRAIN, training)]
    return [*first, quantize]
