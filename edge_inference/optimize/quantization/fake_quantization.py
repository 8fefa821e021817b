"""Fake quantization in a traced module: float32 numbers that are rounded as int8 would.

Rounding has no gradient; the gradient of the rounded number is taken as that of the number
itself, and as zero where a number is clipped (straight-through estimator, Bengio et al., arXiv
1308.3432; for networks Jacob et al., arXiv 1712.05877; for the choice of ranges and weights per
channel Krishnamoorthi, arXiv 1806.08342). Scales and zero points are those of
``engines/precision/scales.py``, with which the deployed network is derived.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from edge_inference.engines.precision.ranges import Range
from edge_inference.engines.precision.scales import WEIGHT_RANGES
from edge_inference.optimize.training.torch_model import import_torch

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule

#: Share of the old range in each step of the moving average.
_MOMENTUM = 0.99
#: A smaller scale counts as zero, as in engines/precision/scales.py.
_MIN_SCALE = 1e-18
_PREFIX = "fake_quantize_"


@dataclass(frozen=True)
class RoundedTensor:
    """One range, and the nodes of the traced module whose values it rounds."""

    nodes: tuple[str, ...]
    range: Range


def weight_limits(bits: int) -> tuple[int, int]:
    """Return the smallest and largest number of a weight with this many bits."""
    return WEIGHT_RANGES.get(bits, (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))


def insert_fake_quantization(
    module: GraphModule,
    tensors: Sequence[RoundedTensor],
    layers: Sequence[str],
    *,
    weight_bits: int,
    activation_bits: int,
    per_channel: bool,
    signed: bool,
) -> GraphModule:
    """Return a copy that rounds these tensors and the weights of these layers."""
    torch = import_torch()
    copied = copy.deepcopy(module)
    nodes = {node.name: node for node in copied.graph.nodes}
    for index, tensor in enumerate(tensors):
        name = f"{_PREFIX}{index}"
        copied.add_submodule(
            name, _classes().Activation(tensor.range, activation_bits, signed=signed)
        )
        for node_name in tensor.nodes:
            node = nodes[node_name]
            with copied.graph.inserting_after(node):
                rounded = copied.graph.call_module(name, (node,))
            node.replace_all_uses_with(
                rounded, delete_user_cb=lambda user, rounded=rounded: user is not rounded
            )
    for layer in layers:
        owner = copied.get_submodule(layer)
        axis = (1 if "Transpose" in type(owner).__name__ else 0) if per_channel else None
        torch.nn.utils.parametrize.register_parametrization(
            owner, "weight", _classes().Weights(axis, weight_bits)
        )
    copied.graph.lint()
    copied.recompile()
    return copied.eval()


def bake(module: GraphModule, plain: GraphModule) -> GraphModule:
    """Return a copy of ``plain``, which does not round, with the rounded weights of ``module``."""
    torch = import_torch()
    baked = copy.deepcopy(plain)
    with torch.no_grad():
        for name, values in baked.state_dict().items():
            owner, _, attribute = name.rpartition(".")
            values.copy_(getattr(module.get_submodule(owner), attribute))
    return baked.eval()


def set_frozen(module: nn.Module, frozen: bool) -> None:
    """Stop the moving average of all ranges, or let it follow the values in training mode."""
    for each in _activations(module):
        each.is_frozen = frozen


def round_ranges(module: GraphModule, digits: int) -> dict[str, Range]:
    """Round all ranges to significant digits, and return them by the node that they round.

    A calibration file has so many digits: what was measured with the module is then what is
    deployed.
    """
    ranges: dict[str, Range] = {}
    owners = dict(module.named_modules())
    for each in _activations(module):
        each.set_range((float(f"{each.low:.{digits}g}"), float(f"{each.high:.{digits}g}")))
    for node in module.graph.nodes:
        if node.op == "call_module" and str(node.target).startswith(_PREFIX):
            owner = owners[node.target]
            ranges[node.args[0].name] = float(owner.low), float(owner.high)
    return ranges


def _activations(module: nn.Module) -> Iterator[Any]:
    return (each for each in module.modules() if isinstance(each, _classes().Activation))


@functools.cache
def _classes() -> SimpleNamespace:
    """Return the two modules; torch is imported only now."""
    torch = import_torch()

    class Activation(torch.nn.Module):  # type: ignore[name-defined, misc]
        """Rounds one tensor to ``bits`` bits, unsigned with a zero point or signed without.

        In training mode the range is a moving average of the extremes of each batch, until it
        is frozen.
        """

        low: Any
        high: Any

        def __init__(self, span: Range, bits: int, *, signed: bool) -> None:
            super().__init__()
            # In float64 as engines/precision/scales.py computes.
            self.register_buffer("low", torch.tensor(float(span[0]), dtype=torch.float64))
            self.register_buffer("high", torch.tensor(float(span[1]), dtype=torch.float64))
            self.is_signed = signed
            self.is_frozen = False
            self.least = -(2 ** (bits - 1)) if signed else 0
            self.most = self.least + 2**bits - 1

        def set_range(self, span: Range) -> None:
            self.low.fill_(span[0])
            self.high.fill_(span[1])

        def scale(self) -> tuple[Any, Any]:
            span = torch.maximum(-self.low, self.high) if self.is_signed else self.high - self.low
            scale = span / self.most
            scale = torch.where(scale > _MIN_SCALE, scale, torch.ones_like(scale))
            zero_point = torch.zeros_like(scale)
            if not self.is_signed:
                zero_point = torch.clamp(torch.round(-self.low / scale), 0, self.most)
            return scale.float(), zero_point.int()

        def forward(self, values: Any) -> Any:
            with torch.autocast(values.device.type, enabled=False):
                values = values.float()
                if self.training and not self.is_frozen:
                    self._follow(values.detach())
                scale, zero_point = self.scale()
                return torch.fake_quantize_per_tensor_affine(
                    values, scale, zero_point, self.least, self.most
                )

        def _follow(self, values: Any) -> None:
            low, high = torch.aminmax(values)
            for end, new in ((self.low, low.clamp(max=0)), (self.high, high.clamp(min=0))):
                end.mul_(_MOMENTUM).add_(new.double(), alpha=1 - _MOMENTUM)

    class Weights(torch.nn.Module):  # type: ignore[name-defined, misc]
        """Rounds weights symmetrically, with one scale for each channel or one for all."""

        def __init__(self, axis: int | None, bits: int) -> None:
            super().__init__()
            self.axis = axis
            self.least, self.most = weight_limits(bits)

        def forward(self, weights: Any) -> Any:
            with torch.autocast(weights.device.type, enabled=False):
                scale = self._scale(weights.detach())
                if self.axis is None:
                    zero = torch.zeros_like(scale, dtype=torch.int32)
                    return torch.fake_quantize_per_tensor_affine(
                        weights, scale, zero, self.least, self.most
                    )
                zeros = torch.zeros_like(scale, dtype=torch.int32)
                return torch.fake_quantize_per_channel_affine(
                    weights, scale, zeros, self.axis, self.least, self.most
                )

        def _scale(self, weights: Any) -> Any:
            others = [axis for axis in range(weights.ndim) if axis != self.axis]
            low = weights.amin(others).clamp(max=0).double()
            high = weights.amax(others).clamp(min=0).double()
            scale = torch.maximum(low / self.least, high / self.most)
            return torch.where(scale > _MIN_SCALE, scale, torch.ones_like(scale)).float()

    return SimpleNamespace(Activation=Activation, Weights=Weights)
