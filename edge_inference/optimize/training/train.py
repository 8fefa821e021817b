"""The training loop, deterministic with a seed, in float32 or mixed precision."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.errors import CancelledError, ConfigError, ModelError, SourceError
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.training.labeled_dataset import LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel, import_torch

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Returns the loss of one batch: the module in training mode, images and classes.
LossFunction = Callable[["nn.Module", "Tensor", "Tensor"], "Tensor"]
#: Called with the module before each epoch and after each step, such as to keep zeros at zero.
Hook = Callable[["nn.Module"], object]

_OPTIMIZERS = ("adamw", "sgd")
_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class TrainingSettings:
    """How to train. The learning rate falls to zero along half a cosine (arXiv 1608.03983).

    ``amp`` computes in bfloat16 on a CPU and in float16 with scaled gradients on a GPU where that
    is safe (torch.amp); the weights stay float32. Raises ConfigError.
    """

    epochs: int = 5
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    optimizer: str = "adamw"
    amp: bool = False
    seed: int = 0
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ConfigError(f"learning_rate: expected more than 0, got {self.learning_rate}")
        for name, known in (("optimizer", _OPTIMIZERS), ("device", _DEVICES)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}"
                )


@dataclass(frozen=True)
class EpochReport:
    """One epoch: the mean loss of its batches."""

    epoch: int
    loss: float


@dataclass(frozen=True)
class TrainingReport:
    """A trained model and its epochs."""

    model: TorchModel
    epochs: tuple[EpochReport, ...]


def train(
    model: TorchModel,
    dataset: LabeledDataset,
    settings: TrainingSettings,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    *,
    loss: LossFunction | None = None,
    after_step: Hook = lambda module: None,
) -> TrainingReport:
    """Train a copy of a model and return it in evaluation mode.

    ``loss`` is the cross-entropy with the true classes by default. The same seed, threads and
    machine give the same weights. Raises ConfigError without the requested device, ModelError for
    outputs that are no logits of the dataset's classes and for a loss that is not finite,
    CancelledError soon after ``cancelled`` returns True.
    """
    torch = import_torch()
    _check_device(torch, settings.device)
    _check_classes(model, dataset)
    module = copy.deepcopy(model.module).to(settings.device)
    steps = -(-len(dataset) // settings.batch) * settings.epochs
    optimizer = _make_optimizer(torch, module, settings)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    scaler = torch.amp.GradScaler(settings.device, enabled=_scales(settings))
    order = np.random.default_rng(settings.seed)
    find_loss = loss or cross_entropy
    reports = []
    with deterministic(settings.seed, settings.threads):
        module.train()
        step = 0
        for epoch in range(settings.epochs):
            losses = []
            for images, class_ids in dataset.batches(
                settings.batch, order.permutation(len(dataset))
            ):
                if cancelled():
                    raise CancelledError(f"model {model.name}: the training was cancelled")
                optimizer.zero_grad()
                with _autocast(torch, settings):
                    value = find_loss(
                        module,
                        torch.from_numpy(images).to(settings.device),
                        torch.from_numpy(class_ids).to(settings.device),
                    )
                scaler.scale(value).backward()
                scaler.step(optimizer)
                scaler.update()
                schedule.step()
                after_step(module)
                losses.append(float(value.detach()))
                step += 1
                progress(f"training, epoch {epoch + 1} of {settings.epochs}", step / steps)
            mean = float(np.mean(losses))
            if not math.isfinite(mean):
                raise ModelError(
                    f"model {model.name}: the loss of epoch {epoch + 1} is {mean}; use a lower "
                    f"learning_rate than {settings.learning_rate}"
                )
            reports.append(EpochReport(epoch + 1, mean))
    return TrainingReport(model.with_module(module.cpu()), tuple(reports))


def cross_entropy(module: nn.Module, images: Tensor, class_ids: Tensor) -> Tensor:
    """Return the cross-entropy of the module's logits with the true classes."""
    torch = import_torch()
    return torch.nn.functional.cross_entropy(module(images), class_ids)


def evaluate(model: TorchModel, dataset: LabeledDataset, batch: int = 256) -> MeasuredAccuracy:
    """Return how many images a module in evaluation mode classifies correctly."""
    torch = import_torch()
    correct = 0
    with torch.inference_mode():
        for images, class_ids in dataset.batches(batch):
            logits = model.module(torch.from_numpy(images))
            correct += int((logits.argmax(1).numpy() == class_ids).sum())
    return MeasuredAccuracy(correct, len(dataset))


@contextmanager
def deterministic(seed: int, threads: int = 1) -> Iterator[None]:
    """Seed torch and fix its threads and algorithms; restore all of them at the end.

    With another number of threads sums are rounded in another order, so that a training takes
    another course.
    """
    torch = import_torch()
    used, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    state = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(used)
        torch.random.set_rng_state(state)


def _make_optimizer(torch: Any, module: nn.Module, settings: TrainingSettings) -> Any:
    parameters = [each for each in module.parameters() if each.requires_grad]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            settings.learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=settings.weight_decay,
        )
    return torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay)


def _scales(settings: TrainingSettings) -> bool:
    """Tell whether gradients are scaled: float16 would round small ones to zero."""
    return settings.amp and settings.device == "cuda"


def _autocast(torch: Any, settings: TrainingSettings) -> Any:
    dtype = torch.float16 if settings.device == "cuda" else torch.bfloat16
    return torch.autocast(settings.device, dtype=dtype, enabled=settings.amp)


def _check_device(torch: Any, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device: cuda is not available to PyTorch {torch.__version__}; choose cpu, or install "
            "a build with CUDA"
        )


def _check_classes(model: TorchModel, dataset: LabeledDataset) -> None:
    torch = import_torch()
    if not len(dataset):
        raise SourceError(f"dataset {dataset.name}: expected at least one image, got none")
    images, _ = dataset.load([0])
    try:
        with torch.inference_mode():
            logits = model.module(torch.from_numpy(images))
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f"model {model.name}: it does not take images of the shape {list(images.shape)} of "
            f"dataset {dataset.name}: {str(error).splitlines()[0]}"
        ) from error
    highest = int(dataset.class_ids.max()) + 1
    if getattr(logits, "ndim", None) != 2 or logits.shape[1] < max(highest, len(dataset.labels)):
        shape = list(logits.shape) if hasattr(logits, "shape") else type(logits).__name__
        raise ModelError(
            f"model {model.name}: expected logits of the shape [1, {len(dataset.labels)}], one for "
            f"each class of dataset {dataset.name}, got {shape}"
        )
