"""The shipped models give their golden results on the doubles, from tensors and images."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from double_control import Double
from edge_inference.core.models.golden_check import read_image, run_golden_check
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.serving.engine_check import reference_backend
from trt_on_double import make_backend

SHIPPED = Path(__file__).resolve().parents[3] / "models"


@pytest.mark.parametrize("engine", ["FLOAT", "HALF"])
@pytest.mark.parametrize("name", ["nanodet", "efficientnet_lite0"])
def test_golden_images(tmp_path: Path, double: Double, name: str, engine: str) -> None:
    model = find_model(name, [SHIPPED])
    file = Path(shutil.copy(model.variants["fp32"].file, tmp_path))
    types = {model.input.name: engine}
    with make_backend(file, header={"types": types}) as backend, reference_backend(model) as wanted:
        assert (backend.inputs, backend.outputs) == (wanted.inputs, wanted.outputs)
        report = run_golden_check(model, backend.infer)
        assert report.passed, report.summary()

        frames = iter([read_image(golden.image) for golden in model.golden])

        def infer(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
            """Ignore the tensors of the CPU, and use the image."""
            return backend.infer_image(next(frames), model.input)[0]

        report = run_golden_check(model, infer)
        assert report.passed, report.summary()
        assert double.count("cuLaunchKernel") == 2
