"""Converts logits to probabilities, without overflow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_inference.errors import ConfigError


def softmax(logits: NDArray[np.float32], axis: int = -1) -> NDArray[np.float32]:
    """Return the softmax along an axis; the largest logit is subtracted first."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True), dtype=np.float32)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logistic function, by tanh, which cannot overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)


def activate(name: str, logits: NDArray[np.float32], axis: int = -1) -> NDArray[np.float32]:
    """Apply "softmax", "sigmoid" or "none"; raises ConfigError for anything else."""
    if name == "softmax":
        return softmax(logits, axis)
    if name == "sigmoid":
        return sigmoid(logits)
    if name == "none":
        return logits
    raise unknown_activation(name)


def unknown_activation(name: str) -> ConfigError:
    """Return the error for an unknown activation."""
    return ConfigError(f"activation: expected softmax, sigmoid or none, got {name!r}")
