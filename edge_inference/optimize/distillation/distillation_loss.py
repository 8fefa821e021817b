"""What a student is trained for: soft targets, hard targets, and features of the teacher."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.settings import suggestion
from edge_inference.errors import ConfigError
from edge_inference.optimize.distillation.teacher_logits import TeacherLogits
from edge_inference.optimize.distillation.teachers import TorchTeacher
from edge_inference.optimize.training.labeled_dataset import Batch, LabeledDataset
from edge_inference.optimize.training.torch_model import import_torch
from edge_inference.optimize.training.train import LossFunction

if TYPE_CHECKING:
    from torch import Tensor, nn

#: The class of an image without a label.
NO_CLASS = -1
_STUDENT, _ADAPTERS = "student", "adapters"

#: Paths of a layer of the student and of one of the teacher, as ``named_modules()`` has them.
LayerPair = tuple[str, str]


def soft_target_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return the mean divergence of a student from its teacher at a temperature.

    It is the Kullback-Leibler divergence of ``softmax(logits / T)`` from ``softmax(teacher_logits
    / T)``, both ``(N, classes)``, times T squared, so that its gradients keep their size when the
    temperature changes (Hinton et al., arXiv 1503.02531).
    """
    functional = import_torch().nn.functional
    divergence = functional.kl_div(
        functional.log_softmax(logits.float() / temperature, dim=1),
        functional.log_softmax(teacher_logits.float() / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return divergence * temperature**2


class NumberedImages(LabeledDataset):
    """Labeled and then unlabeled images, whose ``load`` returns numbers in place of classes.

    By the number of an image a loss finds its class and the logits of the teacher.
    """

    def __init__(self, labeled: LabeledDataset, unlabeled: LabeledDataset | None) -> None:
        self.name = labeled.name
        self.labels = labeled.labels
        self.input = labeled.input
        self.parts = (labeled,) if unlabeled is None else (labeled, unlabeled)
        count = 0 if unlabeled is None else len(unlabeled)
        #: The class of each image, NO_CLASS for those without.
        self.known_classes = np.concatenate(
            [labeled.class_ids, np.full(count, NO_CLASS, dtype=np.int64)]
        )

    @property
    def class_ids(self) -> NDArray[np.int64]:
        """The class of each image, 0 for those without a label; only its range is of use."""
        return np.asarray(np.maximum(self.known_classes, 0), dtype=np.int64)

    def load(self, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        """Return images and their numbers, in this order."""
        numbers = np.asarray(indices, dtype=np.int64)
        first = len(self.parts[0])
        if len(self.parts) == 1 or (numbers < first).all():
            return self.parts[0].load(numbers)[0], numbers
        from_second = numbers >= first
        later = self.parts[1].load(numbers[from_second] - first)[0]
        images = np.empty((len(numbers), *later.shape[1:]), dtype=np.float32)
        images[from_second] = later
        if not from_second.all():
            images[~from_second] = self.parts[0].load(numbers[~from_second])[0]
        return images, numbers


class FeatureMatching:
    """Lets layers of a student imitate layers of its teacher (FitNets, arXiv 1412.6550).

    The loss is the mean squared difference of the two tensors, averaged over the pairs. Where
    the channels differ, an adapter, a 1 x 1 convolution or a linear layer, is trained along; it is
    no part of the student. Where the sizes ``(H, W)`` differ, the teacher's tensor is averaged to
    the student's size.
    """

    def __init__(
        self, student: nn.Module, teacher: TorchTeacher, pairs: Sequence[LayerPair], example: Tensor
    ) -> None:
        """Find the layers and make the adapters.

        ``example`` is an input of both. Raises ConfigError for an unknown layer, one that returns
        no tensor, and two whose tensors cannot be compared.
        """
        torch = import_torch()
        self._pairs = tuple(pairs)
        self._teacher = teacher.model.module
        own_paths, teacher_paths = [each[0] for each in pairs], [each[1] for each in pairs]
        with torch.inference_mode():
            with captured(student, own_paths, "student") as own:
                student(example)
            with captured(self._teacher, teacher_paths, "teacher") as theirs:
                self._teacher(example)
        adapters = [
            _make_adapter(torch, pair, own[pair[0]].shape, theirs[pair[1]].shape) for pair in pairs
        ]
        #: Student and adapters as one module, whose forward is that of the student.
        self.module = _with_adapters(torch, student, adapters)

    def student_of(self, module: nn.Module) -> nn.Module:
        """Return the student without the adapters."""
        return getattr(module, _STUDENT)

    def run(self, module: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the student's logits and the loss of its features."""
        torch = import_torch()
        parameter = next(self._teacher.parameters(), None)
        if parameter is not None and parameter.device != images.device:
            self._teacher = copy.deepcopy(self._teacher).to(images.device)
        student, adapters = getattr(module, _STUDENT), getattr(module, _ADAPTERS)
        with captured(student, [each[0] for each in self._pairs], "student") as own:
            logits = student(images)
        with (
            torch.no_grad(),
            captured(self._teacher, [each[1] for each in self._pairs], "teacher") as theirs,
        ):
            self._teacher(images)
        losses = []
        for (own_path, teacher_path), adapter in zip(self._pairs, adapters, strict=True):
            wanted, got = theirs[teacher_path], adapter(own[own_path])
            if wanted.ndim == 4 and wanted.shape[2:] != got.shape[2:]:
                wanted = torch.nn.functional.adaptive_avg_pool2d(wanted, got.shape[2:])
            losses.append(torch.nn.functional.mse_loss(got.float(), wanted.float()))
        return logits, torch.stack(losses).mean()


@contextmanager
def captured(module: nn.Module, paths: Sequence[str], owner: str) -> Iterator[dict[str, Any]]:
    """Yield a dict that each forward pass fills with the outputs of these layers.

    Raises ConfigError for an unknown layer, and later for one whose output is no tensor.
    """
    torch = import_torch()
    found: dict[str, Any] = {}
    hooks = []

    def hook_of(path: str) -> Any:
        def keep(layer: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, torch.Tensor):
                raise ConfigError(
                    f"feature_layers: layer {path!r} of the {owner} returns "
                    f"{type(output).__name__}; expected a layer that returns one tensor"
                )
            found[path] = output

        return keep

    known = dict(module.named_modules())
    try:
        for path in paths:
            if not path or path not in known:
                raise ConfigError(
                    f"feature_layers: the {owner} has no layer {path!r}"
                    f"{suggestion(path, filter(None, known))}"
                )
            hooks.append(known[path].register_forward_hook(hook_of(path)))
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def make_loss(
    images: NumberedImages,
    logits: TeacherLogits | None,
    features: FeatureMatching | None,
    *,
    temperature: float,
    alpha: float,
    feature_weight: float,
) -> LossFunction:
    """Return the loss of a batch of ``images``: the mean over its images of theirs.

    Of a labeled image it is ``alpha * soft + (1 - alpha) * hard``, of an unlabeled one ``alpha *
    soft``; to it comes ``feature_weight`` times the loss of the features. Without ``logits`` there
    are hard targets only.
    """
    torch = import_torch()
    known_classes = torch.from_numpy(images.known_classes)

    def hard_target_loss(output: Tensor, class_ids: Tensor) -> Tensor:
        is_labeled = class_ids != NO_CLASS
        if is_labeled.all():
            return torch.nn.functional.cross_entropy(output, class_ids)
        total = torch.nn.functional.cross_entropy(
            output[is_labeled].float(), class_ids[is_labeled], reduction="sum"
        )
        return total / len(class_ids)

    def loss(module: nn.Module, batch: Tensor, numbers: Tensor) -> Tensor:
        if features is None:
            output, feature_loss = module(batch), None
        else:
            output, feature_loss = features.run(module, batch)
        on_cpu = numbers.cpu()
        terms = []
        if logits is not None:
            targets = logits.of(on_cpu.numpy(), batch.cpu().numpy())
            soft = soft_target_loss(
                output, torch.from_numpy(targets).to(output.device), temperature
            )
            terms.append(alpha * soft)
        if logits is None:
            terms.append(hard_target_loss(output, known_classes[on_cpu].to(output.device)))
        elif alpha < 1:
            hard = hard_target_loss(output, known_classes[on_cpu].to(output.device))
            terms.append((1 - alpha) * hard)
        if feature_loss is not None:
            terms.append(feature_weight * feature_loss)
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    return loss


def _make_adapter(
    torch: Any, pair: LayerPair, own: Sequence[int], teacher: Sequence[int]
) -> nn.Module:
    is_map = len(own) == 4
    axis = 1 if is_map else -1
    if (
        len(own) != len(teacher)
        or len(own) not in (2, 3, 4)
        or (len(own) == 3 and own[1] != teacher[1])
    ):
        raise ConfigError(
            f"feature_layers: layer {pair[0]!r} of the student returns {list(own)} and "
            f"{pair[1]!r} of the teacher {list(teacher)}; expected two maps [N, C, H, W], two "
            "vectors [N, C], or two of as many tokens [N, tokens, C]"
        )
    if own[axis] == teacher[axis]:
        return torch.nn.Identity()
    if is_map:
        return torch.nn.Conv2d(own[1], teacher[1], 1)
    return torch.nn.Linear(own[-1], teacher[-1])


def _with_adapters(torch: Any, student: nn.Module, adapters: Sequence[nn.Module]) -> nn.Module:
    class StudentWithAdapters(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            setattr(self, _STUDENT, student)
            setattr(self, _ADAPTERS, torch.nn.ModuleList(adapters))

        def forward(self, images: Tensor) -> Tensor:
            return getattr(self, _STUDENT)(images)

    return StudentWithAdapters()
