"""Networks whose channels depend on each other, for the tests of pruning."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edge_inference.optimize.training.torch_model import TorchModel
from optimize_kit import DIGIT_LABELS, digit_spec

#: Half of the 16 channels, or of each part of 16.
DEAD = [1, 2, 5, 7, 8, 11, 13, 14]


def normalized(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> Any:
    """Return convolution and BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Network(nn.Module):
    """A stem of 16 channels, ``body``, and a classifier on its mean."""

    def __init__(self, outputs: int = 16) -> None:
        super().__init__()
        self.stem = normalized(1, 16, stride=2)
        self.head = nn.Linear(outputs, 10)

    def body(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(torch.relu(self.stem(x))).mean((2, 3)))


class Residual(Network):
    def __init__(self) -> None:
        super().__init__()
        self.first = normalized(16, 16)
        self.second = normalized(16, 16)

    def body(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class Concatenated(Network):
    def __init__(self) -> None:
        super().__init__()
        self.left = normalized(16, 16)
        self.right = normalized(16, 16)
        self.join = normalized(48, 16)

    def body(self, x: Tensor) -> Tensor:
        parts = [torch.relu(self.left(x)), x, torch.relu(self.right(x))]
        return torch.relu(self.join(torch.cat(parts, 1)))


class Depthwise(Network):
    """A depthwise convolution, a squeeze-and-excitation, and a pointwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = normalized(16, 16, groups=16)
        self.squeeze = nn.Sequential(nn.Conv2d(16, 16, 1))
        self.excite = nn.Conv2d(16, 16, 1)
        self.point = normalized(16, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        x = torch.relu(self.depthwise(x))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return torch.relu(self.point(x * gate))


class Flattened(Network):
    """The classifier reads each position of each channel."""

    def __init__(self) -> None:
        super().__init__(16 * 49)
        self.down = normalized(16, 16, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.down(torch.relu(self.stem(x)))).flatten(1))


class Grouped(Network):
    """A convolution of two groups: each must lose as many channels."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = normalized(16, 32)
        self.grouped = normalized(32, 32, groups=2)
        self.point = normalized(32, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        x = torch.relu(self.grouped(torch.relu(self.wide(x))))
        return torch.relu(self.point(x))


class Halved(Network):
    """The channels of ``wide`` are split in halves with different roles."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = normalized(16, 32)

    def body(self, x: Tensor) -> Tensor:
        value, gate = self.wide(x).chunk(2, 1)
        return value * torch.sigmoid(gate)


class Shuffled(Network):
    """The channels of ``wide`` change places (ShuffleNet, arXiv 1707.01083)."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = normalized(16, 32)
        self.point = normalized(32, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        x = torch.relu(self.wide(x))
        count, _, height, width = x.shape
        x = x.reshape(count, 2, -1, height, width).transpose(1, 2).flatten(1, 2)
        return torch.relu(self.point(x))


class FixedWidth(Network):
    """forward() has the number of channels of ``wide`` as a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = normalized(16, 32)
        self.point = normalized(32, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        x = torch.relu(self.wide(x))
        return torch.relu(self.point(x.reshape(len(x), 32, *x.shape[2:])))


class Attention(nn.Module):
    """Self-attention of one linear layer for queries, keys and values."""

    def __init__(self, width: int, heads: int, layer: str = "qkv") -> None:
        super().__init__()
        self.num_heads = heads
        self.head_dim = width // heads
        self.scale = self.head_dim**-0.5
        self.layer = layer
        self.add_module(layer, nn.Linear(width, 3 * width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        together = self.get_submodule(self.layer)(x)
        parts = together.reshape(len(x), x.shape[1], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        weights = (query @ key.transpose(-2, -1) * self.scale).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).flatten(2))


class TorchAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class Vit(nn.Module):
    """One block of a vision transformer: 2 heads of 16, 64 hidden neurons."""

    def __init__(self, attention: nn.Module | None = None) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 32, 7, 7)
        self.position = nn.Parameter(0.1 * torch.randn(1, 16, 32))
        self.first = nn.LayerNorm(32)
        self.attention = attention or Attention(32, 2)
        self.second = nn.LayerNorm(32)
        self.hidden = nn.Linear(32, 64)
        self.back = nn.Linear(64, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2) + self.position
        x = x + self.attention(self.first(x))
        x = x + self.back(nn.functional.gelu(self.hidden(self.second(x))))
        return self.head(x.mean(1))


def seeded(kind: Any, *arguments: Any) -> TorchModel:
    """Return a network with random weights and statistics, the same each time."""
    torch.manual_seed(0)
    module = kind(*arguments)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight.data, layer.running_var):
                values.uniform_(0.5, 1.5)
            for values in (layer.bias.data, layer.running_mean):
                values.normal_(0, 0.3)
    return TorchModel(module.eval(), digit_spec(), DIGIT_LABELS, kind.__name__)


def kill(layers: list[Any], dead: list[int]) -> None:
    """Make channels of layers worthless: all of their own weights become zero."""
    with torch.no_grad():
        for layer in layers:
            for name in ("weight", "bias"):
                values = getattr(layer, name)
                if values is not None:
                    values[dead] = 0
