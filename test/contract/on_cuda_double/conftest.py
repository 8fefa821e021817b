"""Tests of the TensorRT backend on doubles of CUDA and TensorRT.

The driver's double must never replace a real driver in other tests, so these tests run
in their own processes: ``test_trt_on_double.py`` starts them. To run one by hand:
``python test/contract/test_trt_on_double.py test_trt_backend.py``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

IN_ITS_OWN_PROCESS = "EDGE_INFERENCE_CUDA_DOUBLE" in os.environ

collect_ignore_glob = [] if IN_ITS_OWN_PROCESS else ["test_*.py"]

if IN_ITS_OWN_PROCESS:
    pytest.register_assert_rewrite("test_backends")


@pytest.fixture(autouse=True)
def double() -> Iterator[object]:
    """Give every test a working GPU, and check its state afterwards."""
    import tensorrt_double

    found = tensorrt_double.double
    found.reset()
    tensorrt_double.errors.clear()
    yield found
    assert tensorrt_double.errors == []
    assert found.misuse() == ""
    assert found.count("stacks_left") == 0
    assert found.count("stack") == 0
