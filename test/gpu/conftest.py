"""The contract's tests and tiny models, for real hardware."""

from __future__ import annotations

import sys
from pathlib import Path

# For imports by module name.
sys.path.append(str(Path(__file__).resolve().parent.parent / "contract"))

from tiny_models import doubling_onnx as doubling_onnx
from tiny_models import make_onnx as make_onnx
