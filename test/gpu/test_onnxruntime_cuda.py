"""The shipped models in ONNX Runtime on a real GPU give the results of the CPU."""

from __future__ import annotations

import pytest

from edge_inference.core.models.golden_check import run_golden_check
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import prepare
from edge_inference.errors import BackendError


@pytest.mark.parametrize("name", ["nanodet", "efficientnet_lite0"])
def test_golden_images(name: str) -> None:
    model = find_model(name)
    try:
        selection = prepare(EngineRequest(model, "ort-cuda"))
    except BackendError as error:
        pytest.skip(str(error))
    with selection.backend as backend:
        report = run_golden_check(model, backend.infer)
        assert "CUDA" in backend.describe()
    assert report.passed, report.summary()
