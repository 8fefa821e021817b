"""The memory check covers every encoding of an ONNX file and the scope of its names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_inference.core.models import onnx_memory
from edge_inference.core.models.onnx_memory import MAX_NODES, check_memory
from edge_inference.errors import ModelError
from hostile_files import assert_one_sentence, call_with_deadline
from hostile_models import (
    HUGE,
    UNUSUAL,
    make_call_node,
    make_network,
    make_network_with_functions,
    write_hostile_model,
    write_model,
)

OPTION = "some_option"
MOST_INT64 = (1 << 63) - 1
#: A field that ONNX does not know: a group with another group in it.
GROUP = b"\xa3\x06\xab\x06\x08\x01\x15abcd\x12\x01x\xac\x06\xa4\x06"


def refusal_of(file: Path, max_mib: int = 2048) -> str:
    """Return the message of the error that refuses a file."""
    error = call_with_deadline(lambda: check_memory(file, max_mib, OPTION))
    assert isinstance(error, ModelError), repr(error)
    assert_one_sentence(str(error), file.name)
    return str(error)


def write_network(folder: Path, model: onnx.ModelProto) -> Path:
    """Write a network and return its file."""
    return write_model(folder, model) / "small.onnx"


@pytest.mark.parametrize("kind", UNUSUAL)
def test_too_much_memory_is_refused_in_every_encoding(tmp_path: Path, kind: str) -> None:
    text = refusal_of(write_hostile_model(tmp_path / "mine", kind) / "small.onnx")
    if kind == "functions that call each other":
        assert f"at most {MAX_NODES} nodes" in text
    else:
        assert "expected at most 2048" in text and OPTION in text


def huge() -> onnx.ModelProto:
    """Return a network with one node whose output is too large."""
    return make_network([helper.make_node("ConstantOfShape", ["s"], ["made"])], {"s": HUGE})


def test_fields_of_unknown_wire_types_are_skipped(tmp_path: Path) -> None:
    file = write_network(tmp_path, huge())
    whole = file.read_bytes()
    for data in (GROUP + whole, whole + GROUP):
        file.write_bytes(data)
        assert "ConstantOfShape" in refusal_of(file)


def test_a_graph_in_two_parts_is_merged(tmp_path: Path) -> None:
    """protobuf merges a message that occurs twice."""
    first, second = huge(), huge()
    del first.graph.node[:]
    del second.graph.initializer[:]
    file = tmp_path / "small.onnx"
    file.write_bytes(first.SerializeToString() + second.SerializeToString())
    assert "ConstantOfShape" in refusal_of(file)


def test_a_name_without_an_end_is_refused(tmp_path: Path) -> None:
    model = huge()
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1]), "n" * 70_000))
    assert "names of at most" in refusal_of(write_network(tmp_path, model))


def test_a_shape_with_too_many_axes_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("ConstantOfShape", ["s"], ["made"])
    assert "axes" in refusal_of(write_network(tmp_path, make_network([node], {"s": [1] * 70})))


def test_a_truncated_graph_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "some.onnx"
    file.write_bytes(b"\x3a\x02\x0a\x7f")  # a node longer than the graph
    assert "expected an ONNX model, got a damaged one" in refusal_of(file)


@pytest.mark.parametrize("kind", ["Range", "Resize", "OneHot", "Expand", "Tile", "Pad", "Constant"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_nodes_may_lack_their_inputs(tmp_path: Path, kind: str, count: int) -> None:
    node = helper.make_node(kind, ["one"] * count, ["made"])
    check_memory(write_network(tmp_path, make_network([node], {"one": 1})), 1, OPTION)


def test_every_exception_becomes_a_model_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise IndexError("list index out of range")

    file = write_network(tmp_path, huge())
    monkeypatch.setattr(onnx_memory, "infer_output", fail)
    assert "its memory need is unknown" in refusal_of(file)


def slice_to_the_end(result: str) -> Iterator[onnx.NodeProto]:
    """Yield a slice whose constants have names that other nodes use for a shape."""
    for name, number in {"from": 0, "k": MOST_INT64, "axis": 1}.items():
        value = numpy_helper.from_array(np.int64([number]))
        yield helper.make_node("Constant", [], [name], value=value)
    yield helper.make_node("Slice", ["means", "from", "k", "axis"], [result])


def zeros_like(name: str, shape: str, result: str) -> list[onnx.NodeProto]:
    """Return nodes that make zeros of a tensor's shape, with a name for the shape."""
    return [
        helper.make_node("Shape", [name], [shape]),
        helper.make_node("ConstantOfShape", [shape], ["zeros"]),
        helper.make_node("Add", [name, "zeros"], [result]),
    ]


@pytest.mark.parametrize("is_first", [True, False])
def test_branches_do_not_see_names_of_each_other(tmp_path: Path, is_first: bool) -> None:
    def branch(name: str, nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph(nodes, name, [], [out])

    one, other = branch("a", [*slice_to_the_end("a")]), branch("b", zeros_like("means", "k", "b"))
    branches = (one, other) if is_first else (other, one)
    node = helper.make_node(
        "If", ["yes"], ["logits"], then_branch=branches[0], else_branch=branches[1]
    )
    check_memory(write_network(tmp_path, make_network([node], {"yes": True})), 1, OPTION)


def test_a_branch_has_its_own_names(tmp_path: Path) -> None:
    """A branch computes a name that is a constant outside; its constant is not known outside."""

    def file(nodes: list[onnx.NodeProto], number: int) -> Path:
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "branch", [], [out])
        node = helper.make_node("If", ["yes"], ["made"], then_branch=graph, else_branch=graph)
        folder = tmp_path / str(number)
        folder.mkdir()
        return write_network(folder, make_network([node, *after], {"yes": True, "k": [MOST_INT64]}))

    after: list[onnx.NodeProto] = []
    check_memory(file(zeros_like("means", "k", "y"), 0), 1, OPTION)
    # It sees the outer names.
    assert "ConstantOfShape" in refusal_of(
        file([helper.make_node("ConstantOfShape", ["k"], ["y"])], 1)
    )
    value = numpy_helper.from_array(np.int64(HUGE))
    after = [helper.make_node("ConstantOfShape", ["inner"], ["zeros"])]
    check_memory(file([helper.make_node("Constant", [], ["inner"], value=value)], 2), 1, OPTION)


def test_a_function_sees_only_its_own_names(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["k"], ["zeros"]),
        helper.make_node("Add", ["x", "zeros"], ["y"]),
    ]
    model = make_network_with_functions({"f": nodes}, "f")
    model.graph.initializer.append(numpy_helper.from_array(np.int64([MOST_INT64]), "k"))
    check_memory(write_network(tmp_path, model), 1, OPTION)


def test_an_input_of_an_inner_graph_hides_an_outer_constant(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["k"], ["y"])],
        "body",
        [onnx.ValueInfoProto(name="k")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    node = helper.make_node("SequenceMap", ["many"], ["made"], body=body)
    check_memory(write_network(tmp_path, make_network([node], {"k": [MOST_INT64]})), 1, OPTION)


def test_a_function_counts_as_often_as_it_is_called(tmp_path: Path) -> None:
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    for count, passes in ((MAX_NODES // 100 - 1, True), (MAX_NODES // 100 + 1, False)):
        names = ["x", *(f"t{n}" for n in range(98)), "y"]
        inner = [helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]
        names = ["x", *(f"t{n}" for n in range(count - 1)), "y"]
        outer = [make_call_node("inner", a, b) for a, b in itertools.pairwise(names)]
        folder = tmp_path / str(count)
        folder.mkdir()
        file = write_network(
            folder,
            make_network_with_functions({"inner": inner, "outer": outer, "unused": relu}, "outer"),
        )
        if passes:
            check_memory(file, 1, OPTION)
        else:
            assert "nodes" in refusal_of(file)


def test_a_function_that_calls_itself_is_refused(tmp_path: Path) -> None:
    bodies = {"f": [make_call_node("g", "x", "y")], "g": [make_call_node("f", "x", "y")]}
    assert "function calls at most" in refusal_of(
        write_network(tmp_path, make_network_with_functions(bodies, "f"))
    )
    assert "function calls at most" in refusal_of(
        write_network(tmp_path, make_network_with_functions(bodies, "Relu"))
    )


def test_a_node_with_many_inputs_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = helper.make_node("Sum", ["means", *["a"] * 100_000], ["logits"])
    file = write_network(tmp_path, make_network([node], {"a": np.zeros((1, 3), np.float32)}))
    monkeypatch.setattr("edge_inference.core.weights.onnx_reader.MAX_FIELDS", 110_000)
    check_memory(file, 1, OPTION)


def test_a_file_that_has_passed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_network(tmp_path, make_network([], {"w": np.zeros(1 << 18, np.float32)}))
    check_memory(file, 2, OPTION)
    monkeypatch.setattr("edge_inference.core.weights.onnx_reader.MAX_FIELDS", 0)
    check_memory(file, 2, OPTION)
    check_memory(file, 3, OPTION)
    assert "fields" in refusal_of(file, 1)
    monkeypatch.undo()
    write_network(tmp_path, huge())
    assert "ConstantOfShape" in refusal_of(file)


def test_external_weights_are_checked_each_time(tmp_path: Path) -> None:
    folder = write_hostile_model(tmp_path / "mine", "external data")
    weights = folder / "weights.bin"
    weights.write_bytes(bytes(1 << 10))
    check_memory(folder / "small.onnx", 8192, OPTION)
    weights.unlink()
    weights.mkdir()
    assert "weights.bin" in str(
        call_with_deadline(lambda: check_memory(folder / "small.onnx", 8192))
    )


def test_missing_external_weights_are_named(tmp_path: Path) -> None:
    folder = write_hostile_model(tmp_path / "mine", "external data")
    (folder / "weights.bin").unlink()
    text = str(call_with_deadline(lambda: check_memory(folder / "small.onnx", 8192)))
    assert_one_sentence(text, "weights.bin")
    assert "copy it, too" in text
