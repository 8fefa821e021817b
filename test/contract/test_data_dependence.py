"""Outputs whose rows depend on the data: found in the graph, and compared after decoding."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_inference.backends.ort import OrtBackend
from edge_inference.core import decoders
from edge_inference.core.images.frame import Frame
from edge_inference.core.models.graph.data_dependence import DataDependence, find_data_dependence
from edge_inference.core.models.model import load_model
from edge_inference.core.models.model_search import find_model
from edge_inference.core.models.self_check import SelfCheckReport, run_self_check
from edge_inference.core.results import ResultAgreement
from edge_inference.errors import TensorError
from input_kinds import cells_image, write_detector

Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]
FLOAT = TensorProto.FLOAT
#: The graph drops scores below 0.3, the decoder those below 0.4.
CELLS = {(0, 0): 0.45, (1, 2): 0.9, (3, 1): 0.8}
FAINT, FIRST, SECOND = 0, 2, 1  # rows, in the order of the cells from top to bottom


def check(
    folder: Path, change: Change, cells: Mapping[tuple[int, int], float] = CELLS
) -> SelfCheckReport:
    """Check a candidate that changes the rows of the detector."""
    model = load_model(folder)
    with OrtBackend(model.variants["fp32"].file).fit_to(model) as backend:

        def candidate(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
            return {name: change(rows) for name, rows in backend.infer(inputs).items()}

        return run_self_check(
            model, backend.infer, candidate, [Frame.from_array(cells_image(cells))]
        )


def moved(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = rows.copy()
    rows[0, FIRST, [0, 2]] += 8
    return rows


def relabeled(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = rows.copy()
    rows[0, FIRST, 4] = np.nan
    return rows


def extra(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.append(rows, [[[16, 16, 24, 24, 0.85, 0]]], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows,
        lambda rows: rows[:, ::-1],
        lambda rows: np.delete(rows, FAINT, axis=1),
        lambda rows: rows + np.array([0.4, 0.4, 0.4, 0.4, 0.02, 0], np.float32),
    ],
    ids=["equal", "other order", "one faint box less", "rounding"],
)
def test_what_another_engine_may_find(tmp_path: Path, change: Change) -> None:
    report = check(write_detector(tmp_path / "model"), change)
    assert report.passed, report.summary()
    assert "raw outputs not compared: their rows depend on the data" in report.summary()
    assert "cosine" not in report.figures()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: np.delete(rows, FIRST, axis=1), "66.7% of the results agree"),
        (lambda rows: np.delete(rows, SECOND, axis=1), "66.7% of the results agree"),
        (lambda rows: rows[:, :0], "0.0% of the results agree"),
        (moved, "50.0% of the results agree"),
        (extra, "80.0% of the results agree"),
        (relabeled, "expected finite values"),
    ],
    ids=["best box lost", "second box lost", "all lost", "moved", "one more", "NaN"],
)
def test_what_it_may_not(tmp_path: Path, change: Change, reason: str) -> None:
    report = check(write_detector(tmp_path / "model"), change)
    assert not report.passed
    assert reason in "; ".join(report.reasons)


def test_no_rows_on_both_sides_check_nothing(tmp_path: Path) -> None:
    report = check(write_detector(tmp_path / "model"), lambda rows: rows, {})
    assert (report.passed, report.is_checked, report.reasons) == (False, False, ())
    assert report.figures() == {}
    assert report.summary() == (
        "self-check: not checked: neither side finds anything in 1 image(s), and raw outputs are "
        "not compared: their rows depend on the data; add golden images in which the model finds "
        "something"
    )


def write_strict_detector(folder: Path, **changes: Any) -> Path:
    return write_detector(
        folder, decoder={"name": "yolov8", "layout": "end_to_end", "confidence": 0.95}, **changes
    )


@pytest.mark.parametrize("change", [lambda rows: rows, lambda rows: rows[:, ::-1]])
def test_what_the_confidence_leaves_out_is_compared_where_nothing_is_found(
    tmp_path: Path, change: Change
) -> None:
    report = check(write_strict_detector(tmp_path / "model"), change)
    assert report.passed, report.summary()
    assert report.is_faint
    assert "agreement 100.0% with the lowest confidence, since nothing is" in report.summary()


@pytest.mark.parametrize("change", [moved, lambda rows: rows[:, :0]])
def test_a_difference_in_what_the_confidence_leaves_out_is_found(
    tmp_path: Path, change: Change
) -> None:
    report = check(write_strict_detector(tmp_path / "model"), change)
    assert not report.passed
    assert "of the results agree with the lowest confidence" in report.summary()


def test_what_the_graph_may_have_dropped_is_no_evidence(tmp_path: Path) -> None:
    folder = write_strict_detector(tmp_path / "model", threshold=0.02)
    report = check(folder, lambda rows: rows[:, :0], {(1, 1): 0.08})
    assert (report.is_checked, report.reasons) == (False, ())


ROWS = np.array(
    [[0, 0, 8, 8, 0.03, 0], [8, 8, 16, 16, 0.02, 0], [16, 0, 24, 8, 0.001, 0], [0] * 6], np.float32
)[None]


def check_chosen(
    tmp_path: Path, change: Change, *rows: NDArray[np.float32], **others: NDArray[Any]
) -> SelfCheckReport:
    """Check a graph that chooses rows by TopK, and so always has the same number of them.

    ``rows`` are those of each image, ROWS in one image by default.
    """
    file = tmp_path / "chosen.onnx"
    value = helper.make_tensor_value_info
    node = helper.make_node("TopK", ["image", "count"], ["detections", "indices"])
    outputs = [value("detections", FLOAT, [1, 4, 6])]
    count = numpy_helper.from_array(np.array([4]), "count")
    graph = helper.make_graph([node], "chosen", [value("image", FLOAT, [1, 9])], outputs, [count])
    onnx.save(helper.make_model(graph), file)
    model = load_model(write_detector(tmp_path / "model"))
    variant = dataclasses.replace(model.variants["fp32"], file=file)
    model = dataclasses.replace(model, variants={"fp32": variant})
    assert find_data_dependence(file).unordered == {"detections"}
    of_reference, of_candidate = iter(rows or (ROWS,)), iter(rows or (ROWS,))
    return run_self_check(
        model,
        lambda inputs: {"detections": next(of_reference), **others},
        lambda inputs: {"detections": change(next(of_candidate).copy()), **others},
        [Frame.from_array(cells_image({}))] * len(rows or (ROWS,)),
    )


def test_chosen_rows_below_the_confidence_are_compared(tmp_path: Path) -> None:
    report = check_chosen(tmp_path, lambda rows: rows[:, [1, 0, 3, 3]])  # the faintest is lost
    assert report.passed, report.summary()
    assert report.results == ResultAgreement(4, 4)  # two rows on two sides


def test_other_chosen_rows_below_the_confidence_fail(tmp_path: Path) -> None:
    report = check_chosen(tmp_path, lambda rows: rows + np.array([8, 8, 8, 8, 0, 0], np.float32))
    assert report.reasons[0].startswith("50.0% of the results agree with the lowest confidence")


def test_rows_that_only_fill_up_a_tensor_are_no_evidence(tmp_path: Path) -> None:
    filling = ROWS * np.array([1, 1, 1, 1, 0, 1], np.float32)
    report = check_chosen(tmp_path, lambda rows: rows, filling)
    assert (report.is_checked, report.reasons) == (False, ())


def test_another_output_is_no_evidence_for_those_that_are_left_out(tmp_path: Path) -> None:
    report = check_chosen(tmp_path, lambda rows: rows, np.zeros_like(ROWS), other=np.ones(3))
    assert report.outputs is not None
    assert report.outputs.has_signal
    assert (report.is_checked, report.reasons) == (False, ())


def test_rows_that_only_the_confidence_makes_readable_are_no_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yolo = decoders.find("yolov8")

    def decode(outputs: Mapping[str, Any], context: Any, settings: Any) -> Any:
        if settings.confidence < 0.2:
            raise TensorError("a row below the confidence cannot be read")
        return yolo.function(outputs, context, settings)

    entry = decoders.DecoderEntry("yolov8", yolo.settings_class, decode)
    monkeypatch.setattr(decoders, "find", lambda name: entry)
    report = check_chosen(tmp_path, lambda rows: rows)
    assert (report.is_checked, report.reasons) == (False, ())


def test_one_image_with_results_is_evidence_for_all(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[0, 0, 4] = 0.9
    report = check_chosen(tmp_path, lambda rows: rows[:, [0, 3, 3, 3]], ROWS, rows, ROWS)
    assert report.passed
    assert report.results == ResultAgreement(2, 2)
    assert not report.is_faint


def test_rows_of_an_operator_that_is_not_known_to_choose(tmp_path: Path) -> None:
    """Only the shapes tell, on one of the images."""
    folder = write_detector(tmp_path / "model")
    model = load_model(folder)
    file = model.variants["fp32"].file
    shutil.copy(file, tmp_path / "real.onnx")
    graph = onnx.load(file)
    graph.graph.node[3].op_type = "SelectsSomehow"
    graph.graph.node[3].domain = "custom"
    onnx.save(graph, file)
    assert find_data_dependence(file) == DataDependence(unknown=frozenset({"detections"}))
    images = [Frame.from_array(cells_image(cells)) for cells in ({(1, 2): 0.9}, CELLS)]
    with OrtBackend(tmp_path / "real.onnx").fit_to(model) as backend:

        def candidate(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
            rows = backend.infer(inputs)["detections"]
            return {"detections": rows[:, rows[0, :, 4] > 0.5]}

        report = run_self_check(model, backend.infer, candidate, images)
    assert report.outputs is not None
    assert report.outputs.tensors == ()
    assert report.passed, report.summary()


# --- what is found in a graph ----------------------------------------------------


def find(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any] | None = None,
    shape: Sequence[Any] = (1, 4),
    functions: Sequence[onnx.FunctionProto] = (),
) -> DataDependence:
    """Return what depends on the data in a graph from ``x`` to ``y``."""
    values = {name: np.asarray(value) for name, value in (constants or {}).items()}
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info("x", FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", FLOAT, list(shape))],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=list(functions))
    onnx.save(model, folder / "tiny.onnx")
    return find_data_dependence(folder / "tiny.onnx")


def make(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


@pytest.mark.parametrize(
    "kind", ["NonZero", "Unique", "Compress", "EfficientNMS_TRT", "BatchedNMS"]
)
def test_operators_that_cut(tmp_path: Path, kind: str) -> None:
    found = find(tmp_path, [make("Relu", "x", "a"), make(kind, "a", "b"), make("Cast", "b", "y")])
    assert found == DataDependence(frozenset("y"), is_cut=True)


def test_topk_orders(tmp_path: Path) -> None:
    assert find(tmp_path, [make("TopK", "x k", "y i")], {"k": [2]}).unordered == {"y"}
    assert not find(tmp_path, [make("TopK", "x k", "y i")], {"k": [2]}).is_cut


def test_a_choice_beside_the_output_does_not_count(tmp_path: Path) -> None:
    nodes = [make("NonZero", "x", "indices"), make("Relu", "x", "y")]
    assert find(tmp_path, nodes) == DataDependence()


@pytest.mark.parametrize("source", ["constant", "shape"])
def test_a_choice_among_constants_does_not_count(tmp_path: Path, source: str) -> None:
    """Old exporters write a range of numbers so."""
    first = make("Shape", "x", "a") if source == "shape" else make("Identity", "c", "a")
    nodes = [first, make("NonZero", "a", "b"), make("Gather", "x b", "y")]
    assert find(tmp_path, nodes, {"c": [1]}) == DataDependence()


@pytest.mark.parametrize("as_node", [False, True])
def test_the_score_threshold_of_nms(tmp_path: Path, as_node: bool) -> None:
    threshold = np.array([0.25], np.float32)
    nodes = [make("NonMaxSuppression", "x x n i t", "b"), make("Cast", "b", "y")]
    if as_node:
        value = numpy_helper.from_array(threshold)
        nodes.insert(0, make("Constant", "", "t", value=value))
    constants = {} if as_node else {"t": threshold}
    found = find(tmp_path, nodes, {"n": [5], "i": [0.5], **constants})
    assert found == DataDependence(frozenset("y"), is_cut=True, score_threshold=0.25)


@pytest.mark.parametrize("kind", ["NonZero", "TopK", "choose"])
def test_a_choice_in_an_inner_graph(tmp_path: Path, kind: str) -> None:
    opsets = [helper.make_opsetid("", 17)]
    choose = helper.make_function(
        "local", "choose", ["p"], ["q"], [make("NonZero", "p", "q")], opsets
    )
    inner = [make(kind, "x", "b", domain="local" if kind == "choose" else "")]
    value = helper.make_tensor_value_info("b", TensorProto.INT64, None)
    body = helper.make_graph(inner, "body", [], [value])
    nodes = [make("If", "c", "y", then_branch=body, else_branch=body)]
    assert find(tmp_path, nodes, {"c": np.array(True)}, functions=[choose]).unordered == {"y"}


def test_a_choice_in_a_graph_in_an_inner_graph(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("b", TensorProto.INT64, None)
    innermost = helper.make_graph([make("NonZero", "x", "b")], "innermost", [], [value])
    branches = {"then_branch": innermost, "else_branch": innermost}
    body = helper.make_graph([make("If", "c", "b", **branches)], "body", [], [value])
    nodes = [make("If", "c", "y", then_branch=body, else_branch=body)]
    assert find(tmp_path, nodes, {"c": np.array(True)}).unordered == {"y"}


@pytest.mark.parametrize(("kind", "chooses"), [("NonZero", True), ("TopK", True), ("Relu", False)])
@pytest.mark.parametrize("order", [1, -1])
def test_a_choice_in_a_function_of_a_function(
    tmp_path: Path, kind: str, chooses: bool, order: int
) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    calls = {
        "outer": make("middle", "p", "q", domain="local"),
        "middle": make("inner", "p", "q", domain="local"),
        "inner": make(kind, "p", "q"),
    }
    functions = [
        helper.make_function("local", name, ["p"], ["q"], [node], opsets)
        for name, node in calls.items()
    ]
    found = find(tmp_path, [make("outer", "x", "y", domain="local")], functions=functions[::order])
    assert found == DataDependence(frozenset("y" * chooses), is_cut=chooses)


def test_functions_that_call_each_other_end_the_search(tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    functions = [
        helper.make_function(
            "local", name, ["p"], ["q"], [make(other, "p", "q", domain="local")], opsets
        )
        for name, other in (("f", "g"), ("g", "f"))
    ]
    assert find(tmp_path, [make("f", "x", "y", domain="local")], functions=functions) == (
        DataDependence()
    )


def test_a_choice_in_a_function(tmp_path: Path) -> None:
    body = [make("NonZero", "p", "q")]
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("local", "choose", ["p"], ["q"], body, opsets)
    nodes = [make("choose", "x", "y", domain="local")]
    assert find(tmp_path, nodes, functions=[function]).unordered == {"y"}


@pytest.mark.parametrize(("shape", "is_unknown"), [((1, 4), False), ((1, "n"), True), ((0,), True)])
def test_axes_of_unknown_length(tmp_path: Path, shape: Sequence[Any], is_unknown: bool) -> None:
    found = find(tmp_path, [make("Relu", "x", "y")], shape=shape)
    assert found.unknown == (frozenset("y") if is_unknown else frozenset())


def test_shipped_models_depend_on_nothing() -> None:
    for name in ("nanodet", "efficientnet_lite0"):
        found = find_data_dependence(find_model(name).variants["fp32"].file)
        assert (found.unordered, found.is_cut) == (frozenset(), False)


@pytest.mark.parametrize("content", [None, b"", b"text", b"\x3a\xff\xff\xff\xff\x0f"])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "bad.onnx"
    if content is not None:
        file.write_bytes(content)
    assert find_data_dependence(file) == DataDependence()
