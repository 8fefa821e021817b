"""The null backend returns zeros of the right shape."""

from __future__ import annotations

import numpy as np

from edge_inference.backends.base import TensorSpec
from edge_inference.backends.null import NullBackend


def test_zeros_have_the_declared_shape_and_type() -> None:
    outputs = (
        TensorSpec("a", np.dtype(np.float32), (None, 3)),
        TensorSpec("b", np.dtype(np.int64), (2,)),
    )
    with NullBackend((), outputs) as backend:
        found = backend.infer({})
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in found.items()} == {
        "a": ((1, 3), np.float32),
        "b": ((2,), np.int64),
    }
    assert not any(tensor.any() for tensor in found.values())


def test_no_inputs_and_no_outputs() -> None:
    with NullBackend((), ()) as backend:
        assert backend.infer({}) == {}
