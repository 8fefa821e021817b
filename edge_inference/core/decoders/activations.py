"""From logits to probabilities, without overflow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[np.float32], axis: int = -1) -> NDArray[np.float32]:
    """Return the softmax along an axis; the largest logit is taken off first."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True), dtype=np.float32)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logistic function, by tanh, which cannot overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)


def activate(name: str, logits: NDArray[np.float32], axis: int = -1) -> NDArray[np.float32]:
    """Apply "softmax", "sigmoid" or "none"."""
    if name == "softmax":
        return softmax(logits, axis)
    return sigmoid(logits) if name == "sigmoid" else logits
