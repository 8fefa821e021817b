"""The self-check on the shipped models and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.models.model import load_model
from edge_inference.core.models.model_search import available_models
from edge_inference.core.models.self_check import SelfCheckReport, run_self_check, self_check_images

MODELS = available_models([Path(__file__).parents[2] / "models"])
NAMES = sorted(MODELS)
Infer = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]


class Reference:
    """ONNX Runtime in fp32, with memoized results."""

    def __init__(self, name: str) -> None:
        self.model = load_model(MODELS[name])
        self.images = self_check_images(self.model, count=4)
        self._backend = OrtBackend(self.model.variants["fp32"].file).open()
        self._known: dict[bytes, Mapping[str, NDArray[Any]]] = {}

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        (tensor,) = inputs.values()
        key = tensor.tobytes()
        if key not in self._known:
            self._known[key] = self._backend.infer(inputs)
        return self._known[key]

    def check(self, candidate_of: Callable[[Infer], Infer]) -> SelfCheckReport:
        """Compare an engine with it on a few of the model's images."""
        return run_self_check(self.model, self.infer, candidate_of(self.infer), self.images)

    def close(self) -> None:
        self._backend.close()


@pytest.fixture(scope="module", params=NAMES)
def fp32(request: pytest.FixtureRequest) -> Iterator[Reference]:
    reference = Reference(request.param)
    yield reference
    reference.close()


def with_bits(bits: int) -> Callable[[Infer], Infer]:
    """Return an engine that rounds its input to a number of bits."""

    def candidate_of(infer: Infer) -> Infer:
        def rounded(inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
            coarse = {}
            for name, array in inputs.items():
                step = (array.max() - array.min()) / (2**bits - 1)
                coarse[name] = (np.round(array / step) * step).astype(array.dtype)
            return infer(coarse)

        return rounded

    return candidate_of


def test_the_same_engine_agrees_completely(fp32: Reference) -> None:
    report = fp32.check(lambda infer: infer)
    assert report.passed
    assert report.figures()["max_difference"] == 0


def test_fine_rounding_passes(fp32: Reference) -> None:
    report = fp32.check(with_bits(8))
    assert report.passed, report.summary()
    assert report.figures()["sqnr_db"] > 20


def test_coarse_rounding_is_refused(fp32: Reference) -> None:
    report = fp32.check(with_bits(2))
    assert not report.passed, report.summary()
    assert report.figures()["sqnr_db"] < 8
