"""All kinds of steps, and the plan of a recipe that names none."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

from edge_inference.optimize.recipe.deployment_steps import (
    MIXED_PRECISION,
    QUANTIZE,
    QUANTIZE_AWARE,
)
from edge_inference.optimize.recipe.network_steps import (
    DISTILL,
    PRUNE,
    TRAIN,
    DistillStep,
    PruneStep,
)
from edge_inference.optimize.recipe.step_kind import PlannedStep, StepKind
from edge_inference.optimize.training.train import TrainingSettings

_ALL = (TRAIN, QUANTIZE, MIXED_PRECISION, QUANTIZE_AWARE, PRUNE, DISTILL)

STEP_KINDS: dict[str, StepKind] = {kind.name: kind for kind in _ALL}
"""Each kind of step by its name in a recipe."""


#: The default plan prunes so often, each time this share of the channels that are left.
_PRUNINGS, _PRUNED_EACH = 3, 0.3
_STUDENT_RATIO = 0.25
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
    """Return the steps of a recipe without ``steps``, the least invasive first.

    Quantization rounds the weights, in all layers or where it pays; a training with rounding
    moves them, pruning takes channels away, and distillation takes another network.
    """
    if not has_network:
        return [PlannedStep(kind, kind.default) for kind in (QUANTIZE, MIXED_PRECISION)]

    def plan(kind: StepKind, settings: Any = None, **further: Any) -> PlannedStep:
        own = kind if settings is None else replace(kind, default=settings)
        return PlannedStep(kind, default_settings(own, training), **further)

    aware = plan(QUANTIZE_AWARE, only_after_loss=True)
    steps = [] if is_trained else [plan(TRAIN)]
    steps += [plan(QUANTIZE), plan(MIXED_PRECISION), aware]
    for _ in range(_PRUNINGS):
        steps += [plan(PRUNE, PruneStep(ratio=_PRUNED_EACH), family="prune"), aware]
    return [*steps, plan(DISTILL, DistillStep(student_ratio=_STUDENT_RATIO)), aware]
