"""The files of an ONNX model, its checksum, and their list in model.yaml."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.weights import onnx_files
from edge_inference.core.weights.onnx_files import (
    check_external_file,
    external_digests,
    external_files,
    onnx_digest,
)
from edge_inference.errors import ConfigError, ModelError
from hostile_files import UNREADABLE_FILES, assert_one_sentence, call_with_deadline
from small_model import write_model

#: The bytes of the weights of every tensor in these tests.
LENGTH = 8


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def tensor(name: str, **entries: str) -> TensorProto:
    """Return two floats in an external file; its name is that of the tensor by default."""
    made = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2])
    made.data_location = TensorProto.EXTERNAL
    for key, value in {"location": name, **entries}.items():
        made.external_data.add(key=key, value=value)
    return made


def sparse(values: str, indices: str) -> onnx.SparseTensorProto:
    where = tensor(indices)
    where.data_type = TensorProto.INT64
    return onnx.SparseTensorProto(values=tensor(values), indices=where, dims=[9])


def constant(name: str) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], value=tensor(name))


def graph(*nodes: onnx.NodeProto, **parts: object) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "g", [], [], **parts)


def branch() -> onnx.NodeProto:
    inner = graph(constant("branch"), initializer=[tensor("inner")])
    return helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=graph())


def with_attribute(kind: str) -> onnx.NodeProto:
    node = onnx.NodeProto(op_type="Custom", domain="mine")
    attribute = node.attribute.add(name="a", type=kind)
    if kind == "TENSORS":
        attribute.tensors.extend([tensor("first"), tensor("second")])
    elif kind == "GRAPHS":
        attribute.graphs.append(graph(initializer=[tensor("inner")]))
    elif kind == "SPARSE_TENSOR":
        attribute.sparse_tensor.CopyFrom(sparse("values", "indices"))
    else:
        attribute.sparse_tensors.append(sparse("values", "indices"))
    return node


def with_function() -> onnx.ModelProto:
    model = helper.make_model(graph())
    function = model.functions.add(name="f", domain="mine")
    function.node.append(constant("inside"))
    default = function.attribute_proto.add(name="d", type="TENSOR")
    default.t.CopyFrom(tensor("default"))
    return model


#: Where a model can have external weights, and the files that it references.
PLACES: dict[str, tuple[Callable[[], onnx.ModelProto | onnx.GraphProto], set[str]]] = {
    "nowhere": (lambda: graph(initializer=[numpy_helper.from_array(np.zeros(2))]), set()),
    "an initializer": (lambda: graph(initializer=[tensor("w")]), {"w"}),
    "many in one file": (
        lambda: graph(
            initializer=[tensor(f"w{number}", location="all.data") for number in range(5)]
        ),
        {"all.data"},
    ),
    "many files": (lambda: graph(initializer=[tensor("a"), tensor("b")]), {"a", "b"}),
    "a sub-folder": (lambda: graph(initializer=[tensor("w", location="d/w")]), {"d/w"}),
    "two spellings": (
        lambda: graph(initializer=[tensor("w", location="./d//w"), tensor("v", location="d/./w")]),
        {"d/w"},
    ),
    "a sparse initializer": (
        lambda: graph(sparse_initializer=[sparse("values", "indices")]),
        {"values", "indices"},
    ),
    "a constant": (lambda: graph(constant("w")), {"w"}),
    "a branch": (lambda: graph(branch()), {"branch", "inner"}),
    "a list of tensors": (lambda: graph(with_attribute("TENSORS")), {"first", "second"}),
    "a list of graphs": (lambda: graph(with_attribute("GRAPHS")), {"inner"}),
    "a sparse tensor": (lambda: graph(with_attribute("SPARSE_TENSOR")), {"values", "indices"}),
    "sparse tensors": (lambda: graph(with_attribute("SPARSE_TENSORS")), {"values", "indices"}),
    "a function": (with_function, {"inside", "default"}),
}


def write(content: onnx.ModelProto | onnx.GraphProto, folder: Path) -> Path:
    if isinstance(content, onnx.GraphProto):
        content = helper.make_model(content)
    file = folder / "net.onnx"
    file.write_bytes(content.SerializeToString())
    return file


@pytest.mark.parametrize("place", PLACES)
def test_every_file_of_weights_is_found(place: str, tmp_path: Path) -> None:
    make, expected = PLACES[place]
    found = external_files(write(make(), tmp_path))
    assert set(found) == expected
    assert list(found) == sorted(found)


@pytest.mark.parametrize("place", PLACES)
def test_the_digest_covers_every_file(place: str, tmp_path: Path) -> None:
    make, names = PLACES[place]
    file = write(make(), tmp_path)
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(64))
    before = onnx_digest(file)
    assert re.fullmatch("[0-9a-f]{64}", before)
    assert (before == sha256(file)) == (not names)
    for name in names:
        (tmp_path / name).write_bytes(bytes(63) + b"\1")
        assert onnx_digest(file) != before
        (tmp_path / name).write_bytes(bytes(64))
    assert onnx_digest(file) == before


def test_the_digest_tells_which_file_has_which_weights(tmp_path: Path) -> None:
    file = write(graph(initializer=[tensor("a"), tensor("b")]), tmp_path)
    found = set()
    for first, second in ((b"x", b"y"), (b"y", b"x"), (b"x", b"x")):
        (tmp_path / "a").write_bytes(first * LENGTH)
        (tmp_path / "b").write_bytes(second * LENGTH)
        found.add(onnx_digest(file))
    assert len(found) == 3


def test_the_digest_is_that_of_the_description(tmp_path: Path) -> None:
    """Keys in the cache come from model.yaml, calibrations from the files."""
    model = external(tmp_path / "m")
    assert model.variants["fp32"].digest == onnx_digest(model.variants["fp32"].file)


@pytest.mark.parametrize(
    ("entries", "size"),
    [
        ({}, LENGTH),
        ({"offset": "100"}, 100 + LENGTH),
        ({"offset": "100", "length": "40"}, 140),
        ({"length": "40"}, 40),
    ],
)
def test_a_file_must_have_the_bytes_of_its_tensors(
    entries: dict[str, str], size: int, tmp_path: Path
) -> None:
    tensors = [tensor("v"), tensor("w", location="v", **entries)]
    assert external_files(write(graph(initializer=tensors[::-1]), tmp_path)) == {"v": size}
    file = write(graph(initializer=tensors), tmp_path)
    assert external_files(file) == {"v": size}
    (tmp_path / "v").write_bytes(bytes(size))
    assert external_digests(file) == {"v": sha256(tmp_path / "v")}
    (tmp_path / "v").write_bytes(bytes(size - 1))
    assert f"expected at least {size} bytes" in refusal(file)


def refusal(file: Path) -> str:
    error = call_with_deadline(lambda: onnx_digest(file))
    assert isinstance(error, ModelError), repr(error)
    assert_one_sentence(str(error), str(file.parent))
    return str(error)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    file = write(graph(initializer=[tensor("w")]), tmp_path)
    assert "w: no such file; it has the weights of net.onnx" in refusal(file)


@pytest.mark.parametrize("kind", UNREADABLE_FILES)
def test_unreadable_weights_are_refused(kind: str, tmp_path: Path) -> None:
    file = write(graph(initializer=[tensor("w")]), tmp_path)
    UNREADABLE_FILES[kind](tmp_path / "w")
    assert str(tmp_path / "w") in refusal(file)


@pytest.mark.parametrize("location", ["", "..", "../w", "/etc/passwd", "a/../../w", "a\\w", "."])
def test_weights_outside_the_folder_are_refused(location: str, tmp_path: Path) -> None:
    file = write(graph(initializer=[tensor("w", location=location)]), tmp_path)
    assert "in the model's folder" in refusal(file)
    with pytest.raises(ModelError, match="in the model's folder"):
        check_external_file(file, location)


@pytest.mark.parametrize("entries", [{"offset": "-1"}, {"length": "much"}, {"offset": "9" * 30}])
def test_invalid_numbers_are_refused(entries: dict[str, str], tmp_path: Path) -> None:
    assert "expected a number of bytes" in refusal(
        write(graph(initializer=[tensor("w", **entries)]), tmp_path)
    )


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(graph(initializer=[tensor(f"w{number}") for number in range(4)]), tmp_path)
    monkeypatch.setattr(onnx_files, "_MAX_FILES", 4)
    assert len(external_files(file)) == 4
    monkeypatch.setattr(onnx_files, "_MAX_FILES", 3)
    assert "at most 3 files" in refusal(file)


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    inner = graph(initializer=[tensor("w")])
    for _ in range(17):
        node = helper.make_node("If", ["c"], ["y"], then_branch=inner)
        inner = graph(node)
    assert "nested at most 16 deep" in refusal(write(inner, tmp_path))


@pytest.mark.parametrize("content", [b"", b"no network", b"\x3a\xff\xff\xff\x7f", b"\0" * 99])
def test_a_file_that_is_not_onnx_has_its_own_checksum(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(content)
    assert onnx_digest(file) == sha256(file)


def test_a_tensor_with_its_values_inside_references_nothing(tmp_path: Path) -> None:
    made = tensor("w")
    made.data_location = TensorProto.DEFAULT
    assert external_files(write(graph(initializer=[made]), tmp_path)) == {}


# model.yaml -----------------------------------------------------------------------------------


def external(folder: Path, names: tuple[str, ...] = ("w1.bin", "w2.bin")) -> ModelDescription:
    """Write a model with external weights, listed in model.yaml."""
    file = write_model(folder) / "small.onnx"
    model = onnx.load(file)
    for entry, name in zip(model.graph.initializer, names, strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(entry.raw_data)
        entry.CopyFrom(
            tensor(entry.name, location=name),
        )
    for entry, dims in zip(model.graph.initializer, ((3, 3, 3, 3), (3, 3, 1, 1)), strict=True):
        entry.dims[:] = dims
    old, _ = sha256(file), file.write_bytes(model.SerializeToString())
    listed = "".join(f"\n      {name}: {sha256(folder / name)}" for name in names)
    text = (folder / "model.yaml").read_text()
    text = text.replace(old, f"{sha256(file)}\n    external_data:{listed}")
    (folder / "model.yaml").write_text(text)
    return load_model(folder)


def test_listed_weights_are_verified(tmp_path: Path) -> None:
    model = external(tmp_path / "m")
    model.verify_files()
    weights = tmp_path / "m" / "w2.bin"
    weights.write_bytes(bytes(36))
    assert f"{weights}: wrong checksum: expected sha256" in fault(model)
    weights.write_bytes(bytes(35))
    assert "w2.bin: expected at least 36 bytes" in fault(model)
    weights.unlink()
    assert "w2.bin: no such file" in fault(model)


def test_weights_in_a_sub_folder_are_listed_by_their_path(tmp_path: Path) -> None:
    external(tmp_path / "m", ("d/w1.bin", "./d/w2.bin")).verify_files()


def fault(model: ModelDescription) -> str:
    with pytest.raises(ModelError) as caught:
        model.verify_files()
    assert_one_sentence(str(caught.value), str(model.folder))
    return str(caught.value)


@pytest.mark.parametrize("listed", [(), ("w1.bin",), ("w2.bin",)])
def test_the_error_for_unlisted_weights_gives_the_lines(
    listed: tuple[str, ...], tmp_path: Path
) -> None:
    model = external(tmp_path / "m")
    variant = model.variants["fp32"]
    known = {name: variant.external_data[name] for name in listed}
    text = fault(replace(model, variants={"fp32": replace(variant, external_data=known)}))
    assert "add to variants.fp32: external_data: " in text
    lines = yaml.safe_load(text[text.index("external_data: ") :])
    assert {**known, **lines["external_data"]} == dict(variant.external_data)
    assert not known.keys() & lines["external_data"].keys()


def test_the_error_for_many_files_is_short_and_names_some(tmp_path: Path) -> None:
    model = external(tmp_path / "m")
    names = [f"weights_{number}.bin" for number in range(50)]
    for name in names:
        (tmp_path / "m" / name).write_bytes(bytes(LENGTH))
    file = write(graph(initializer=[tensor(name) for name in names]), tmp_path / "m")
    variant = replace(model.variants["fp32"], file=file, sha256=sha256(file), external_data={})
    text = fault(replace(model, variants={"fp32": variant}))
    assert "its external weights (50 files)" in text and "and 44 more" in text
    assert len(text) < 1000  # the length of a line that is printed


def test_a_name_that_yaml_reads_as_something_else_is_quoted(tmp_path: Path) -> None:
    names = ("1e5", "a: {b")
    model = external(tmp_path / "m")
    for name in names:
        (tmp_path / "m" / name).write_bytes(bytes(LENGTH))
    file = write(graph(initializer=[tensor(name) for name in names]), tmp_path / "m")
    variant = replace(model.variants["fp32"], file=file, sha256=sha256(file), external_data={})
    text = fault(replace(model, variants={"fp32": variant}))
    assert set(yaml.safe_load(text[text.index("external_data: ") :])["external_data"]) == set(names)


def test_listed_weights_that_are_not_referenced_are_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "old.bin").write_bytes(b"old")
    text = (folder / "model.yaml").read_text()
    line = f"    external_data: {{old.bin: {sha256(folder / 'old.bin')}}}\n\ngolden"
    (folder / "model.yaml").write_text(text.replace("\ngolden", line))
    assert "no weights in 'old.bin'" in fault(load_model(folder))


@pytest.mark.parametrize(
    "value",
    ["[w.bin]", "w.bin", "{w.bin: 12}", "{w.bin: ABC}", "{../w.bin: DIGEST}", "{/w: DIGEST}"],
)
def test_an_invalid_list_is_refused(value: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    text = (folder / "model.yaml").read_text()
    line = f"    external_data: {value.replace('DIGEST', 'a' * 64)}\n\ngolden"
    (folder / "model.yaml").write_text(text.replace("\ngolden", line))
    with pytest.raises(ConfigError) as caught:
        load_model(folder)
    assert_one_sentence(str(caught.value), "external_data")
