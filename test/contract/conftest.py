"""The shared folder of a run, and tiny models as fixtures."""

from __future__ import annotations

import pytest

import shared
from tiny_models import doubling_onnx as doubling_onnx
from tiny_models import make_onnx as make_onnx


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of the run before the workers start."""
    shared.share(config)
