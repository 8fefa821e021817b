"""The times of layers that TensorRT reports to its profiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tensorrt_double
from double_control import Double
from edge_inference.backends.gpu import gpu_memory
from edge_inference.errors import BackendError
from edge_inference.observe.profiling.layer_measurement import measure_layers
from edge_inference.observe.profiling.layer_trace import trace_profile
from trt_on_double import make_backend

#: Far less than a run of the double takes.
LAYER_MS = {"conv": 2e-6, "Reformatting CopyNode for Output": 1e-6}
INPUT = {"x": np.ones((1, 4), np.float32)}


def _inspected(name: str, kind: str, number: str, **more: Any) -> dict[str, Any]:
    end = [{"Format/Datatype": f"Row major linear {number} format"}]
    return {"Name": name, "LayerType": kind, "Inputs": end, "Outputs": end, **more}


LAYERS = {
    "Layers": [
        _inspected("conv", "CaskConvolution", "FP16", Weights={"Type": "Half", "Count": 9}),
        _inspected("Reformatting CopyNode for Output", "Reformat", "FP16"),
        _inspected("never run", "PointWise", "FP16"),
    ]
}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", infos[:1], infos[1:])
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "n.onnx")
    return tmp_path / "n.onnx"


def test_each_run_reports_its_layers(network: Path, double: Double) -> None:
    backend = make_backend(network, header={"layers": LAYERS, "layer_ms": LAYER_MS})
    measured = measure_layers(backend, INPUT, 4, gpu=0)
    profile = measured.profile
    assert profile.source == "TensorRT's IProfiler"
    assert profile.runs == 4
    assert {layer.name: layer.ms for layer in profile.layers} == pytest.approx(LAYER_MS)
    assert profile.layers_ms <= profile.run_ms
    kinds = [(layer.kind.operator, layer.kind.precision) for layer in profile.layers]
    assert kinds == [("CaskConvolution", "fp16"), ("Reformat", "fp16")]
    assert measured.gpu_memory is not None
    assert 0 <= measured.gpu_memory.used_mib <= measured.gpu_memory.total_mib
    names = [event["name"] for event in trace_profile(profile, "e").as_json()["traceEvents"]]
    assert names[-2:] == list(LAYER_MS)
    assert not any(double.live().values())
    assert not any(tensorrt_double.alive.values())


def test_no_graph_is_recorded_while_layers_are_reported(network: Path) -> None:
    backend = make_backend(network, header={"layer_ms": LAYER_MS}, use_graph=True)
    reports: list[str] = []
    backend.report_layers(lambda name, ms: reports.append(name))
    with backend:
        for _ in range(5):
            backend.infer(INPUT)
        assert "CUDA graph off (by setting)" in backend.describe()
    assert reports == [*LAYER_MS] * 5


def test_a_backend_without_reports_records_its_graph_as_before(network: Path) -> None:
    backend = make_backend(network, header={"layer_ms": LAYER_MS})
    with backend:
        for _ in range(3):
            np.testing.assert_array_equal(backend.infer(INPUT)["y"], INPUT["x"])


def test_an_engine_that_reports_nothing(network: Path) -> None:
    with pytest.raises(BackendError, match="at least one layer, got none"):
        measure_layers(make_backend(network), INPUT, 2)


def test_memory_of_a_gpu_that_is_not_in_use(double: Double) -> None:
    with pytest.raises(BackendError, match="this process does not use GPU 0"):
        gpu_memory()
    with pytest.raises(BackendError, match="GPU 7"):
        gpu_memory(7)


def test_layers_of_a_closed_backend(network: Path) -> None:
    with pytest.raises(BackendError, match="not open"):
        make_backend(network).layers()
