"""Fine-tuning of pruned models: after the pruning, or between steps of a little each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.errors import ConfigError, ModelError
from edge_inference.optimize.onnx_timing import DEFAULT_RUNS
from edge_inference.optimize.pruning.network_figures import (
    compare_layers,
    compare_networks,
    sparsity,
)
from edge_inference.optimize.pruning.pruning_report import (
    STRUCTURED,
    UNSTRUCTURED,
    KeptLayer,
    PruningReport,
    PruningStep,
)
from edge_inference.optimize.pruning.structured import (
    NothingToPruneError,
    StructuredPruning,
    remove_channels,
)
from edge_inference.optimize.pruning.unstructured import (
    UnstructuredPruning,
    make_permanent,
    mask_weights,
)
from edge_inference.optimize.training.evaluate import evaluate
from edge_inference.optimize.training.labeled_dataset import DatasetSplit
from edge_inference.optimize.training.torch_model import TorchModel
from edge_inference.optimize.training.train import TrainingSettings, train

SCHEDULES = ("cubic", "linear")
KINDS = (STRUCTURED, UNSTRUCTURED)
_MAX_STEPS = 1000


@dataclass(frozen=True)
class IterativePruning:
    """How to prune from a share of ``initial`` to one of ``final`` in ``steps``.

    The schedule ``cubic`` (Zhu and Gupta, arXiv 1710.01878) prunes most at first, while there is
    much that the network does not need; ``linear`` prunes equal shares. ``min_accuracy``, 0 to 1,
    is the least accuracy on the validation images that a step must keep. ``structured`` and
    ``unstructured`` have the settings of the kind; their ratio has no effect. Raises ConfigError.
    """

    initial: float = 0.1
    final: float = 0.5
    steps: int = 5
    schedule: str = "cubic"
    kind: str = STRUCTURED
    min_accuracy: float | None = None
    structured: StructuredPruning = field(default_factory=StructuredPruning)
    unstructured: UnstructuredPruning = field(default_factory=UnstructuredPruning)

    def __post_init__(self) -> None:
        if not 0 < self.initial <= self.final < 1:
            raise ConfigError(
                "initial and final: expected 0 < initial <= final < 1, got "
                f"{self.initial} and {self.final}"
            )
        if not 1 <= self.steps <= _MAX_STEPS:
            raise ConfigError(f"steps: expected 1 to {_MAX_STEPS}, got {self.steps}")
        for name, known in (("schedule", SCHEDULES), ("kind", KINDS)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if self.min_accuracy is not None and not 0 <= self.min_accuracy <= 1:
            raise ConfigError(f"min_accuracy: expected 0 to 1, got {self.min_accuracy}")

    def targets(self) -> list[float]:
        """Return the share that is pruned after each step."""
        if self.steps == 1:
            return [self.final]
        exponent = 3 if self.schedule == "cubic" else 1
        return [
            self.final + (self.initial - self.final) * (1 - step / (self.steps - 1)) ** exponent
            for step in range(self.steps)
        ]


@dataclass(frozen=True)
class _Pruned:
    model: TorchModel
    pruned: float
    kept: tuple[KeptLayer, ...] = ()
    original: Mapping[str, int] | None = None


def prune_iteratively(
    model: TorchModel,
    split: DatasetSplit,
    settings: IterativePruning,
    training: TrainingSettings,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    *,
    runs: int | None = DEFAULT_RUNS,
) -> PruningReport:
    """Prune and fine-tune in turn, and measure the given and the last model.

    Each step trains for the epochs of ``training`` on the training images and is judged on the
    validation images. A step below ``min_accuracy`` is rolled back and ends the pruning. The
    accuracies of the report are of the test images. ``runs`` None measures no time. Raises
    ModelError if the first step is below ``min_accuracy`` already, and what
    :func:`prune_structured` and :func:`train` raise.
    """
    prune = _prune_channels if settings.kind == STRUCTURED else _prune_weights
    last = _Pruned(model, 0.0)
    steps: list[PruningStep] = []
    targets = settings.targets()
    for number, target in enumerate(targets):
        inside = _part(progress, number, len(targets) + 1)
        inside(f"step {number + 1} of {len(targets)}: pruning to {target:.0%}", 0.0)
        candidate = _step(prune, last, target, split, settings, training, inside, cancelled)
        accuracy = evaluate(candidate.model, split.validation)
        if settings.min_accuracy is not None and accuracy.share < settings.min_accuracy:
            if not steps:
                raise ModelError(
                    f"model {model.name}: {accuracy.share:.1%} accuracy on the validation images "
                    f"after the first step, with {candidate.pruned:.0%} pruned, is below "
                    f"min_accuracy {settings.min_accuracy:.1%}; train longer, start from a lower "
                    "initial share, or accept less"
                )
            steps.append(PruningStep(target, candidate.pruned, accuracy, kept=False))
            break
        steps.append(PruningStep(target, candidate.pruned, accuracy))
        last = candidate
    measuring = _part(progress, len(targets), len(targets) + 1)
    before, after = compare_networks(model, last.model, runs, measuring, cancelled)
    return PruningReport(
        model=last.model,
        kind=settings.kind,
        ratio=settings.final,
        pruned=last.pruned,
        before=replace(before, accuracy=evaluate(model, split.test)),
        after=replace(after, accuracy=evaluate(last.model, split.test)),
        layers=compare_layers(model.module, last.model.module),
        kept=last.kept,
        steps=tuple(steps),
    )


def fine_tune(
    report: PruningReport,
    split: DatasetSplit,
    training: TrainingSettings,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> PruningReport:
    """Train the model of a structured pruning, and return the report with its accuracy.

    The accuracy is of the test images. The times stay: they do not depend on the weights. Raises
    ConfigError for zeros that a training would fill, and what :func:`train` raises.
    """
    if report.kind != STRUCTURED:
        raise ConfigError(
            f"kind: a training fills the zeros of {report.kind} pruning; give the training to "
            "prune_unstructured"
        )
    model = train(report.model, split.train, training, progress, cancelled).model
    return replace(
        report, model=model, after=replace(report.after, accuracy=evaluate(model, split.test))
    )


def _step(
    prune: Callable[[_Pruned, float, DatasetSplit, IterativePruning, Cancelled], _Pruned],
    last: _Pruned,
    target: float,
    split: DatasetSplit,
    settings: IterativePruning,
    training: TrainingSettings,
    progress: Progress,
    cancelled: Cancelled,
) -> _Pruned:
    pruned = prune(last, target, split, settings, cancelled)
    trained = train(pruned.model, split.train, training, progress, cancelled).model
    if settings.kind == STRUCTURED:
        return replace(pruned, model=trained)
    permanent = make_permanent(trained)
    return replace(pruned, model=permanent, pruned=sparsity(permanent.module)[1])


def _prune_channels(
    last: _Pruned,
    target: float,
    split: DatasetSplit,
    settings: IterativePruning,
    cancelled: Cancelled,
) -> _Pruned:
    chosen = replace(settings.structured, ratio=target)
    try:
        removed = remove_channels(
            last.model, chosen, cancelled, dataset=split.train, original=last.original
        )
    except NothingToPruneError:
        if last.original is None:
            raise
        return last  # no block of channels more at this step
    model = last.model.with_module(removed.module)
    return _Pruned(model, removed.pruned, removed.kept, removed.channels)


def _prune_weights(
    last: _Pruned,
    target: float,
    split: DatasetSplit,
    settings: IterativePruning,
    cancelled: Cancelled,
) -> _Pruned:
    masked, kept = mask_weights(last.model, replace(settings.unstructured, ratio=target))
    return _Pruned(masked, target, kept)


def _part(progress: Progress, number: int, count: int) -> Progress:
    """Return a progress of one of several equal parts."""

    def report(phase: str, fraction: float | None) -> None:
        progress(phase, None if fraction is None else (number + fraction) / count)

    return report
