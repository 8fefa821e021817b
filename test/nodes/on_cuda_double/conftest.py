"""The inference node on doubles of CUDA and TensorRT; started by ``test_trt_node_on_double.py``."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "EDGE_INFERENCE_CUDA_DOUBLE" in os.environ else ["test_*.py"]
