"""What a step of a recipe is: a row with a name, its settings, what it does and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.optimize.training.labeled_dataset import DatasetSplit
from edge_inference.optimize.training.torch_model import TorchModel


@dataclass(frozen=True)
class StepInput:
    """What a step starts from.

    ``network`` is the network that reached the step, None for a model that exists as ONNX only,
    ``model`` the same as a model folder in fp32, ``teacher`` the network before any step made it
    smaller. A step that changes the deployment writes its model folder to ``destination``, which
    does not exist. ``work`` is a folder for what a step can resume from.
    """

    network: TorchModel | None
    model: ModelDescription
    teacher: TorchModel | None
    split: DatasetSplit
    destination: Path
    work: Path


@dataclass(frozen=True)
class StepOutput:
    """What a step made: a network, or a model folder at the destination in a precision.

    ``summary`` is a sentence for people.
    """

    network: TorchModel | None = None
    precision: str = "fp32"
    summary: str = ""


@dataclass(frozen=True)
class CostBasis:
    """Seconds measured before the start: one training step of a batch, and one inference.

    ``train_step_s`` is None for a model that cannot be trained. ``train_images`` and
    ``validation_images`` are the sizes of the parts of the data.
    """

    train_step_s: float | None
    inference_s: float
    batch: int
    train_images: int
    validation_images: int

    def training_s(self, epochs: int) -> float:
        """Return the seconds of some epochs."""
        steps = -(-self.train_images // self.batch) * epochs
        return steps * (self.train_step_s or 0.0)


@dataclass(frozen=True)
class StepKind:
    """One kind of step.

    ``default`` has the settings of a step that gives none; its class is read from the recipe.
    ``changes_network`` tells whether the step returns a network; the others deploy the network
    in another precision, and are repeated after a later step has changed the network.
    ``recovers`` tells that the step may bring back accuracy, so that the step before it is
    judged together with it. ``estimate`` returns seconds. ``leave_out`` names settings that are
    no keys of a recipe.
    """

    name: str
    default: Any
    changes_network: bool
    run: Callable[[StepInput, Any, Progress, Cancelled], StepOutput]
    estimate: Callable[[Any, CostBasis], float]
    recovers: bool = False
    leave_out: tuple[str, ...] = ()

    @property
    def needs_network(self) -> bool:
        """Tell whether the step needs PyTorch; those that only deploy can do with ONNX."""
        return self.changes_network or self.name == "quantize_aware"


@dataclass(frozen=True)
class PlannedStep:
    """One step of a plan.

    In the plan that is made without ``steps``, a step with ``only_after_loss`` runs only where
    int8 without it broke the floor, and a step of a ``family`` is skipped once one of the
    same family broke it.
    """

    kind: StepKind
    settings: Any
    only_after_loss: bool = False
    family: str = ""

    @property
    def title(self) -> str:
        """Return the name with the settings that tell steps apart."""
        for name in ("ratio", "student_ratio"):
            ratio = getattr(self.settings, name, None)
            if ratio is not None:
                return f"{self.kind.name} {ratio:g}"
        return self.kind.name
