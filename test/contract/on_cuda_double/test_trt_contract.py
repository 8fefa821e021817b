"""The tests of every backend, for the TensorRT backend on the doubles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tensorrt_double
import test_backends
from edge_inference.backends.base import Backend
from trt_on_double import make_backend

MAKERS: dict[str, Callable[[Path], Backend]] = {
    "trt": lambda onnx_file: make_backend(onnx_file),
    "trt, 2 contexts": lambda onnx_file: make_backend(onnx_file, contexts=2),
    "trt, no graph": lambda onnx_file: make_backend(onnx_file, use_graph=False),
}

globals().update(
    (name, test) for name, test in vars(test_backends).items() if name.startswith("test_")
)


@pytest.fixture(params=list(MAKERS))
def closed(request: pytest.FixtureRequest, doubling_onnx: Path) -> Iterator[Backend]:
    backend = MAKERS[request.param](doubling_onnx)
    yield backend
    backend.close()
    assert not any(tensorrt_double.double.live().values())
    assert not any(tensorrt_double.alive.values())


@pytest.fixture
def opened(closed: Backend) -> Backend:
    return closed.open()
