"""The metadata of exporters, and where it contradicts model.yaml."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_inference.core.exports.exporter_metadata import ExporterMetadata, read_exporter_metadata
from edge_inference.core.exports.metadata_check import find_contradictions
from edge_inference.core.exports.onnx_summary import (
    MAX_METADATA,
    MAX_METADATA_BYTES,
    read_metadata,
    read_summary,
)
from edge_inference.core.models.model import load_model
from edge_inference.errors import ModelError

ULTRALYTICS = {
    "description": "Ultralytics YOLOv8n model trained on coco.yaml",
    "author": "Ultralytics",
    "version": "8.3.225",
    "license": "AGPL-3.0 License (https://ultralytics.com/license)",
    "docs": "https://docs.ultralytics.com",
    "stride": "32",
    "task": "detect",
    "batch": "1",
    "imgsz": "[96, 64]",
    "names": "{0: 'cat', 1: \"dog's bone\", 2: 'no'}",
    "args": "{'batch': 1, 'nms': False}",
    "channels": "3",
    "end2end": "False",
}
DESCRIPTION = """\
task: {task}
license: MIT
input: {{name: images, width: {width}, height: {height}, std: [255.0]}}
decoder: {{name: {decoder}}}
labels: {labels}
variants:
  fp32: {{file: m.onnx, sha256: {sha256}}}
"""


def write_onnx(file: Path, metadata: Mapping[str, str]) -> Path:
    """Write a graph of one node with external and inner weights, and with metadata."""
    weights = numpy_helper.from_array(onnx.numpy_helper.np.ones((1, 3, 1, 1), "float32"), "w")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "w"], ["a"]),
            helper.make_node("Sigmoid", ["a"], ["out"]),
        ],
        "g",
        [
            helper.make_tensor_value_info("images", TensorProto.FLOAT16, ["batch", 3, None, 64]),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 3, 1, 1]),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [weights],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
        producer_name="pytorch",
        producer_version="2.4",
    )
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, file)
    return file


def describe(folder: Path, metadata: Mapping[str, str], **values: object) -> Path:
    """Write a model folder; its description fits the metadata of Ultralytics above."""
    file = write_onnx(folder / "m.onnx", metadata)
    defaults = {
        "task": "detection",
        "width": 64,
        "height": 96,
        "decoder": "yolov8",
        "labels": "[cat, dogs bone, 'no']",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    (folder / "model.yaml").write_text(DESCRIPTION.format(**{**defaults, **values}))
    return folder


def test_a_summary(tmp_path: Path) -> None:
    summary = read_summary(write_onnx(tmp_path / "m.onnx", ULTRALYTICS))
    assert summary.ir_version == 8
    assert summary.opsets == {"": 17, "com.microsoft": 1}
    assert summary.producer == "pytorch 2.4"
    assert summary.metadata == ULTRALYTICS
    (image,) = summary.inputs  # an initializer is no input
    assert (image.name, image.dtype, image.shape) == ("images", "float16", ("batch", 3, None, 64))
    assert str(image) == "images float16 [batch, 3, any, 64]"
    (out,) = summary.outputs
    assert (out.name, out.dtype, out.shape) == ("out", "float32", None)
    assert summary.output_operators == {"out": "Sigmoid"}
    assert summary.operators == {"Conv", "Sigmoid"}


def test_metadata_without_the_graph(tmp_path: Path) -> None:
    assert read_metadata(write_onnx(tmp_path / "m.onnx", ULTRALYTICS)) == ULTRALYTICS


@pytest.mark.parametrize("data", [b"", b"hello hello", b"\x0a\xff\xff\xff\xff\x0f", b"\x08\x08"])
def test_no_summary_of_what_is_not_onnx(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=r"m\.onnx: not a valid ONNX file"):
        read_summary(tmp_path / "m.onnx")


def test_huge_metadata_is_left_out(tmp_path: Path) -> None:
    metadata = {"names": "x" * (MAX_METADATA_BYTES + 1), "task": "detect"}
    assert read_metadata(write_onnx(tmp_path / "a.onnx", metadata)) == {"task": "detect"}
    many = {f"key {number}": "" for number in range(MAX_METADATA + 9)}
    assert len(read_metadata(write_onnx(tmp_path / "b.onnx", many))) == MAX_METADATA


def test_the_metadata_of_ultralytics() -> None:
    assert read_exporter_metadata(ULTRALYTICS) == ExporterMetadata(
        author="Ultralytics",
        description="Ultralytics YOLOv8n model trained on coco.yaml",
        license="AGPL-3.0 License (https://ultralytics.com/license)",
        source="https://docs.ultralytics.com",
        version="8.3.225",
        task="detect",
        labels=("cat", "dog's bone", "no"),
        size=(64, 96),
        stride=32,
        channels=3,
        end2end=False,
        nms=False,
    )


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("names", "[" * 100_000),
        ("names", "-" * 100_000 + "1"),
        ("names", "{0: __import__('os').system('false')}"),
        ("names", "{0: 'a', 5_000_000: 'b'}"),
        ("names", "{7: 'a'}"),
        ("names", "\ud800"),
        ("imgsz", "[640]"),
        ("imgsz", "[640, -1]"),
        ("imgsz", "['640', 640]"),
        ("imgsz", "1e400"),
        ("stride", "0"),
        ("stride", "True"),
        ("end2end", "1"),
        ("args", "[]"),
        ("names", "{[1]: 'a'}"),
        ("names", "{[1]}"),
        ("args", "{{}: True}"),
        ("imgsz", "-" * 100_000 + "640"),
        ("names", '{"names": ' * 300 + '["a"]' + "}" * 300),
    ],
)
def test_hostile_metadata_says_nothing(key: str, text: str) -> None:
    assert read_exporter_metadata({key: text}) == ExporterMetadata()


def test_an_unknown_escape_is_text_without_a_warning() -> None:
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        found = read_exporter_metadata({"names": r"{0: 'a\d', 1: '\777'}", "args": "1is 2"})
    assert found.labels == (r"a\d", "\u01ff")
    assert not raised


def test_a_model_that_agrees_with_its_metadata(tmp_path: Path) -> None:
    assert find_contradictions(load_model(describe(tmp_path, ULTRALYTICS))) == ()


@pytest.mark.parametrize("metadata", [{}, {"author": "me"}, {"other": "[1]"}])
def test_metadata_that_says_nothing(tmp_path: Path, metadata: dict[str, str]) -> None:
    assert find_contradictions(load_model(describe(tmp_path, metadata))) is None


@pytest.mark.parametrize(
    ("metadata", "values", "words"),
    [
        ({}, {"labels": "[cat, dog]"}, ["names 3 classes", "has 2 labels"]),
        ({}, {"labels": "[cat, bone, dog]"}, ['class 1 "dog\'s bone"', "calls it 'bone'"]),
        ({}, {"width": 96, "height": 64}, ["64 wide and 96 high", "says 96 and 64"]),
        ({"imgsz": "[100, 64]"}, {"height": 100}, ["stride is 32", "64 x 100"]),
        ({"task": "segment"}, {}, ["task is 'segment'", "says detection"]),
        ({"task": "classify"}, {}, ["task is 'classify'", "says detection"]),
        (
            {"end2end": "True"},
            {"decoder": "yolov8, layout: channels_first"},
            ["is end to end", "layout channels_first"],
        ),
        (
            {},
            {"decoder": "yolov8, layout: end_to_end"},
            ["is not end to end", "layout end_to_end"],
        ),
    ],
)
def test_a_contradiction(
    tmp_path: Path, metadata: dict[str, str], values: dict[str, object], words: list[str]
) -> None:
    folder = describe(tmp_path, {**ULTRALYTICS, **metadata}, **values)
    (text,) = find_contradictions(load_model(folder)) or ()
    assert text.startswith("the metadata of m.onnx ")
    for word in words:
        assert word in text
