"""Structured pruning: whole channels and neurons removed, so that every runtime computes less."""

from __future__ import annotations

import copy
import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.errors import CancelledError, ConfigError, ModelError
from edge_inference.optimize.images.calibration_images import pick_evenly
from edge_inference.optimize.onnx_timing import DEFAULT_RUNS
from edge_inference.optimize.pruning.channel_groups import (
    ChannelGroup,
    Importance,
    PruningGraph,
    check_forward,
    import_torch_pruning,
)
from edge_inference.optimize.pruning.network_figures import (
    compare_layers,
    compare_networks,
    weighted_layers,
)
from edge_inference.optimize.pruning.pruning_report import STRUCTURED, KeptLayer, PruningReport
from edge_inference.optimize.training.evaluate import evaluate
from edge_inference.optimize.training.labeled_dataset import LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel, import_torch
from edge_inference.optimize.training.train import cross_entropy, deterministic

if TYPE_CHECKING:
    from torch import Tensor, nn

SCOPES = ("global", "layer")
IMPORTANCES = ("l2", "l1", "bn_scale", "taylor")
_TAYLOR_IMAGES = 256
_TAYLOR_BATCH = 32
#: What a network computes may change by rounding, relative to its largest output.
_MAX_DIFFERENCE = 1e-3
_SHOWN_NAMES = 12


class NothingToPruneError(ModelError):
    """No channel can go: the ratio is smaller than a block of channels, or no layer can."""


@dataclass(frozen=True)
class StructuredPruning:
    """How to remove channels.

    ``ratio`` is the share of all prunable channels that goes. In the scope ``global`` the least
    important of the whole network go, in ``layer`` the same share of each layer. The importance of
    a channel is the mean over all weights that belong to it: their squares (``l2``), absolute
    values (``l1``, arXiv 1608.08710), BatchNorm scales (``bn_scale``, arXiv 1708.06519), or
    weight times gradient on labeled images (``taylor``, arXiv 1906.10771), relative to the mean of
    its layer. What is left is a multiple of ``round_to``, and at least
    ``1 - max_ratio_per_layer`` of a layer. ``ignored`` are names of layers, or patterns such as
    ``stem.*``. Raises ConfigError.
    """

    ratio: float = 0.5
    scope: str = "global"
    importance: str = "l2"
    round_to: int = 8
    ignored: tuple[str, ...] = ()
    max_ratio_per_layer: float = 0.9

    def __post_init__(self) -> None:
        for name in ("ratio", "max_ratio_per_layer"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(
                    f"{name}: expected a share between 0 and 1, got {getattr(self, name)}"
                )
        for name, known in (("scope", SCOPES), ("importance", IMPORTANCES)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if self.round_to < 1:
            raise ConfigError(f"round_to: expected at least 1, got {self.round_to}")


@dataclass(frozen=True)
class RemovedChannels:
    """A network without some of its channels.

    ``channels`` has the number of channels of each group in the given network, ``pruned`` the
    share of them that is gone.
    """

    module: nn.Module
    pruned: float
    channels: Mapping[str, int]
    kept: tuple[KeptLayer, ...]


def prune_structured(
    model: TorchModel,
    settings: StructuredPruning,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    *,
    dataset: LabeledDataset | None = None,
    evaluated: LabeledDataset | None = None,
    runs: int | None = DEFAULT_RUNS,
) -> PruningReport:
    """Remove channels of a model without training it, and measure both.

    ``dataset`` has the images for the importance ``taylor``; ``evaluated`` those for the accuracy,
    not measured without. ``runs`` None measures no time. The outputs of the network are never
    pruned, and the report names what else could not be. Raises ConfigError for a pattern that
    matches no layer, ModelError for a model that cannot be traced or has nothing to prune,
    CancelledError.
    """
    progress("removing channels", None)
    removed = remove_channels(model, settings, cancelled, dataset=dataset)
    pruned = model.with_module(removed.module)
    before, after = compare_networks(model, pruned, runs, progress, cancelled)
    if evaluated is not None:
        progress("measuring the accuracy", None)
        before = replace(before, accuracy=evaluate(model, evaluated))
        after = replace(after, accuracy=evaluate(pruned, evaluated))
    return PruningReport(
        model=pruned,
        kind=STRUCTURED,
        ratio=settings.ratio,
        pruned=removed.pruned,
        before=before,
        after=after,
        layers=compare_layers(model.module, pruned.module),
        kept=removed.kept,
    )


def remove_channels(
    model: TorchModel,
    settings: StructuredPruning,
    cancelled: Cancelled = lambda: False,
    *,
    dataset: LabeledDataset | None = None,
    original: Mapping[str, int] | None = None,
) -> RemovedChannels:
    """Remove channels of a copy of a model; nothing is measured.

    ``original`` are the ``channels`` of an earlier removal, where the model was already pruned:
    the ratios refer to them. A group of layers whose removal would change what the others compute
    is kept. Raises what :func:`prune_structured` raises.
    """
    ignored = find_layers(model, settings.ignored)
    source = copy.deepcopy(model.module).eval()
    importance = _make_importance(model, source, settings.importance, dataset)
    graph = PruningGraph(source, model.example_input(), model.name)
    groups, kept = graph.find_groups(importance, ignored)
    given = {each.name: each.channels * each.parts for each in groups}
    whole = {**given, **(original or {})}
    for _ in range(2):
        chosen = choose_channels(groups, settings, whole)
        if not chosen:
            raise _nothing_to_prune(model, settings, groups, kept)
        if cancelled():
            raise CancelledError(f"model {model.name}: the pruning was cancelled")
        module, problem = _apply(model, graph, groups, chosen)
        if module is not None:
            total = sum(whole[each.name] for each in groups)
            left = total - sum(given[each.name] for each in groups)
            removed = left + sum(
                chosen[each.name] * each.parts for each in groups if each.name in chosen
            )
            return RemovedChannels(module, removed / total, whole, tuple(kept))
        # Together they fail: find those that fail alone.
        failing = {}
        for group in groups:
            if group.name in chosen:
                alone, why = _apply(model, graph, [group], chosen)
                if alone is None:
                    failing[group.name] = why
        if not failing:
            break
        kept.extend(KeptLayer(name, why) for name, why in failing.items())
        groups = [each for each in groups if each.name not in failing]
    raise ModelError(
        f"model {model.name}: it does not work without the chosen channels ({problem}); name the "
        "layers around this place as ignored"
    )


def choose_channels(
    groups: Sequence[ChannelGroup], settings: StructuredPruning, original: Mapping[str, int]
) -> dict[str, int]:
    """Return how many channels each part of a group loses, for the groups that lose some.

    Channels go in blocks that leave a multiple of ``round_to``, the least important blocks first,
    until as many are gone as the ratio says, to the nearest block.
    """
    if settings.scope == "layer":
        scopes: list[list[ChannelGroup]] = [[group] for group in groups]
    else:
        scopes = [list(groups)]
    chosen: dict[str, int] = {}
    for scope in scopes:
        total = sum(original[each.name] for each in scope)
        present = sum(each.channels * each.parts for each in scope)
        target = settings.ratio * total - (total - present)
        blocks = sorted(
            (score, index, lowest, size)
            for index, group in enumerate(scope)
            for score, lowest, size in _blocks(group, settings, original[group.name])
        )
        removed = 0
        for _, index, lowest, size in blocks:
            if removed + size / 2 > target:
                break
            removed += size
            chosen[scope[index].name] = lowest
    return chosen


def find_layers(model: TorchModel, patterns: Sequence[str]) -> list[str]:
    """Return the names of all layers that match, or are inside a module that matches.

    Raises ConfigError for a pattern that matches none.
    """
    names = [name for name, _ in model.module.named_modules() if name]
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [name for name in names if _matches(name, pattern)]
        if not matching:
            layers = [name for name, _ in weighted_layers(model.module)]
            more = ", …" if len(layers) > _SHOWN_NAMES else ""
            raise ConfigError(
                f"ignored: no layer of model {model.name} matches {pattern!r}; it has "
                f"{', '.join(layers[:_SHOWN_NAMES])}{more}"
            )
        found.update(dict.fromkeys(matching))
    return list(found)


def _matches(name: str, pattern: str) -> bool:
    parts = name.split(".")
    return any(
        fnmatch.fnmatchcase(".".join(parts[: count + 1]), pattern) for count in range(len(parts))
    )


def _blocks(
    group: ChannelGroup, settings: StructuredPruning, original: int
) -> list[tuple[float, int, int]]:
    """Return importance, channels of a part that are then gone, and own channels of each block."""
    # A head stays a multiple by itself; groups of a convolution only have to be one together.
    unit = settings.round_to
    if not group.has_heads:
        unit //= math.gcd(unit, group.parts)
    least = max(unit, math.ceil(original / group.parts * (1 - settings.max_ratio_per_layer) - 1e-9))
    values = np.sort(group.importance)
    blocks: list[tuple[float, int, int]] = []
    gone = 0
    while True:
        size = (group.channels - gone) % unit or unit
        if group.channels - gone - size < least:
            return blocks
        score = float(values[gone : gone + size].mean())
        gone += size
        blocks.append((score, gone, size * group.parts))


def _apply(
    model: TorchModel,
    source: PruningGraph,
    groups: Sequence[ChannelGroup],
    chosen: Mapping[str, int],
) -> tuple[nn.Module | None, str]:
    """Remove the chosen channels from a copy; return None and the reason where it then fails.

    ``source`` is the graph that found the groups.
    """
    torch = import_torch()
    example = _random_input(model)
    module = copy.deepcopy(model.module).eval()
    graph = PruningGraph(module, model.example_input(), model.name)
    graph.copy_roots(source)
    removed = [each for each in groups if each.name in chosen]
    silenced = copy.deepcopy(model.module).eval()
    expected = None
    if all(each.is_exact for each in removed):
        mirror = PruningGraph(silenced, model.example_input(), model.name)
        mirror.copy_roots(source)
        for group in removed:
            mirror.silence(group, chosen[group.name])
        with torch.no_grad():
            expected = silenced(example)
    try:
        for group in removed:
            graph.remove(group, chosen[group.name])
        _copy_frozen(model.module, module)
        actual = check_forward(module, example, model.name)
    except (ModelError, AssertionError, IndexError, RuntimeError, ValueError) as error:
        return None, f"without some of its channels {error}"
    with torch.no_grad():
        given = model.module(example)
    if getattr(actual, "shape", None) != getattr(given, "shape", None):
        return None, "it changes the shape of the outputs"
    if expected is not None:
        scale = max(float(expected.abs().max()), 1e-12)
        if not float((actual.detach() - expected).abs().max()) <= _MAX_DIFFERENCE * scale:
            return None, "removing its channels changes what the other channels compute"
    return module, ""


def _copy_frozen(given: nn.Module, pruned: nn.Module) -> None:
    """Freeze what was frozen: Torch-Pruning makes new parameters."""
    frozen = {name for name, each in given.named_parameters() if not each.requires_grad}
    for name, each in pruned.named_parameters():
        each.requires_grad_(name not in frozen)


def _random_input(model: TorchModel) -> Tensor:
    torch = import_torch()
    shape = tuple(model.example_input(2).shape)
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return torch.from_numpy(values)


def _make_importance(
    model: TorchModel, module: Any, name: str, dataset: LabeledDataset | None
) -> Importance:
    library: Any = import_torch_pruning().importance
    found: Importance
    if name == "bn_scale":
        found = library.BNScaleImportance()
        return found
    if name != "taylor":
        found = library.GroupMagnitudeImportance(p=1 if name == "l1" else 2)
        return found
    if dataset is None:
        raise ConfigError("importance: taylor needs labeled images to compute gradients on")
    torch = import_torch()
    chosen = pick_evenly(len(dataset), _TAYLOR_IMAGES)
    with deterministic(0):
        for images, class_ids in dataset.batches(_TAYLOR_BATCH, chosen):
            loss = cross_entropy(module, torch.from_numpy(images), torch.from_numpy(class_ids))
            loss.backward()
    found = library.GroupTaylorImportance()
    return found


def _nothing_to_prune(
    model: TorchModel,
    settings: StructuredPruning,
    groups: Sequence[ChannelGroup],
    kept: Sequence[KeptLayer],
) -> NothingToPruneError:
    if groups:
        channels = ", ".join(f"{each.name} {each.channels * each.parts}" for each in groups[:3])
        return NothingToPruneError(
            f"model {model.name}: nothing to prune at a ratio of {settings.ratio:g}: no layer has "
            f"so many channels that a multiple of {settings.round_to} fewer stays ({channels}); "
            "use a higher ratio or a lower round_to"
        )
    reasons = "; ".join(f"{each.name}: {each.reason}" for each in reversed(kept[-3:]))
    return NothingToPruneError(
        f"model {model.name}: nothing to prune: it has no layer whose channels can be removed"
        f"{f' ({reasons})' if reasons else ' (torch.nn convolutions and linear layers)'}"
    )
