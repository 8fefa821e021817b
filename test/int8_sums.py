"""The int8 arithmetic of x86 without VNNI: two products are added in 16 bits, with saturation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def saturating_pair_sums(inputs: NDArray[np.uint8], weights: NDArray[np.int8]) -> NDArray[np.int16]:
    """Return u8 [..., 2] times s8 [..., 2], added in pairs with saturation: ``vpmaddubsw``."""
    products = inputs.astype(np.int16) * weights.astype(np.int16)  # each fits: 255 * -128
    sums = products[..., 0].astype(np.int32) + products[..., 1]
    limits = np.iinfo(np.int16)
    return np.clip(sums, limits.min, limits.max).astype(np.int16)


def can_saturate(weights: NDArray[np.int8]) -> bool:
    """Return whether any two weights, in any order, have inputs for which their sum saturates."""
    values = np.unique(weights)
    pairs = np.stack(np.meshgrid(values, values), axis=-1)
    for extremes in ((255, 255), (255, 0), (0, 255)):  # extreme inputs give the largest sums
        inputs = np.broadcast_to(np.array(extremes, np.uint8), pairs.shape)
        exact = (inputs.astype(np.int32) * pairs).sum(axis=-1)
        if (saturating_pair_sums(inputs, pairs) != exact).any():
            return True
    return False


def int8_weights(file: Path) -> dict[str, NDArray[Any]]:
    """Return the int8 weights of an ONNX file's layers, by the name of the initializer."""
    import onnx

    graph = onnx.load(file).graph
    constants = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    dequantized = [node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"]
    return {
        name: constants[name]
        for name in dequantized
        if name in constants and constants[name].dtype == np.int8
    }
