"""Groups of channels that can only be removed together, found by Torch-Pruning's graph.

Removing a channel of one layer also removes it from the normalization after it, from every layer
that is added to it and from the inputs of every layer that reads it (DepGraph, arXiv 2301.12900).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.errors import BackendError, ModelError
from edge_inference.optimize.pruning.network_figures import weighted_layers
from edge_inference.optimize.pruning.pruning_report import KeptLayer

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Names of linear layers that compute queries, keys and values together.
_FUSED = frozenset(("qkv", "to_qkv", "in_proj", "c_attn"))
#: Names of the linear layers whose outputs an attention splits into heads.
_HEAD_LAYERS = (
    _FUSED
    | frozenset(
        f"{before}{letter}{after}"
        for letter in "qkv"
        for before, after in (("", ""), ("", "_proj"), ("to_", ""), ("w", ""))
    )
    | {"query", "key", "value"}
)
_HEAD_COUNTS = ("num_heads", "n_heads", "heads", "num_attention_heads", "n_head", "nhead")
#: Attributes of an attention that hold the size of one head, or of all heads together.
_HEAD_SIZES = ("head_dim", "head_size", "attention_head_size", "dim_head", "d_head")
_INNER_SIZES = ("inner_dim", "all_head_size", "attn_dim")
#: Operators of autograd that multiply two computed tensors, or weights outside a layer of torch.
_UNKNOWN_PRODUCTS = ("bmm", "baddbmm", "scaleddotproduct", "convolution", "einsum")
#: What Torch-Pruning raises where its rules do not fit a network.
_GRAPH_ERRORS = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    ZeroDivisionError,
)

#: Returns the importance of the channels of a group of Torch-Pruning, None where it has none.
Importance = Callable[[Any], Any]


def import_torch_pruning() -> ModuleType:
    """Return torch_pruning. Raises BackendError with the remedy if it is not installed."""
    try:
        return importlib.import_module("torch_pruning")
    except ImportError as error:
        raise BackendError(
            f"Torch-Pruning is needed for this and cannot be imported ({error}); install the extra "
            "with pip install 'edge_inference[optimize]'"
        ) from error


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of one or more layers that are removed together.

    ``name`` is the layer that it starts from. Each of its ``parts``, such as the heads of an
    attention or the groups of a convolution, loses the same channels; ``importance`` has one value
    for each channel of a part, the mean over the parts. ``is_exact`` tells whether removing a
    channel is the same as setting all weights that read it to zero: not where a normalization
    takes the mean of all channels.
    """

    name: str
    parts: int
    importance: NDArray[np.float64]
    has_heads: bool
    is_exact: bool

    @property
    def channels(self) -> int:
        """Return the number of channels of a part."""
        return len(self.importance)

    def indices(self, lowest: int) -> list[int]:
        """Return the least important ``lowest`` channels of each part, by number in the layer."""
        order = np.argsort(self.importance, kind="stable")[:lowest]
        starts = self.channels * np.arange(self.parts)
        return sorted(int(each) for each in (starts[:, None] + order).ravel())


class PruningGraph:
    """The dependency graph of one module, which it changes when channels are removed.

    Raises ModelError for a module that cannot run or be traced.
    """

    def __init__(self, module: nn.Module, example: Tensor, name: str) -> None:
        """Trace a module with an example input; ``name`` names the model in errors."""
        self._library = import_torch_pruning()
        self._module = module
        self._names = {each: path for path, each in module.named_modules()}
        self._heads = dict(_find_heads(module))
        frozen = [each for each in module.parameters() if not each.requires_grad]
        try:
            for each in frozen:
                each.requires_grad_(True)  # the graph is traced along the gradients
            if not getattr(check_forward(module, example, name), "requires_grad", True):
                raise ValueError("the outputs have no gradients")
            self._graph = self._library.DependencyGraph().build_dependency(
                module, example_inputs=(example,), verbose=False
            )
        except _GRAPH_ERRORS as error:
            raise ModelError(
                f"model {name}: its layers cannot be traced for pruning "
                f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); "
                "forward() must return tensors that are computed with gradients, without "
                "torch.no_grad(), detach() or numpy"
            ) from error
        finally:
            for each in frozen:
                each.requires_grad_(False)
        self._roots: dict[str, tuple[Any, Any]] = {}

    def find_groups(
        self, importance: Importance, ignored: Sequence[str] = ()
    ) -> tuple[list[ChannelGroup], list[KeptLayer]]:
        """Return the groups that can be pruned, and the layers that cannot, each with the reason.

        Groups with a layer of ``ignored`` are left out, as are the outputs of the network.
        """
        groups: list[ChannelGroup] = []
        kept: list[KeptLayer] = []
        visited: set[str] = set()
        for module in self._root_layers():
            name = self._names[module]
            if name in visited:
                continue
            try:
                found = self._full_group(module)
                members = self._outputs(found)
                visited |= members
                reason = self._find_reason(found, members & set(ignored))
                if not reason:
                    group = self._channel_group(name, found, importance)
                    if group is None:
                        reason = "it has no weights that this importance is computed from"
                    else:
                        groups.append(group)
            except _GRAPH_ERRORS as error:
                reason = (
                    "Torch-Pruning cannot follow its outputs "
                    f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
                )
            if reason:
                kept.append(KeptLayer(name, reason))
        kept.extend(
            KeptLayer(name, "no gradient leads from the outputs of the network to it")
            for name, layer in weighted_layers(self._module)
            if layer not in self._graph.module2node and not self._is_inside_attention(name)
        )
        return groups, kept

    def _is_inside_attention(self, name: str) -> bool:
        owner = self._module.get_submodule(name.rpartition(".")[0])
        return isinstance(owner, self._library.ops.TORCH_MHA)

    def copy_roots(self, other: PruningGraph) -> None:
        """Take the groups that another graph has found in an equal module."""
        self._roots = {
            name: (self._module.get_submodule(other._names[module]), function)
            for name, (module, function) in other._roots.items()
        }

    def silence(self, group: ChannelGroup, lowest: int) -> None:
        """Set all weights to zero that read the least important channels of an exact group."""
        for dependency, indices in self._pruning_group(group, lowest):
            module = dependency.target.module
            if self._graph.is_in_channel_pruning_fn(dependency.handler) and _has_inputs(module):
                _silence_inputs(module, indices)

    def remove(self, group: ChannelGroup, lowest: int) -> None:
        """Remove the least important channels of a group from all of its layers."""
        found = self._pruning_group(group, lowest)
        heads = [each for each in self._heads if self._names[each] in self._outputs(found)]
        found.prune()
        for layer in heads:
            _update_sizes(self._module, self._names[layer], group)

    def _pruning_group(self, group: ChannelGroup, lowest: int) -> Any:
        module, function = self._roots[group.name]
        return self._graph.get_pruning_group(module, function, group.indices(lowest))

    def _root_layers(self) -> Iterator[Any]:
        ops = self._library.ops
        for module in list(self._graph.module2node):
            if module in self._names and isinstance(module, (ops.TORCH_CONV, ops.TORCH_LINEAR)):
                yield module

    def _full_group(self, module: Any) -> Any:
        pruner = self._graph.get_pruner_of_module(module)
        indices = list(range(pruner.get_out_channels(module)))
        return self._graph.get_pruning_group(module, pruner.prune_out_channels, indices)

    def _outputs(self, found: Any) -> set[str]:
        """Return the names of the layers that lose outputs."""
        return {
            self._names[dependency.target.module]
            for dependency, _ in found
            if self._graph.is_out_channel_pruning_fn(dependency.handler)
            and dependency.target.module in self._names
        }

    def _find_reason(self, found: Any, ignored: set[str]) -> str:
        """Return why a group cannot be pruned, an empty text if it can."""
        types = self._library.ops.OPTYPE
        if ignored:
            return "it is ignored, or tied to an ignored layer"
        has_heads = any(dependency.target.module in self._heads for dependency, _ in found)
        reason = ""
        for dependency, _ in found:
            node = dependency.target
            is_output = self._graph.is_out_channel_pruning_fn(dependency.handler)
            if node.type == types.OUTPUT or (is_output and not node.outputs):
                return "it computes the outputs of the network"
            if node.type == types.SPLIT:
                reason = "its channels are split in parts of fixed size"
            elif node.type == types.LSTM:
                reason = "it feeds a recurrent layer"
            operator = str(getattr(node.module, "_grad_fn", "")).lower()
            if any(each in operator for each in _UNKNOWN_PRODUCTS) and not has_heads:
                reason = (
                    f"it feeds the operator {getattr(node.module, '_grad_fn', '')}, such as an "
                    "attention whose heads are not known"
                )
        return reason

    def _channel_group(self, name: str, found: Any, importance: Importance) -> ChannelGroup | None:
        ops = self._library.ops
        modules = [dependency.target.module for dependency, _ in found]
        names = self._outputs(found)
        heads = {count for each, count in self._heads.items() if self._names[each] in names}
        root = (found[0].dep.target.module, found[0].dep.handler)
        if heads and not any(isinstance(each, ops.TORCH_MHA) for each in modules):
            # Numbered by the input of the layer behind the attention: q, k and v can be one layer.
            found = self._behind_attention(found)
            root = (found[0].dep.target.module, found[0].dep.handler)
            modules = [dependency.target.module for dependency, _ in found]
        values = importance(found)
        if values is None or not len(values):
            return None
        parts = self._count_parts(found, heads)
        if len(values) % parts:
            raise ValueError(f"{len(values)} channels are not a multiple of {parts} parts")
        normalized = np.nan_to_num(values.detach().double().numpy()).reshape(parts, -1).mean(0)
        self._roots[name] = root
        inexact = (ops.TORCH_LAYERNORM, ops.TORCH_GROUPNORM, ops.TORCH_MHA)
        is_exact = not heads and not any(isinstance(each, inexact) for each in modules)
        return ChannelGroup(name, parts, normalized, bool(heads), is_exact)

    def _behind_attention(self, found: Any) -> Any:
        linear = self._library.ops.TORCH_LINEAR
        for dependency, indices in reversed(list(found)):
            if isinstance(dependency.target.module, linear) and (
                self._graph.is_in_channel_pruning_fn(dependency.handler)
            ):
                return self._graph.get_pruning_group(
                    dependency.target.module, dependency.handler, sorted(indices)
                )
        raise ValueError("no linear layer behind the attention")

    def _count_parts(self, found: Any, heads: set[int]) -> int:
        """Return into how many parts the channels fall that must stay equally large."""
        counts = set(heads)
        for dependency, _ in found:
            module = dependency.target.module
            groups = getattr(module, "groups", 1) if _has_inputs(module) else 1
            if groups > 1 and groups != module.out_channels:
                counts.add(groups)
            if isinstance(module, self._library.ops.TORCH_GROUPNORM):
                counts.add(module.num_groups)
        return int(np.lcm.reduce(list(counts))) if counts else 1


def check_forward(module: nn.Module, example: Tensor, name: str) -> Any:
    """Return the output of a module with its gradient.

    Raises ModelError that names the layer which fails.
    """
    torch = importlib.import_module("torch")
    running: list[str] = []
    paths = {each: path for path, each in module.named_modules()}

    def enter(layer: Any, inputs: Any) -> None:
        running.append(paths[layer])

    def leave(layer: Any, inputs: Any, output: Any) -> None:
        running.pop()

    hooks = [
        hook
        for each in paths
        for hook in (each.register_forward_pre_hook(enter), each.register_forward_hook(leave))
    ]
    try:
        with torch.enable_grad():
            return module(example)
    except Exception as error:  # the user's own code: any error may come out of it
        place = running[-1] if running else ""
        raise ModelError(
            f"model {name}: forward() fails for an input of the shape {list(example.shape)}"
            f"{f' in {place}' if place else ''} ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''})"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()


def _find_heads(module: nn.Module) -> Iterator[tuple[Any, int]]:
    """Yield the layers whose outputs are split into heads, with the number of heads."""
    torch = importlib.import_module("torch")
    for each in module.modules():
        count = next(
            (value for key in _HEAD_COUNTS if isinstance(value := getattr(each, key, None), int)),
            None,
        )
        if count is None:
            continue
        if isinstance(each, torch.nn.MultiheadAttention):
            yield each, count
            continue
        for path, layer in each.named_children():
            if path in _HEAD_LAYERS and isinstance(layer, torch.nn.Linear):
                yield layer, count


def _update_sizes(module: Any, layer: str, group: ChannelGroup) -> None:
    """Write the new size of the heads into the attention that has this layer."""
    path, _, _ = layer.rpartition(".")
    owner = module.get_submodule(path)
    inner = module.get_submodule(layer)
    if not hasattr(inner, "out_features"):  # torch.nn.MultiheadAttention updates itself
        return
    old_inner = group.channels * group.parts
    is_fused = layer.rpartition(".")[2] in _FUSED
    new_inner = inner.out_features // 3 if is_fused else inner.out_features
    sizes: Mapping[str, tuple[int, int]] = {
        **dict.fromkeys(_HEAD_SIZES, (group.channels, new_inner // group.parts)),
        **dict.fromkeys(_INNER_SIZES, (old_inner, new_inner)),
    }
    for key, (old, new) in sizes.items():
        if isinstance(getattr(owner, key, None), int) and getattr(owner, key) == old:
            setattr(owner, key, new)


def _has_inputs(module: Any) -> bool:
    return hasattr(module, "weight") and (
        hasattr(module, "in_channels") or hasattr(module, "in_features")
    )


def _silence_inputs(module: Any, indices: Sequence[int]) -> None:
    weight = module.weight.data
    if getattr(module, "transposed", False):
        weight[list(indices)] = 0
        return
    groups = getattr(module, "groups", 1)
    if groups == 1:
        weight[:, list(indices)] = 0
        return
    inputs, outputs = module.in_channels // groups, module.out_channels // groups
    for index in indices:
        group, column = divmod(index, inputs)
        weight[group * outputs : (group + 1) * outputs, column] = 0
