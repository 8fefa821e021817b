"""An ONNX file that declares to need too much memory is refused before it is loaded."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_inference.core.models.model_search import find_model
from edge_inference.core.models.onnx_memory import MAX_NODES, check_memory
from edge_inference.core.weights import onnx_reader
from edge_inference.errors import ModelError
from hostile_files import UNREADABLE_FILES, assert_one_sentence, call_with_deadline
from hostile_models import (
    COSTLY_AT_RUN_TIME,
    DECLARED,
    make_network,
    write_hostile_model,
    write_model,
)

OPTION = "some_option"


def refusal_of(file: Path, max_mib: int = 2048) -> str:
    """Return the message of the error that refuses a file."""
    error = call_with_deadline(lambda: check_memory(file, max_mib, OPTION))
    assert isinstance(error, ModelError), repr(error)
    return str(error)


@pytest.mark.parametrize("kind", DECLARED)
def test_a_file_that_declares_too_much_memory_is_refused(tmp_path: Path, kind: str) -> None:
    folder = write_hostile_model(tmp_path / "mine", kind)
    text = refusal_of(folder / "small.onnx")
    assert_one_sentence(text, "small.onnx")
    if kind == "a long chain":
        assert f"at most {MAX_NODES} nodes" in text
    else:
        assert "expected at most 2048" in text and OPTION in text


@pytest.mark.parametrize("kind", COSTLY_AT_RUN_TIME)
def test_memory_computed_at_run_time_is_not_checked(tmp_path: Path, kind: str) -> None:
    check_memory(write_hostile_model(tmp_path / "mine", kind) / "small.onnx", 2048, OPTION)


@pytest.mark.parametrize("name", ["nanodet", "efficientnet_lite0"])
def test_models_that_need_little_pass(name: str) -> None:
    check_memory(find_model(name).variants["fp32"].file, 64, OPTION)


def test_the_limit_is_exact(tmp_path: Path) -> None:
    node = helper.make_node("ConstantOfShape", ["s"], ["logits"])
    for count, passes in ((1 << 18, True), ((1 << 18) + 1, False)):
        folder = tmp_path / str(count)
        folder.mkdir()
        file = write_model(folder, make_network([node], {"s": [count]})) / "small.onnx"
        if passes:  # 4 bytes each are 1 MiB
            check_memory(file, 1, OPTION)
        else:
            assert "ConstantOfShape" in refusal_of(file, 1)


@pytest.mark.parametrize(
    ("dtype", "element_bytes"), [("float64", 8), ("float16", 2), ("uint8", 1), ("bool", 1)]
)
def test_the_element_size_counts(tmp_path: Path, dtype: str, element_bytes: int) -> None:
    value = onnx.numpy_helper.from_array(np.zeros(1, dtype))
    node = helper.make_node("ConstantOfShape", ["s"], ["made"], value=value)
    network = make_network([node], {"s": [(1 << 20) // element_bytes + 1]})
    assert "ConstantOfShape" in refusal_of(write_model(tmp_path, network) / "small.onnx", 1)
    check_memory(tmp_path / "small.onnx", 2, OPTION)


def test_weights_count_together(tmp_path: Path) -> None:
    weights = {f"w{n}": np.zeros(100_000, np.float32) for n in range(6)}
    file = write_model(tmp_path, make_network([], weights)) / "small.onnx"
    check_memory(file, 3, OPTION)
    assert "'w5'" in refusal_of(file, 2)


def test_a_sparse_file_of_weights_is_refused(tmp_path: Path) -> None:
    folder = write_hostile_model(tmp_path / "mine", "external data")
    text = refusal_of(folder / "small.onnx", 8192)
    assert_one_sentence(text, "weights.bin")
    assert "a sparse file" in text and str(4 << 30) in text


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../weights.bin", "a/../../b", "..\\b", "", "a\0b"]
)
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    network = DECLARED["external data"]()
    del network.graph.initializer[0].dims[:]
    network.graph.initializer[0].external_data[0].value = location
    file = tmp_path / "mine.onnx"
    file.write_bytes(network.SerializeToString())
    text = refusal_of(file)
    assert_one_sentence(text, "mine.onnx")
    assert "in the model's folder" in text


@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder", "circle", "dangling"])
def test_weights_that_are_not_a_regular_file_are_refused(tmp_path: Path, kind: str) -> None:
    network = DECLARED["external data"]()
    del network.graph.initializer[0].dims[:]
    file = tmp_path / "mine.onnx"
    file.write_bytes(network.SerializeToString())
    UNREADABLE_FILES[kind](tmp_path / "weights.bin")
    assert_one_sentence(refusal_of(file), "weights.bin")


def test_a_file_of_weights_may_have_small_holes(tmp_path: Path) -> None:
    folder = write_hostile_model(tmp_path / "mine", "external data")
    weights = folder / "weights.bin"
    weights.write_bytes(bytes(3 << 20))
    os.truncate(weights, 4 << 20)
    check_memory(folder / "small.onnx", 8192, OPTION)


def test_deeply_nested_graphs_are_refused(tmp_path: Path) -> None:
    graph = helper.make_graph([], "inner", [], [])
    for _ in range(18):  # protobuf itself allows about thirty
        node = helper.make_node("If", ["yes"], ["y"], then_branch=graph)
        graph = helper.make_graph([node], "outer", [], [])
    file = tmp_path / "deep.onnx"
    file.write_bytes(helper.make_model(graph).SerializeToString())
    assert "nested at most" in refusal_of(file)


@pytest.mark.parametrize("data", [b"", b"\xff" * 100, b"\x3a\x05abc", b"no model", bytes(64)])
def test_a_file_that_is_not_onnx_passes(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "some.onnx"
    file.write_bytes(data)
    assert call_with_deadline(lambda: check_memory(file, 1, OPTION)) is None


def test_every_prefix_of_a_file_can_be_checked(tmp_path: Path) -> None:
    whole = (write_hostile_model(tmp_path / "mine", "in a branch") / "small.onnx").read_bytes()
    file = tmp_path / "part.onnx"
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        error = call_with_deadline(lambda: check_memory(file, 2048, OPTION))
        assert error is None or isinstance(error, ModelError), repr(error)


@pytest.mark.parametrize(("name", "passes"), [("some.ort", True), ("some.onnx", False)])
def test_ort_files_pass(tmp_path: Path, name: str, passes: bool) -> None:
    whole = (write_hostile_model(tmp_path / "mine", "ConstantOfShape") / "small.onnx").read_bytes()
    file = tmp_path / name
    # The start of that format; as protobuf it is the name of the producer.
    file.write_bytes(b"\x12\x06xxORTM" + whole)
    if passes:
        check_memory(file, 2048, OPTION)
    else:
        assert "ConstantOfShape" in refusal_of(file)


def test_a_file_with_too_many_fields_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_reader, "MAX_FIELDS", 1000)
    file = tmp_path / "some.onnx"
    field = bytes([0x08, 0x08])
    file.write_bytes(field * 1000)
    check_memory(file, 1, OPTION)
    file.write_bytes(field * 1001)
    assert "fields" in refusal_of(file)


def test_unusual_numbers_pass(tmp_path: Path) -> None:
    for number, shape in enumerate(([-1, -5], [0, 1 << 62, 1 << 62], [])):
        folder = tmp_path / str(number)
        folder.mkdir()
        node = helper.make_node("ConstantOfShape", ["s"], ["made"])
        network = make_network([node], {"s": np.array(shape, np.int64)})
        check_memory(write_model(folder, network) / "small.onnx", 1, OPTION)
    tensor = TensorProto(name="s", data_type=77, dims=[2])
    folder = tmp_path / "odd"
    folder.mkdir()
    check_memory(write_model(folder, make_network([node], {}, [tensor])) / "small.onnx", 1, OPTION)
