"""Files that people put where an ONNX model is expected, as their tools write them.

The formats' own files are large, so each is written by hand with the bytes that its tools write
first, or by Python's own module of the format.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def make_network(
    *nodes: onnx.NodeProto,
    constants: dict[str, np.ndarray] | None = None,
    x: tuple[int, list[int | str]] = (FLOAT, [1, 3, 8, 8]),
    y: tuple[int, list[int | str]] = (FLOAT, [1, 3, 8, 8]),
    opsets: dict[str, int] | None = None,
    ir_version: int = 8,
) -> onnx.ModelProto:
    """Return a network from ``x`` to ``y``, with opset 17 unless ``opsets`` has another."""
    graph = helper.make_graph(
        list(nodes),
        "network",
        [helper.make_tensor_value_info("x", *x)],
        [helper.make_tensor_value_info("y", *y)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    versions = {"": 17, **(opsets or {})}
    imports = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)


def good_network() -> bytes:
    """Return the bytes of a network with 56 000 weights, which ONNX Runtime runs."""
    weights = np.random.default_rng(0).random((8, 7000)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "mm")
    model = make_network(node, constants={"w": weights}, y=(FLOAT, [1, 3, 8, 7000]))
    data: bytes = model.SerializeToString()
    return data


def write_split_network(file: Path) -> Path:
    """Write a network with its weights in ``network.data``; return that file."""
    model = onnx.load_from_string(good_network())
    onnx.save(model, file, save_as_external_data=True, location="network.data", size_threshold=0)
    return file.parent / "network.data"


def wire(number: int, content: int | bytes) -> bytes:
    """Return a field of a protobuf message: a number, or bytes."""
    key = number << 3 | (0 if isinstance(content, int) else 2)
    if isinstance(content, int):
        return varint(key) + varint(content)
    return varint(key) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """Return a number as protobuf writes it."""
    data = b""
    while value > 0x7F:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def _zip(*members: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member in members:
            archive.writestr(member, b"content")
    return stream.getvalue()


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.onnx"))
    return stream.getvalue()


def _safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


def _ultralytics_engine() -> bytes:
    metadata = json.dumps({"description": "a detector", "names": {"0": "person"}}).encode()
    return struct.pack("<I", len(metadata)) + metadata + b"ftrt" + bytes(64)


#: A Git LFS pointer, as a clone without Git LFS has it.
LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    b"size 12345\n"
)
_PAGE = b'<!DOCTYPE html>\n<html lang="en"><head><title>Not found</title></head></html>'
#: PyTorch before 1.6: a number that marks its files, as a pickle.
_OLD_CHECKPOINT = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)

#: The content of a file by what it is.
CONTENTS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "Git LFS pointer": lambda: LFS_POINTER,
    "web page": lambda: _PAGE,
    "web page after a comment": lambda: b"<!-- saved -->\n<html></html>",
    "answer of a server": lambda: b'{"message": "Not Found"}',
    "text": lambda: b"one\ntwo\n",
    "ONNX as text": lambda: b"ir_version: 8\ngraph {\n}\n",
    "zero bytes": lambda: bytes(5000),
    "gzip": lambda: gzip.compress(good_network()),
    "bzip2": lambda: bz2.compress(good_network()),
    "xz": lambda: lzma.compress(good_network()),
    "zip": lambda: _zip("model.onnx"),
    "tar": _tar,
    "PyTorch": lambda: _zip("archive/data.pkl", "archive/version", "archive/data/0"),
    "old PyTorch": lambda: _OLD_CHECKPOINT + bytes(100),
    "pickle": lambda: pickle.dumps({"state_dict": 1}),
    "TorchScript": lambda: _zip("m/data.pkl", "m/code/__torch__/m.py", "m/constants.pkl"),
    "safetensors": _safetensors,
    "TensorFlow Lite": lambda: struct.pack("<I", 28) + b"TFL3" + bytes(200),
    "TensorFlow SavedModel": lambda: wire(1, 1) + wire(2, wire(1, wire(4, b"serve"))),
    "TensorFlow graph": lambda: wire(1, wire(1, b"input") + wire(2, b"Placeholder")),
    "Keras": lambda: b"\x89HDF\r\n\x1a\n" + bytes(100),
    "OpenVINO": lambda: b'<?xml version="1.0"?>\n<net name="model" version="11"></net>',
    "Core ML": lambda: wire(1, 7) + wire(2, wire(1, b"image")) + wire(500, bytes(100)),
    "Caffe": lambda: wire(1, b"LeNet") + wire(100, wire(1, b"conv") + wire(2, b"Convolution")),
    "PaddlePaddle": lambda: wire(1, wire(1, 0) + wire(3, wire(1, b"feed"))) + wire(4, wire(1, 0)),
    "ncnn": lambda: b"7767517\n75 83\nInput data 0 1 data\n",
    "RKNN": lambda: b"RKNN" + bytes(100),
    "GGUF": lambda: b"GGUF\3\0\0\0" + bytes(100),
    "TensorRT engine": lambda: b"ftrt" + bytes(100),
    "TensorRT engine of Ultralytics": _ultralytics_engine,
    "ORT format": lambda: b"\x20\0\0\0ORTM" + bytes(100),
    "NumPy": lambda: b"\x93NUMPY\1\0" + bytes(100),
    "other": lambda: bytes((i * i * 7 + 3 * i) % 251 for i in range(5000)),
    "cut off": lambda: good_network()[:100_000],
    "cut off at the head": lambda: good_network()[:2],
    "not finished": lambda: good_network()[:100_000] + bytes(len(good_network()) - 100_000),
    "damaged": lambda: good_network()[:2] + b"\xff" * 20 + good_network()[22:],
}


def _folder(file: Path) -> None:
    file.mkdir()


def _saved_model(file: Path) -> None:
    file.mkdir()
    (file / "saved_model.pb").write_bytes(b"")


def _folder_of_model(file: Path) -> None:
    file.mkdir()
    (file / "it.onnx").write_bytes(good_network())


def _missing_weights(file: Path) -> None:
    write_split_network(file).unlink()


def _short_weights(file: Path) -> None:
    os.truncate(write_split_network(file), 1000)


def _pointer_to_weights(file: Path) -> None:
    write_split_network(file).write_bytes(LFS_POINTER)


#: What else may be at a path: functions that put it there.
PLACES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda file: None,
    "link to nothing": lambda file: file.symlink_to("../blobs/4d7a2146"),
    "folder": _folder,
    "folder with the model": _folder_of_model,
    "folder of a SavedModel": _saved_model,
    "pipe": lambda file: os.mkfifo(file),
    "weights missing": _missing_weights,
    "weights cut off": _short_weights,
    "weights as a pointer": _pointer_to_weights,
}


def write_wrong_file(file: Path, kind: str) -> None:
    """Put a kind of :data:`CONTENTS` or :data:`PLACES` at a path."""
    if kind in CONTENTS:
        file.write_bytes(CONTENTS[kind]())
    else:
        PLACES[kind](file)
