"""The training loop, deterministic with a seed, in float32 or mixed precision."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.runtime.memory_limit import is_out_of_memory, memory_hint
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.errors import (
    CancelledError,
    ConfigError,
    EdgeInferenceError,
    ModelError,
    SourceError,
)
from edge_inference.optimize.training.evaluate import check_classes, describe_forward_error
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
#: Generators of random numbers take 32 bits.
MAX_SEED = (1 << 32) - 1
_MAX_THREADS = 1024
#: The scale of float16 gradients starts at 2^16 and halves with each skipped step.
_MAX_SKIPPED_IN_A_ROW = 20


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
        if self.threads > _MAX_THREADS:  # OpenMP ends the process if it cannot start them
            raise ConfigError(f"threads: expected at most {_MAX_THREADS}, got {self.threads}")
        if not 0 <= self.seed <= MAX_SEED:
            raise ConfigError(f"seed: expected 0 to {MAX_SEED}, got {self.seed}")
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
    """A trained model, its epochs, and how it was trained.

    ``skipped_steps`` counts the batches whose gradients exceeded float16; their weights stayed.
    """

    model: TorchModel
    epochs: tuple[EpochReport, ...]
    settings: TrainingSettings
    skipped_steps: int = 0


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
    machine give the same weights. A last batch of one image joins the one before: BatchNorm
    cannot learn from a single value. Raises ConfigError without the requested device, SourceError
    for fewer than two images, ModelError for outputs that are no logits of the dataset's classes,
    for a training step that fails, and at the first batch whose loss is not finite;
    CancelledError soon after ``cancelled`` returns True.
    """
    torch = import_torch()
    _check_device(torch, settings.device)
    if len(dataset) < 2:
        raise SourceError(
            f"dataset {dataset.name}: expected at least two images to learn from, got "
            f"{len(dataset)}"
        )
    check_classes(model, dataset)
    if settings.device == "cuda":  # without it, products of matrices differ from run to run
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    order = np.random.default_rng(settings.seed)
    steps = len(_split_batches(np.arange(len(dataset)), settings.batch)) * settings.epochs
    reports = []
    with deterministic(settings.seed, settings.threads), _explained(model, settings):
        run = _Run(torch, model, settings, steps, loss or cross_entropy, after_step)
        done = 0
        for epoch in range(1, settings.epochs + 1):
            losses = []
            batches = _split_batches(order.permutation(len(dataset)), settings.batch)
            for number, chosen in enumerate(batches, 1):
                if cancelled():
                    raise CancelledError(f"model {model.name}: the training was cancelled")
                losses.append(run.step(*dataset.load(chosen), f"batch {number} of epoch {epoch}"))
                done += 1
                progress(f"training, epoch {epoch} of {settings.epochs}", done / steps)
            reports.append(EpochReport(epoch, float(np.mean(losses))))
        trained = run.finish()
    return TrainingReport(model.with_module(trained), tuple(reports), settings, run.skipped)


def cross_entropy(module: nn.Module, images: Tensor, class_ids: Tensor) -> Tensor:
    """Return the cross-entropy of the module's logits with the true classes."""
    torch = import_torch()
    return torch.nn.functional.cross_entropy(module(images), class_ids)


@contextmanager
def deterministic(seed: int, threads: int = 1) -> Iterator[None]:
    """Seed torch and fix its threads and algorithms; restore all of them at the end.

    With another number of threads sums are rounded in another order, so that a training takes
    another course.
    """
    torch = import_torch()
    used, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    state = torch.random.get_rng_state()
    gpu_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        torch.set_num_threads(used)
        torch.random.set_rng_state(state)
        if gpu_states:
            torch.cuda.set_rng_state_all(gpu_states)


class _Run:
    """The state of one training: the module, its optimizer and the scale of its gradients."""

    def __init__(
        self,
        torch: Any,
        model: TorchModel,
        settings: TrainingSettings,
        steps: int,
        loss: LossFunction,
        after_step: Hook,
    ) -> None:
        self.skipped = 0
        self._torch = torch
        self._name = model.name
        self._settings = settings
        self._loss = loss
        self._after_step = after_step
        self._module = copy.deepcopy(model.module).to(settings.device).train()
        self._optimizer = _make_optimizer(torch, self._module, settings)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, steps)
        self._scaler = torch.amp.GradScaler(settings.device, enabled=_scales(settings))
        self._skipped_in_a_row = 0

    def step(self, images: NDArray[np.float32], class_ids: NDArray[np.int64], where: str) -> float:
        """Learn from one batch and return its loss. Raises ModelError if that is not finite."""
        torch, settings, scaler = self._torch, self._settings, self._scaler
        self._optimizer.zero_grad()
        with _autocast(torch, settings):
            loss = self._loss(
                self._module,
                torch.from_numpy(images).to(settings.device),
                torch.from_numpy(class_ids).to(settings.device),
            )
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._diverged(f"the loss of {where} is {value}")
        scaler.scale(loss).backward()
        scale = scaler.get_scale()
        scaler.step(self._optimizer)
        scaler.update()
        if scaler.get_scale() < scale:  # the gradients exceeded float16: nothing was learned
            self._skip(where)
        else:
            self._skipped_in_a_row = 0
            self._schedule.step()
            self._after_step(self._module)
        return value

    def finish(self) -> nn.Module:
        """Return the trained module on the CPU. Raises ModelError for weights of NaN."""
        for name, parameter in self._module.named_parameters():
            if not self._torch.isfinite(parameter).all():
                raise self._diverged(f"the weights {name} are not finite after the training")
        return self._module.cpu()

    def _skip(self, where: str) -> None:
        self.skipped += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row > _MAX_SKIPPED_IN_A_ROW:
            raise self._diverged(
                f"the gradients of {_MAX_SKIPPED_IN_A_ROW} batches in a row up to {where} are not "
                "finite in mixed precision"
            )

    def _diverged(self, problem: str) -> ModelError:
        precision = " or train without amp" if self._settings.amp else ""
        return ModelError(
            f"model {self._name}: {problem}; use a lower learning_rate than "
            f"{self._settings.learning_rate:g}{precision}, and check the dataset's values"
        )


def _split_batches(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Return batches of ``size``; one image that remains joins the last batch."""
    batches = np.split(order, range(size, len(order), size))
    if size > 1 and len(batches[-1]) == 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches


@contextmanager
def _explained(model: TorchModel, settings: TrainingSettings) -> Iterator[None]:
    """Turn an error of PyTorch, or of the user's own code, in a step into a ModelError."""
    try:
        yield
    except EdgeInferenceError:
        raise
    except Exception as error:  # the user's own forward(): any error may come out of it
        reason = describe_forward_error(error)
        hint = ""
        if is_out_of_memory(error) or "out of memory" in reason:  # of the CPU, or of a GPU
            hint = f"; use a smaller batch than {settings.batch}"
            hint += f"; {memory_hint()}" if settings.device == "cpu" else ""
        raise ModelError(
            f"model {model.name}: it cannot be trained: {reason:.500}{hint}"
        ) from error


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
