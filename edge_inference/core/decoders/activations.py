"""Converts logits to probabilities, without overflow, and not a second time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.errors import ConfigError

#: How far a probability may exceed 0..1, because half precision and INT8 round.
PROBABILITY_TOLERANCE = 0.01
_ENOUGH_VALUES = 16
"""So many logits are never all from 0 to 1: with half of them negative, the chance is 2**-16."""


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


def activate_once(name: str, values: NDArray[np.float32], axis: int = -1) -> NDArray[np.float32]:
    """Like :func:`activate`, but leave values that are probabilities already as they are.

    Many exporters put the activation into the model, and a second one flattens the scores:
    softmax([0.9, 0.1]) is [0.69, 0.31]. Logarithms of probabilities become probabilities too.
    """
    if name == "sigmoid" and are_probabilities(values, axis):
        return values
    # Equal values are logits of equal classes rather than probabilities, of which one is higher.
    if name == "softmax" and are_probabilities(values, axis) and values.min() != values.max():
        return values
    if name == "sigmoid" and are_log_probabilities(values, axis):
        return softmax(values, axis)
    return activate(name, values, axis)


def are_probabilities(values: NDArray[np.float32], axis: int = -1) -> bool:
    """Tell whether values are the result of a softmax along the axis, or of a sigmoid.

    Few values must also have the sum 1, since a few logits may lie between 0 and 1 by chance.
    """
    if not values.size:
        return False
    low, high = float(values.min()), float(values.max())
    if low < -PROBABILITY_TOLERANCE or high > 1 + PROBABILITY_TOLERANCE:
        return False
    return values.size >= _ENOUGH_VALUES or _sum_to_one(values, values, axis)


def are_log_probabilities(values: NDArray[np.float32], axis: int = -1) -> bool:
    """Tell whether values are the result of a log-softmax along the axis."""
    if not values.size or values.max() > PROBABILITY_TOLERANCE:
        return False
    return _sum_to_one(np.exp(values), values, axis)


def _sum_to_one(probabilities: NDArray[np.float32], values: NDArray[np.float32], axis: int) -> bool:
    if values.shape[axis] < 2:
        return False
    with np.errstate(over="ignore"):
        is_half = bool((values.astype(np.float16) == values).all())
    # The sum of rounded values is off by as much as one of them: 2**-11 in half precision.
    tolerance = 1e-3 if is_half else 1e-5
    sums: NDArray[Any] = probabilities.sum(axis=axis, dtype=np.float64)
    return bool((np.abs(sums - 1) <= tolerance).all())


def unknown_activation(name: str) -> ConfigError:
    """Return the error for an unknown activation."""
    return ConfigError(f"activation: expected softmax, sigmoid or none, got {name!r}")
