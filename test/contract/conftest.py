"""The folder that a run shares, and tiny models as fixtures."""

from __future__ import annotations

import pytest

import shared
from tiny_models import doubling_onnx as doubling_onnx
from tiny_models import make_onnx as make_onnx


def pytest_configure(config: pytest.Config) -> None:
    """Give the run its folder before it has workers."""
    shared.share(config)
