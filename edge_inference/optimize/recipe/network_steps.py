"""The steps of a recipe that change the network: train, prune, distill."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.errors import ConfigError
from edge_inference.optimize.distillation.distill import Distillation, distill
from edge_inference.optimize.distillation.students import KINDS, make_student
from edge_inference.optimize.distillation.teachers import TorchTeacher
from edge_inference.optimize.pruning.iterative import IterativePruning, prune_iteratively
from edge_inference.optimize.pruning.pruning_report import STRUCTURED
from edge_inference.optimize.pruning.structured import StructuredPruning
from edge_inference.optimize.pruning.unstructured import UnstructuredPruning
from edge_inference.optimize.recipe.step_kind import CostBasis, StepInput, StepKind, StepOutput
from edge_inference.optimize.training.torch_model import (
    TorchModel,
    import_torch,
    module_bytes,
)
from edge_inference.optimize.training.train import TrainingSettings, train

_NETWORK_FILE = "network.pt"


def _train(
    given: StepInput, settings: TrainingSettings, progress: Progress, cancelled: Cancelled
) -> StepOutput:
    report = train(network_of(given), given.split.train, settings, progress, cancelled)
    last = report.epochs[-1]
    return StepOutput(report.model, summary=f"{last.epoch} epochs, loss {last.loss:.4g}")


def _estimate_training(settings: TrainingSettings, basis: CostBasis) -> float:
    return basis.training_s(settings.epochs)


TRAIN = StepKind("train", TrainingSettings(), True, _train, _estimate_training, recovers=True)


@dataclass(frozen=True)
class PruneStep(StructuredPruning):
    """How to prune, and how to train afterwards.

    ``kind`` is structured, or unstructured: that makes no dense runtime faster. With ``steps``
    above 1 the share grows from step to step (arXiv 1710.01878), each with the epochs of
    ``training``. Raises ConfigError.
    """

    kind: str = STRUCTURED
    steps: int = 1
    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(epochs=5, learning_rate=2e-3)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.iterative()  # which checks its values

    def iterative(self) -> IterativePruning:
        """Return the settings of the pruning in steps."""
        return IterativePruning(
            initial=self.ratio / self.steps if self.steps > 0 else self.ratio,
            final=self.ratio,
            steps=self.steps,
            kind=self.kind,
            structured=self,
            unstructured=UnstructuredPruning(self.ratio, self.scope, ignored=self.ignored),
        )


def _prune(
    given: StepInput, settings: PruneStep, progress: Progress, cancelled: Cancelled
) -> StepOutput:
    report = prune_iteratively(
        network_of(given),
        given.split,
        settings.iterative(),
        settings.training,
        progress,
        cancelled,
        runs=None,  # the recipe measures what is deployed
    )
    before, after = report.before, report.after
    what = "channels" if settings.kind == STRUCTURED else "weights"
    return StepOutput(
        report.model,
        summary=f"{report.pruned:.0%} of the {what} removed, MACs ÷{report.macs_ratio:.1f}, "
        f"{before.parameters} → {after.parameters} weights",
    )


def _estimate_pruning(settings: PruneStep, basis: CostBasis) -> float:
    return settings.steps * basis.training_s(settings.training.epochs)


PRUNE = StepKind("prune", PruneStep(), True, _prune, _estimate_pruning)


@dataclass(frozen=True)
class DistillStep(Distillation):
    """How the network learns from the one that the recipe began with, in fp32.

    With ``student_ratio`` the student is made from that network, with at most this share of its
    weights, as a ``student_kind`` of cnn, vit or auto; without, the student is the network as the
    steps before left it. Raises ConfigError.
    """

    student_ratio: float | None = None
    student_kind: str = "auto"
    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(epochs=10, learning_rate=2e-3)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.student_ratio is not None and not 0 < self.student_ratio < 1:
            raise ConfigError(
                f"student_ratio: expected a share between 0 and 1, got {self.student_ratio}"
            )
        if self.student_kind not in KINDS:
            raise ConfigError(
                f"student_kind: expected one of {', '.join(KINDS)}, got {self.student_kind!r}"
            )


def _distill(
    given: StepInput, settings: DistillStep, progress: Progress, cancelled: Cancelled
) -> StepOutput:
    teacher, student = given.teacher, network_of(given)
    assert teacher is not None
    if settings.student_ratio is not None:
        seed = settings.training.seed
        made = make_student(teacher, settings.student_ratio, settings.student_kind, seed)
        student = student.with_module(made.module)
    report = distill(
        student, TorchTeacher(teacher), given.split.train, settings, progress, cancelled
    )
    return StepOutput(report.model, summary=report.summary())


def _estimate_distillation(settings: DistillStep, basis: CostBasis) -> float:
    epochs = sum(stage.epochs for stage in settings.resolved_stages())
    # The teacher computes its targets once; a student is at most as large as the network.
    return basis.training_s(epochs) + basis.train_images * basis.inference_s


DISTILL = StepKind(
    "distill",
    DistillStep(),
    True,
    _distill,
    _estimate_distillation,
    recovers=True,
    leave_out=("unlabeled", "stages"),
)


def network_of(given: StepInput) -> TorchModel:
    """Return the network of a step that needs one; the recipe was checked for it."""
    assert given.network is not None
    return given.network


def save_network(model: TorchModel, folder: Path) -> None:
    """Write a network into a folder.

    It is pickled whole, because pruning changes its layers. Raises ModelError for one that
    cannot be, OSError for a full disk.
    """
    (folder / _NETWORK_FILE).write_bytes(module_bytes(model.module, f"model {model.name}"))


def load_network(folder: Path, like: TorchModel) -> TorchModel:
    """Return a network that :func:`save_network` wrote.

    Reading a pickle runs code: the folder must be one whose content was verified.
    """
    torch = import_torch()
    module = torch.load(folder / _NETWORK_FILE, map_location="cpu", weights_only=False)
    return like.with_module(module)


def network_digest(model: TorchModel) -> str:
    """Return a sha256 over the names, types, shapes and values of all weights and buffers."""
    digest = hashlib.sha256(repr((model.input, model.labels)).encode())
    state: dict[str, Any] = model.module.state_dict()
    for name, value in state.items():
        array = value.detach().cpu().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
