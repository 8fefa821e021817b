"""ONNX Runtime's profile is read by its runs; layers never take more than the whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_inference.backends.trt.layers import LayerPrecision
from edge_inference.errors import BackendError
from edge_inference.observe.profiling.layer_profile import LayerKind, MeasuredRun, summarize_runs
from edge_inference.observe.profiling.ort_profile import (
    parse_ort_profile,
    read_ort_profile,
    summarize_recorded,
)
from edge_inference.observe.profiling.trt_profile import TrtLayerRecorder


def node(name: str, begin: int, duration: int, operator: str = "Conv", **args: Any) -> Any:
    return {
        "cat": "Node",
        "ph": "X",
        "name": f"{name}_kernel_time",
        "ts": begin,
        "dur": duration,
        "args": {"op_name": operator, "provider": "CPUExecutionProvider", **args},
    }


def run(begin: int, duration: int) -> Any:
    return {"cat": "Session", "ph": "X", "name": "model_run", "ts": begin, "dur": duration}


def types(*entries: tuple[str, list[int]]) -> list[dict[str, list[int]]]:
    return [{kind: shape} for kind, shape in entries]


def profile(events: list[Any], runs: int) -> Any:
    return summarize_recorded(parse_ort_profile(events, runs))


def test_the_warm_up_does_not_count() -> None:
    # The first run is faster, so that it would count if it was not left out.
    events = [node("a", 10, 90), run(0, 100), node("a", 2010, 300), run(2000, 400)]
    found = profile(events, 1)
    assert found.run_ms == 0.4
    assert [(layer.name, layer.ms, layer.share) for layer in found.layers] == [
        ("a", 0.3, pytest.approx(0.75))
    ]


def test_the_faster_half_of_the_runs_counts() -> None:
    # Three runs of 100, 300 and 5000 us; the last one was delayed by other load.
    events = []
    for begin, duration in ((0, 100), (1000, 5000), (7000, 300)):
        events += [node("a", begin, duration), run(begin, duration)]
    found = profile(events, 3)
    assert (found.runs, found.used) == (3, 2)
    assert found.run_ms == pytest.approx(0.2)
    assert found.layers[0].ms == pytest.approx(0.2)


def test_inner_nodes_are_taken_from_the_node_around_them() -> None:
    events = [
        node("loop", 0, 1000, "Loop"),
        node("inner", 100, 200),
        node("inner", 400, 300),
        node("after", 1000, 500),
        run(0, 1600),
    ]
    found = profile(events, 1)
    times = {layer.name: layer.ms for layer in found.layers}
    assert times == {"loop": 0.5, "inner": 0.5, "after": 0.5}
    assert found.layers_ms == 1.5


def test_nodes_with_one_name_stay_apart() -> None:
    events = [
        node("same", 0, 100, node_index="1"),
        node("same", 100, 300, "Relu", node_index="2"),
        run(0, 500),
    ]
    found = profile(events, 1)
    assert [(layer.kind.operator, layer.ms) for layer in found.layers] == [
        ("Conv", 0.1),
        ("Relu", 0.3),
    ]
    assert found.by_operator() == {"Relu": (1, 0.3), "Conv": (1, 0.1)}


@pytest.mark.parametrize(
    ("operator", "inputs", "precision"),
    [
        ("Conv", [("float", [1]), ("float", [1])], "fp32"),
        ("Conv", [("float16", [1])], "fp16"),
        ("QLinearConv", [("uint8", [1]), ("float", [])], "int8"),
        ("QGemm", [("uint8", [1])], "int8"),
        ("MatMulNBits", [("float", [1])], "int4"),
        ("Gather", [("int64", [4]), ("int64", [])], "int64"),
        ("Where", [("bool", [1]), ("double", [1])], "fp64"),
        ("Gather", [("float", [9]), ("int64", [])], "fp32"),
    ],
)
def test_the_precision_is_that_of_the_arithmetic(
    operator: str, inputs: list[Any], precision: str
) -> None:
    event = node("n", 0, 1, operator, input_type_shape=types(*inputs))
    (layer,) = profile([event, run(0, 2)], 1).layers
    assert layer.kind.precision == precision


def test_a_cast_tells_what_it_makes() -> None:
    event = node(
        "n",
        0,
        1,
        "Cast",
        input_type_shape=types(("float", [1, 3])),
        output_type_shape=types(("float16", [1, 3])),
    )
    (layer,) = profile([event, run(0, 2)], 1).layers
    kind = layer.kind
    assert (kind.precision, kind.converts_to, kind.output) == ("fp32", "fp16", (1, 3))


def test_layers_that_are_not_in_the_file_were_added() -> None:
    operators = {"a": "Conv", "b": "Transpose", "Relu_7": "Relu"}
    events = [node(name, 10 * n, 5, kind) for n, (name, kind) in enumerate(operators.items())]
    runs = parse_ort_profile([*events, run(0, 100)], 1)
    in_file = {("a", "Conv"), ("c", "Transpose"), ("", "Relu")}
    added = [layer.name for layer in summarize_recorded(runs, in_file).layers if layer.kind.added]
    assert added == ["b"]
    assert not any(layer.kind.added for layer in summarize_recorded(runs).layers)


@pytest.mark.parametrize(
    ("events", "runs", "text"),
    [
        ([node("a", 0, 1), run(0, 2)], 2, "expected 2 complete inferences, got 1"),
        ([run(0, 2)], 1, "expected 1 complete inferences, got 0"),
        ([], 1, "got 0"),
        ({}, 1, "expected a list of events, got dict"),
        ([node("a", 0, -1), run(0, 2)], 1, "whole microseconds"),
        ([{**run(0, 1), "dur": "1"}], 1, "whole microseconds"),
    ],
)
def test_an_incomplete_profile_is_refused(events: Any, runs: int, text: str) -> None:
    with pytest.raises(BackendError, match=text):
        parse_ort_profile(events, runs)


def test_a_truncated_file_is_said(tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    whole = json.dumps([node("a", 0, 1), run(0, 2)])
    file.write_text(whole[:-20])
    with pytest.raises(BackendError, match=r"truncated or damaged file; free space .*TMPDIR"):
        read_ort_profile(file, 1)
    with pytest.raises(BackendError, match=r"at most 10 bytes.*--runs"):
        read_ort_profile(file, 1, max_bytes=10)
    with pytest.raises(BackendError, match="cannot be read"):
        read_ort_profile(tmp_path / "missing.json", 1)


def test_the_sum_of_layers_is_at_most_the_inference() -> None:
    kinds = {name: LayerKind(name, "Conv") for name in "ab"}
    runs = [MeasuredRun(10.0, {"a": 4.0, "b": 5.0}), MeasuredRun(12.0, {"a": 11.0})]
    found = summarize_runs("a test", kinds, runs)
    assert found.run_ms == 10.0
    assert [layer.ms for layer in found.layers] == [4.0, 5.0]
    assert [layer.name for layer in found.longest(1)] == ["b"]


def test_nothing_measured_is_no_profile() -> None:
    with pytest.raises(BackendError, match="at least one layer, got none"):
        summarize_runs("a test", {}, [MeasuredRun(1.0, {})])


def test_reports_of_tensorrt_are_grouped_by_inference() -> None:
    recorder = TrtLayerRecorder()

    def infer(*times: tuple[str, float]) -> None:
        recorder.run(lambda: [recorder.add(name, ms) for name, ms in times])

    infer(("conv", 90.0), ("other", 90.0))  # the warm-up
    infer(("conv", 1e-6), ("tail", 2e-6), ("tail", 1e-6))
    layers = (LayerPrecision("conv", "CaskConvolution", "fp16", True, True),)
    found = recorder.summarize(layers, 1)
    assert [(layer.name, layer.ms) for layer in found.layers] == [("conv", 1e-6), ("tail", 3e-6)]
    conv, tail = (layer.kind for layer in found.layers)
    assert (conv.operator, conv.precision, conv.weighted) == ("CaskConvolution", "fp16", True)
    assert (tail.operator, tail.precision) == ("unknown", "unknown")
