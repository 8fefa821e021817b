"""Small networks that are made from the shape of a teacher."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from edge_inference.core.images.input_spec import InputSpec
from edge_inference.errors import ConfigError
from edge_inference.optimize.distillation.architecture import (
    Architecture,
    ConvolutionStage,
    read_architecture,
)
from edge_inference.optimize.distillation.teachers import Teacher, TorchTeacher
from edge_inference.optimize.training.torch_model import (
    ModuleSource,
    TorchModel,
    import_torch,
    load_module,
)
from edge_inference.optimize.training.train import deterministic

if TYPE_CHECKING:
    from torch import Tensor, nn

KINDS = ("auto", "cnn", "vit")
#: Channels are multiples of this: kernels of other widths are slower (see Torch-Pruning).
_MULTIPLE = 8
#: A student of the preferred depth is taken if it uses this share of the permitted weights.
_MIN_USE = 0.5
_MIN_HEAD_WIDTH = 16
_MAX_PATCH = 16
_MIN_TOKENS = 49
#: Width and depth of a transformer for a teacher that is none.
_DEFAULT_WIDTH, _DEFAULT_DEPTH = 384, 8
_DEFAULT_CHANNELS = 32
_MAX_DEFAULT_STAGES = 4


def make_student(
    teacher: TorchModel | Teacher,
    ratio: float = 0.25,
    kind: str = "auto",
    seed: int = 0,
    labels: Sequence[str] | None = None,
) -> TorchModel:
    """Return an untrained student with at most ``ratio`` times the weights of a teacher.

    ``kind`` cnn gives depthwise-separable convolutions in the teacher's stages (MobileNet, arXiv
    1704.04861), vit a transformer over patches (arXiv 2010.11929); auto is vit for a teacher that
    has more attention layers than convolutions. ``labels`` are needed for a teacher whose classes
    have no names. The same seed gives the same weights. Raises ConfigError for a ratio that no
    student meets, and what :func:`plan_student` raises.
    """
    known: Teacher = TorchTeacher(teacher) if isinstance(teacher, TorchModel) else teacher
    names = tuple(labels or known.labels)
    if not names:
        raise ConfigError(f"teacher {known.name}: its classes have no names; give the labels")
    source = plan_student(known, len(names), ratio, kind)
    with deterministic(seed):
        module = load_module(source)
    spec = planar_input(known.input)
    return TorchModel(module, spec, names, f"{known.name}_student")


def plan_student(
    teacher: Teacher, classes: int, ratio: float = 0.25, kind: str = "auto"
) -> ModuleSource:
    """Return the function and the arguments that make a student of a teacher.

    It has half the teacher's depth, or another one where that would leave more than half of the
    permitted weights unused, and the largest width that fits. Raises ConfigError for an
    unknown kind, a ratio that is not between 0 and 1 or that no student meets; ModelError for a
    teacher whose graph cannot be read.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if not 0 < ratio < 1:
        raise ConfigError(f"ratio: expected more than 0 and less than 1, got {ratio}")
    shape = read_architecture(teacher)
    if kind == "auto":
        kind = "vit" if shape.attentions > shape.convolutions else "cnn"
    spec = teacher.input
    candidates = (_transformers if kind == "vit" else _cnns)(shape, spec, classes)
    limit = int(shape.parameters * ratio)
    best: tuple[int, ModuleSource] | None = None
    smallest: float = math.inf
    for sources in candidates:
        smallest = min(smallest, _parameter_count(sources[0]))
        fitting = bisect.bisect_right(sources, limit, key=_parameter_count)
        if not fitting:
            continue
        count = _parameter_count(sources[fitting - 1])
        if best is None or count > best[0]:
            best = count, sources[fitting - 1]
        if best[0] >= _MIN_USE * limit:
            break
    if best is None:
        raise ConfigError(
            f"ratio: the smallest student ({kind}) of {teacher.name} has {smallest} weights, "
            f"{smallest / max(shape.parameters, 1):.3g} times the teacher's {shape.parameters}; "
            "give a larger ratio, or a student of your own"
        )
    return best[1]


def separable_cnn(channels: int, classes: int, stages: Sequence[Sequence[int]]) -> nn.Module:
    """Return a CNN of depthwise-separable convolutions (MobileNet, arXiv 1704.04861).

    Each of the ``stages`` has a number of channels, of blocks, and the stride of its first block;
    the first block of all is an ordinary convolution. Input ``(N, channels, H, W)``, output
    ``(N, classes)``.
    """
    nn = import_torch().nn
    layers: list[Any] = []
    inputs = channels
    for width, depth, first_stride in stages:
        for block in range(depth):
            stride = first_stride if block == 0 else 1
            kernel = max(3, stride)
            if not layers:
                layers += [nn.Conv2d(inputs, width, kernel, stride, kernel // 2, bias=False)]
            else:
                layers += [
                    nn.Conv2d(
                        inputs, inputs, kernel, stride, kernel // 2, groups=inputs, bias=False
                    ),
                    nn.BatchNorm2d(inputs),
                    nn.ReLU(),
                    nn.Conv2d(inputs, width, 1, bias=False),
                ]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def vision_transformer(
    channels: int,
    classes: int,
    height: int,
    width: int,
    patch: int,
    dim: int,
    depth: int,
    heads: int,
) -> nn.Module:
    """Return a vision transformer (arXiv 2010.11929) that averages its tokens.

    ``patch`` is the side of a patch in pixels, ``dim`` the width of a token. Input ``(N,
    channels, height, width)``, output ``(N, classes)``.
    """
    network: nn.Module = _transformer_class("VisionTransformer")(
        channels, classes, (height // patch) * (width // patch), patch, dim, depth, heads
    )
    return network


@cache
def _transformer_class(name: str) -> Any:
    """Return a class of the transformer.

    The classes need torch, and are therefore made at first use; ``__getattr__`` lets a pickled
    network find them.
    """
    torch = import_torch()
    nn = torch.nn
    base: Any = nn.Module

    class TransformerBlock(base):  # type: ignore[misc]
        def __init__(self, dim: int, heads: int) -> None:
            super().__init__()
            self.heads = heads
            self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.query_key_value = nn.Linear(dim, 3 * dim)
            self.projection = nn.Linear(dim, dim)
            self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

        def forward(self, tokens: Tensor) -> Tensor:
            count, length, dim = tokens.shape
            packed = self.query_key_value(self.norm1(tokens))
            packed = packed.reshape(count, length, 3, self.heads, dim // self.heads)
            query, key, value = packed.permute(2, 0, 3, 1, 4)
            scores = query @ key.transpose(-2, -1) * (dim // self.heads) ** -0.5
            mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(count, length, dim)
            tokens = tokens + self.projection(mixed)
            return tokens + self.mlp(self.norm2(tokens))

    class VisionTransformer(base):  # type: ignore[misc]
        def __init__(
            self,
            channels: int,
            classes: int,
            tokens: int,
            patch: int,
            dim: int,
            depth: int,
            heads: int,
        ) -> None:
            super().__init__()
            self.patches = nn.Conv2d(channels, dim, patch, patch)
            self.positions = nn.Parameter(torch.randn(1, tokens, dim) * 0.02)
            block = _transformer_class("TransformerBlock")
            self.blocks = nn.Sequential(*(block(dim, heads) for _ in range(depth)))
            self.norm = nn.LayerNorm(dim)
            self.head = nn.Linear(dim, classes)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
            return self.head(self.norm(self.blocks(tokens)).mean(1))

    made = {"TransformerBlock": TransformerBlock, "VisionTransformer": VisionTransformer}[name]
    made.__module__, made.__qualname__ = __name__, name
    return made


def __getattr__(name: str) -> Any:
    if name in ("TransformerBlock", "VisionTransformer"):
        return _transformer_class(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _cnns(shape: Architecture, spec: InputSpec, classes: int) -> Iterable[list[ModuleSource]]:
    """Yield CNNs in the teacher's stages, not wider or deeper than those.

    Each list has one depth, the preferred one first, and widths from small to large.
    """
    stages = shape.stages or _default_stages(spec)
    # Every factor at which the rounded width of some stage changes.
    factors = sorted(
        {
            width / stage.channels
            for stage in stages
            for width in (*range(_MULTIPLE, stage.widest, _MULTIPLE), stage.widest)
        }
    )
    strides = [
        max(1, round(before / stage.height))
        for before, stage in zip((spec.height, *(s.height for s in stages)), stages, strict=False)
    ]
    for share in (0.5, 1.0, 0.0):
        depths = [max(1, math.ceil(stage.depth * share)) for stage in stages]
        yield [
            ModuleSource(
                f"{__name__}:separable_cnn",
                {
                    "channels": spec.channels,
                    "classes": classes,
                    "stages": [
                        [_round(min(stage.channels * factor, stage.widest)), depth, stride]
                        for stage, depth, stride in zip(stages, depths, strides, strict=True)
                    ],
                },
            )
            for factor in factors
        ]


def _default_stages(spec: InputSpec) -> tuple[ConvolutionStage, ...]:
    """Return stages that halve the image, for a teacher without convolutions."""
    return tuple(
        ConvolutionStage(
            _DEFAULT_CHANNELS << level,
            _DEFAULT_CHANNELS << level,
            2,
            max(1, spec.height >> (level + 1)),
        )
        for level in range(_MAX_DEFAULT_STAGES)
        if level == 0 or spec.height >> (level + 1) >= 3
    )


def _transformers(
    shape: Architecture, spec: InputSpec, classes: int
) -> Iterable[list[ModuleSource]]:
    """Yield transformers with half the teacher's layers or fewer.

    Each list has one depth, the preferred one first, and widths from small to large.
    """
    widest = shape.width if shape.attentions and shape.width else _DEFAULT_WIDTH
    patch = shape.patch if shape.attentions and shape.patch else _patch_of(spec)
    depth = -(-(shape.attentions or _DEFAULT_DEPTH) // 2)
    for layers in sorted({depth, max(1, depth // 2), 1}, reverse=True):
        yield [
            ModuleSource(
                f"{__name__}:vision_transformer",
                {
                    "channels": spec.channels,
                    "classes": classes,
                    "height": spec.height,
                    "width": spec.width,
                    "patch": patch,
                    "dim": dim,
                    "depth": layers,
                    "heads": _heads_of(dim, shape.heads),
                },
            )
            for dim in range(_MULTIPLE, max(widest, _MULTIPLE) + 1, _MULTIPLE)
        ]


def _heads_of(dim: int, teacher_heads: int | None) -> int:
    limit = min(teacher_heads or dim, max(1, dim // _MIN_HEAD_WIDTH))
    return max(heads for heads in range(1, limit + 1) if dim % heads == 0)


def _patch_of(spec: InputSpec) -> int:
    """Return the largest patch that divides the image into enough tokens."""
    common = math.gcd(spec.height, spec.width)
    fitting = [
        side
        for side in range(2, _MAX_PATCH + 1)
        if common % side == 0 and (spec.height // side) * (spec.width // side) >= _MIN_TOKENS
    ]
    # The convolution ignores a rest at the edges that is smaller than a patch.
    return max(fitting, default=max(1, min(spec.height, spec.width, 7 * _MAX_PATCH) // 7))


def _parameter_count(source: ModuleSource) -> int:
    """Return the weights of a module without making them."""
    torch = import_torch()
    with torch.device("meta"):
        return sum(each.numel() for each in load_module(source).parameters())


def _round(channels: float) -> int:
    return max(_MULTIPLE, round(channels / _MULTIPLE) * _MULTIPLE)


def planar_input(spec: InputSpec) -> InputSpec:
    """Return a teacher's input as PyTorch reads it: float32 NCHW, any batch."""
    return replace(spec, layout="NCHW", batch=1, dtype="float32")
