"""Unstructured pruning: single weights set to zero, which makes files smaller but not faster.

The masks are those of torch.nn.utils.prune. They hold the zeros while a model is fine-tuned, and
are then made permanent.
"""

from __future__ import annotations

import copy
import importlib
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.errors import CancelledError, ConfigError, ModelError
from edge_inference.optimize.onnx_timing import DEFAULT_RUNS
from edge_inference.optimize.pruning.network_figures import (
    compare_layers,
    compare_networks,
    weighted_layers,
)
from edge_inference.optimize.pruning.pruning_report import (
    TWO_OF_FOUR,
    UNSTRUCTURED,
    KeptLayer,
    PruningReport,
)
from edge_inference.optimize.pruning.structured import SCOPES, find_layers
from edge_inference.optimize.training.evaluate import evaluate
from edge_inference.optimize.training.labeled_dataset import DatasetSplit, LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel, import_torch
from edge_inference.optimize.training.train import TrainingSettings, train

if TYPE_CHECKING:
    from torch import Tensor

PATTERNS = (UNSTRUCTURED, TWO_OF_FOUR)
#: 2:4 leaves two of four weights.
_TWO_OF_FOUR_SHARE = 0.5
_BLOCK = 4


@dataclass(frozen=True)
class UnstructuredPruning:
    """How to set weights to zero, those of the lowest magnitude first.

    ``ratio`` is the share of all weights of convolutions and linear layers: of each layer in the
    scope ``layer``, of all together in ``global``. ``pattern`` 2:4 zeroes two of each four
    consecutive inputs of a filter tap, the pattern of NVIDIA's sparse kernels (arXiv 2104.08378);
    its ratio is 0.5. ``ignored`` are names of layers or patterns such as ``stem.*``. Raises
    ConfigError.
    """

    ratio: float = 0.5
    scope: str = "global"
    pattern: str = UNSTRUCTURED
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ConfigError(f"ratio: expected a share between 0 and 1, got {self.ratio}")
        for name, known in (("scope", SCOPES), ("pattern", PATTERNS)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if self.pattern == TWO_OF_FOUR and self.ratio != _TWO_OF_FOUR_SHARE:
            raise ConfigError(f"ratio: the pattern 2:4 has the ratio 0.5, got {self.ratio}")


def prune_unstructured(
    model: TorchModel,
    settings: UnstructuredPruning,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    *,
    split: DatasetSplit | None = None,
    training: TrainingSettings | None = None,
    evaluated: LabeledDataset | None = None,
    runs: int | None = DEFAULT_RUNS,
) -> PruningReport:
    """Set weights of a model to zero, fine-tune the others if told so, and measure both.

    With ``training`` the model is fine-tuned on ``split.train`` while the zeros stay zero.
    ``evaluated`` has the images for the accuracy, not measured without; ``runs`` None measures no
    time. Raises ConfigError, ModelError where nothing can be pruned, CancelledError.
    """
    if training is not None and split is None:
        raise ConfigError("training: fine-tuning needs the images of a split")
    masked, kept = mask_weights(model, settings)
    if cancelled():
        raise CancelledError(f"model {model.name}: the pruning was cancelled")
    if training is not None and split is not None:
        masked = train(masked, split.train, training, progress, cancelled).model
    pruned = make_permanent(masked)
    before, after = compare_networks(model, pruned, runs, progress, cancelled)
    if evaluated is not None:
        before = replace(before, accuracy=evaluate(model, evaluated))
        after = replace(after, accuracy=evaluate(pruned, evaluated))
    return PruningReport(
        model=pruned,
        kind=settings.pattern,
        ratio=settings.ratio,
        pruned=after.sparsity,
        before=before,
        after=after,
        layers=compare_layers(model.module, pruned.module),
        kept=kept,
    )


def mask_weights(
    model: TorchModel, settings: UnstructuredPruning
) -> tuple[TorchModel, tuple[KeptLayer, ...]]:
    """Return a copy with masks of torch.nn.utils.prune, and the layers that stay dense.

    Weights that are zero already stay so, and count towards the ratio. Raises ConfigError,
    ModelError.
    """
    torch, prune = import_torch(), _import_prune()
    ignored = set(find_layers(model, settings.ignored))
    module = copy.deepcopy(model.module).eval()
    layers: list[Any] = []
    kept: list[KeptLayer] = []
    for name, layer in weighted_layers(module):
        reason = "it is ignored" if name in ignored else ""
        if not reason and settings.pattern == TWO_OF_FOUR:
            reason = _two_of_four_problem(layer)
        if reason:
            kept.append(KeptLayer(name, reason))
        else:
            layers.append(layer)
    if not layers:
        reasons = "; ".join(f"{each.name}: {each.reason}" for each in kept[:3])
        raise ModelError(
            f"model {model.name}: nothing to prune"
            f"{f' ({reasons})' if reasons else ': no convolution and no linear layer'}"
        )
    # Without gradients: a weight that autograd computed cannot be copied.
    with torch.no_grad():
        if settings.pattern == TWO_OF_FOUR:
            for layer in layers:
                prune.custom_from_mask(layer, "weight", two_of_four_mask(layer.weight))
        elif settings.scope == "layer":
            for layer in layers:
                prune.l1_unstructured(layer, "weight", settings.ratio)
        else:
            prune.global_unstructured(
                [(layer, "weight") for layer in layers],
                pruning_method=prune.L1Unstructured,
                amount=settings.ratio,
            )
    return model.with_module(module), tuple(kept)


def make_permanent(model: TorchModel) -> TorchModel:
    """Return a model without masks, whose weights are zero where the masks were.

    The masks are removed from the given module, which :func:`mask_weights` or a training made.
    """
    prune = _import_prune()
    for _, layer in weighted_layers(model.module):
        if prune.is_pruned(layer):
            prune.remove(layer, "weight")
    return model.with_module(model.module)


def two_of_four_mask(weight: Tensor) -> Tensor:
    """Return ones at the two largest of each four consecutive inputs, zeros at the others.

    The shape of the weight is ``(outputs, inputs, …)``, the inputs a multiple of four. Each tap of
    a filter is on its own.
    """
    torch = import_torch()
    inputs_last = weight.detach().abs().movedim(1, -1)
    blocks = inputs_last.reshape(-1, _BLOCK)
    mask = torch.zeros_like(blocks)
    # A stable order, so that equal magnitudes give the same mask everywhere.
    order = torch.argsort(blocks, dim=1, descending=True, stable=True)
    mask.scatter_(1, order[:, : _BLOCK // 2], 1.0)
    return mask.reshape(inputs_last.shape).movedim(-1, 1).contiguous()


def _import_prune() -> ModuleType:
    import_torch()
    return importlib.import_module("torch.nn.utils.prune")


def _two_of_four_problem(layer: Any) -> str:
    if getattr(layer, "transposed", False):
        return "2:4 does not apply to transposed convolutions"
    inputs = layer.weight.shape[1]
    if inputs % _BLOCK:
        return f"2:4 needs a multiple of four inputs, it has {inputs} in each group"
    return ""
