"""The self-check on the shipped models and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.model import available_models, load_model
from edge_inference.core.self_check import SelfCheckReport, self_check, self_check_pictures

MODELS = available_models([Path(__file__).parents[2] / "models"])
NAMES = sorted(MODELS)
Infer = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]


def check(name: str, candidate_of: Callable[[Infer], Infer]) -> SelfCheckReport:
    """Hold an engine against ONNX Runtime's fp32 on a few of the model's pictures."""
    model = load_model(MODELS[name])
    with OrtBackend(model.variants["fp32"].file) as backend:
        pictures = self_check_pictures(model, count=6)
        return self_check(model, backend.infer, candidate_of(backend.infer), pictures)


def with_bits(bits: int) -> Callable[[Infer], Infer]:
    """Return an engine that keeps only so many bits of each value of its input."""

    def candidate_of(infer: Infer) -> Infer:
        def rounded(inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
            coarse = {}
            for name, array in inputs.items():
                step = (array.max() - array.min()) / (2**bits - 1)
                coarse[name] = (np.round(array / step) * step).astype(array.dtype)
            return infer(coarse)

        return rounded

    return candidate_of


@pytest.mark.parametrize("name", NAMES)
def test_the_same_engine_agrees_wholly(name: str) -> None:
    report = check(name, lambda infer: infer)
    assert report.passed
    assert report.figures()["largest_difference"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_fine_rounding_passes(name: str) -> None:
    report = check(name, with_bits(8))
    assert report.passed, report.summary()
    assert report.figures()["sqnr_db"] > 20


@pytest.mark.parametrize("name", NAMES)
def test_coarse_rounding_is_refused(name: str) -> None:
    report = check(name, with_bits(2))
    assert not report.passed, report.summary()
    assert report.figures()["sqnr_db"] < 8
