"""The inference node on doubles of CUDA and TensorRT, in a process of its own.

To run it by hand: ``python test/nodes/test_trt_node_on_double.py test_trt_node.py -k memory``.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOUBLE = HERE.parent / "cuda_double"
TESTS = HERE / "on_cuda_double"
FOLDERS = (DOUBLE / "as_tensorrt", HERE.parent / "unit", HERE)

sys.path.insert(0, str(DOUBLE))

import own_process  # noqa: E402


def test_the_node_on_double() -> None:
    own_process.run_tests([TESTS / "test_trt_node.py"], *FOLDERS)


if __name__ == "__main__":
    own_process.replace_this_process(TESTS, sys.argv[1:], *FOLDERS)
