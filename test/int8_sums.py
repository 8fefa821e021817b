"""What x86 without VNNI computes of bytes, in integers: two products added in 16 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def saturating_pair_sums(inputs: NDArray[np.uint8], weights: NDArray[np.int8]) -> NDArray[np.int16]:
    """Return u8 [..., 2] times s8 [..., 2], added in pairs and cut off, as ``vpmaddubsw`` does."""
    products = inputs.astype(np.int16) * weights.astype(np.int16)  # each fits: 255 * -128
    sums = products[..., 0].astype(np.int32) + products[..., 1]
    limits = np.iinfo(np.int16)
    return np.clip(sums, limits.min, limits.max).astype(np.int16)


def can_saturate(numbers: NDArray[np.int8]) -> bool:
    """Tell whether any two weights, in any order, have inputs for which their sum is cut off."""
    values = np.unique(numbers)
    pairs = np.stack(np.meshgrid(values, values), axis=-1)
    for inputs in ((255, 255), (255, 0), (0, 255)):  # a sum is largest where inputs are extreme
        given = np.broadcast_to(np.array(inputs, np.uint8), pairs.shape)
        exact = (given.astype(np.int32) * pairs).sum(axis=-1)
        if (saturating_pair_sums(given, pairs) != exact).any():
            return True
    return False


def int8_weights(file: Path) -> dict[str, NDArray[Any]]:
    """Return the signed 8-bit numbers that an ONNX file's layers multiply with."""
    import onnx

    graph = onnx.load(file).graph
    constants = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    read = [node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"]
    return {
        name: constants[name]
        for name in read
        if name in constants and constants[name].dtype == np.int8
    }
