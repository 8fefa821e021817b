"""An engine that does not compute twice what it was asked before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.models.golden_check import InferFunction

#: Bytes of outputs that are kept. More is computed anew each time.
DEFAULT_LIMIT = 256 << 20


class MemoizedEngine:
    """Wraps ``Backend.infer``; call it as that. For one thread.

    The outputs are handed out read-only: several callers hold the same arrays.
    """

    def __init__(self, infer: InferFunction, limit_bytes: int = DEFAULT_LIMIT) -> None:
        self._infer = infer
        self._left = limit_bytes
        self._known: dict[bytes, Mapping[str, NDArray[Any]]] = {}

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Return the outputs for these inputs."""
        key = _digest(inputs)
        if key in self._known:
            return self._known[key]
        outputs = self._infer(inputs)
        for array in outputs.values():
            array.flags.writeable = False
        size = sum(array.nbytes for array in outputs.values())
        if size <= self._left:
            self._left -= size
            self._known[key] = outputs
        return outputs


def _digest(inputs: Mapping[str, NDArray[Any]]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name, array in sorted(inputs.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()
