"""A file that is no ONNX model is named by what it is, by everything that reads models."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import onnxruntime
import pytest

from edge_inference.backends.ort import OrtBackend
from edge_inference.backends.trt.vendor import import_tensorrt
from edge_inference.core.models.variants import Variant
from edge_inference.core.onnx_format import file_kinds
from edge_inference.core.onnx_format.onnx_problems import (
    find_access_problem,
    find_file_problem,
)
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.builder import BuiltEngine, build_engine
from edge_inference.engines.precision.folding import fold
from edge_inference.errors import BackendError, EdgeInferenceError
from wrong_files import (
    CONTENTS,
    PLACES,
    good_network,
    varint,
    wire,
    write_split_network,
    write_wrong_file,
)

#: The sentence after the name of the file, for each kind of file.
SENTENCES = {
    "empty": "expected an ONNX model, got an empty file; copy or download it again",
    "Git LFS pointer": (
        "expected an ONNX model, got a Git LFS pointer of a file of 12345 bytes; run "
        "git lfs pull in its repository, or download the file itself"
    ),
    "web page": (
        "expected an ONNX model, got a web page (HTML); the download saved a page "
        "instead of the file: download the file itself, for example by its raw or "
        "resolve link"
    ),
    "web page after a comment": (
        "expected an ONNX model, got a web page (HTML); the download saved a page "
        "instead of the file: download the file itself, for example by its raw or "
        "resolve link"
    ),
    "answer of a server": (
        'expected an ONNX model, got JSON text, \'{"message": "Not Found"}\'; the '
        "download saved an answer of the server instead of the file: download it again"
    ),
    "text": "expected an ONNX model, got text, 'one two'; name the ONNX file, or download it again",
    "ONNX as text": (
        "expected an ONNX model, got an ONNX model written as text; write it as binary "
        "with the package onnx: onnx.save(onnx.load(…, format='textproto'), …)"
    ),
    "zero bytes": (
        "expected an ONNX model, got a file of zero bytes only; its transfer was not "
        "finished: copy or download it again"
    ),
    "gzip": "expected an ONNX model, got a gzip archive; unpack it with gunzip, or with tar xzf",
    "bzip2": "expected an ONNX model, got a bzip2 archive; unpack it with bunzip2, or with tar xjf",
    "xz": "expected an ONNX model, got an xz archive; unpack it with unxz, or with tar xJf",
    "zip": "expected an ONNX model, got a zip archive; unpack it with unzip",
    "tar": "expected an ONNX model, got a tar archive; unpack it with tar xf",
    "PyTorch": (
        "expected an ONNX model, got a PyTorch checkpoint; export the network with "
        "torch.onnx.export"
    ),
    "old PyTorch": (
        "expected an ONNX model, got a PyTorch checkpoint; export the network with "
        "torch.onnx.export"
    ),
    "pickle": (
        "expected an ONNX model, got a Python pickle, such as a PyTorch checkpoint; "
        "export the network with torch.onnx.export"
    ),
    "TorchScript": (
        "expected an ONNX model, got a TorchScript archive; PyTorch cannot convert it "
        "reliably: export the network from its source with torch.onnx.export"
    ),
    "safetensors": (
        "expected an ONNX model, got a safetensors file; it has weights only: load "
        "them into the network and export that, for example with torch.onnx.export"
    ),
    "TensorFlow Lite": (
        "expected an ONNX model, got a TensorFlow Lite model; convert it with python "
        "-m tf2onnx.convert --tflite"
    ),
    "TensorFlow SavedModel": (
        "expected an ONNX model, got a TensorFlow SavedModel (.pb); convert its folder "
        "with python -m tf2onnx.convert --saved-model"
    ),
    "TensorFlow graph": (
        "expected an ONNX model, got a TensorFlow graph (.pb); convert it with python "
        "-m tf2onnx.convert --graphdef"
    ),
    "Keras": "expected an ONNX model, got an HDF5 file (Keras); convert it with tf2onnx",
    "OpenVINO": (
        "expected an ONNX model, got an OpenVINO model (.xml); OpenVINO cannot convert "
        "it back: export the network to ONNX from its source"
    ),
    "Core ML": (
        "expected an ONNX model, got a Core ML model (.mlmodel); export the network to "
        "ONNX from its source"
    ),
    "Caffe": (
        "expected an ONNX model, got a Caffe model (.caffemodel); export the network "
        "to ONNX from its source"
    ),
    "PaddlePaddle": (
        "expected an ONNX model, got a PaddlePaddle program (.pdmodel); convert it with paddle2onnx"
    ),
    "ncnn": (
        "expected an ONNX model, got an ncnn network (.param); export the network to "
        "ONNX from its source"
    ),
    "RKNN": (
        "expected an ONNX model, got an RKNN model (Rockchip); give the ONNX file it "
        "was converted from"
    ),
    "GGUF": (
        "expected an ONNX model, got a GGUF file (llama.cpp); choose a model that is "
        "published as ONNX"
    ),
    "TensorRT engine": (
        "expected an ONNX model, got a TensorRT engine; give the ONNX file that it was "
        "built from: edge-inference engine build builds the engine for this machine"
    ),
    "TensorRT engine of Ultralytics": (
        "expected an ONNX model, got a TensorRT engine; give the ONNX file that it was "
        "built from: edge-inference engine build builds the engine for this machine"
    ),
    "ORT format": (
        "expected an ONNX model, got a model in ONNX Runtime's own format; give the "
        "ONNX file it was made from"
    ),
    "NumPy": "expected an ONNX model, got a NumPy array; name the ONNX file",
    "other": (
        "expected an ONNX model, got a file of another format, or a damaged one; name "
        "the ONNX file, or download it again"
    ),
    "cut off": (
        "expected an ONNX model of at least 224115 bytes, got the first 100000: it was "
        "cut off; copy or download it again"
    ),
    "cut off at the head": (
        "expected an ONNX model, got one without a graph, as if it was cut off; copy "
        "or download it again"
    ),
    "not finished": (
        "expected an ONNX model, got one that ends in zero bytes: its transfer was not "
        "finished; copy or download it again"
    ),
    "damaged": (
        "expected an ONNX model, got a damaged one (a varint without an end); copy or "
        "download it again"
    ),
    "nothing": "no such file; put the model's ONNX file there",
    "link to nothing": (
        "expected an ONNX model, got a link to a file that does not exist, "
        "'../blobs/4d7a2146'; copy the file itself"
    ),
    "folder": "expected an ONNX file, got a folder; name the ONNX file",
    "folder with the model": "expected an ONNX file, got a folder; name the file in it, 'it.onnx'",
    "folder of a SavedModel": (
        "expected an ONNX file, got the folder of a TensorFlow SavedModel; convert it "
        "with python -m tf2onnx.convert --saved-model"
    ),
    "pipe": "cannot be read: expected a file, got a pipe; name the ONNX file",
    "weights missing": "network.data: no such file; it has the weights of some.onnx, copy it, too",
    "weights cut off": (
        "network.data: expected at least 224000 bytes for the weights of some.onnx, "
        "got 1000: it was cut off, or belongs to another export; copy or download it "
        "again"
    ),
    "weights as a pointer": (
        "network.data: expected the weights of some.onnx, got a Git LFS pointer of a "
        "file of 12345 bytes; run git lfs pull in its repository, or download the file "
        "itself"
    ),
}
#: Kinds whose sentence is about the file with the weights.
SPLIT = ("weights missing", "weights cut off", "weights as a pointer")


def sentence_of(file: Path, kind: str) -> str:
    """Return the whole sentence for a kind of file."""
    return (
        f"{file.parent if kind in SPLIT else file}{'/' if kind in SPLIT else ': '}"
        + (SENTENCES[kind])
    )


def build(file: Path) -> BuiltEngine:
    """Build an engine, where a TensorRT that builds without a GPU is installed."""
    try:
        vendor = import_tensorrt()
    except BackendError as error:
        pytest.skip(str(error))
    if vendor.library != "tensorrt_rtx":
        pytest.skip(f"{vendor.title} is installed; it is TensorRT-RTX that builds without a GPU")
    return build_engine(file, BuildOptions(), vendor=vendor)


READERS: dict[str, Callable[[Path], object]] = {
    "ONNX Runtime": lambda file: OrtBackend(file).open(),
    "derivation": fold,
    "TensorRT": build,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.onnx"


def test_each_kind_has_a_sentence() -> None:
    assert set(SENTENCES) == {*CONTENTS, *PLACES}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", SENTENCES)
def test_every_reader_says_what_the_file_is(file: Path, kind: str, reader: str) -> None:
    write_wrong_file(file, kind)
    with pytest.raises(EdgeInferenceError) as caught:
        READERS[reader](file)
    assert str(caught.value) == sentence_of(file, kind)


@pytest.mark.parametrize("kind", [kind for kind in CONTENTS if kind != "ORT format"])
def test_a_wrong_checksum_has_the_cause_first(file: Path, kind: str) -> None:
    write_wrong_file(file, kind)
    expected, got = "0" * 64, hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(EdgeInferenceError) as caught:
        Variant("fp32", file, expected).verify()
    checksums = f" (wrong checksum: expected sha256 {expected}, got {got})"
    assert str(caught.value) == sentence_of(file, kind) + checksums


def test_another_version_of_a_model_has_a_wrong_checksum(file: Path) -> None:
    file.write_bytes(good_network())
    with pytest.raises(
        EdgeInferenceError, match=r"some\.onnx: wrong checksum: expected .*intended"
    ):
        Variant("fp32", file, "0" * 64).verify()


@pytest.mark.parametrize("kind", ["nothing", "link to nothing", "folder", "pipe"])
def test_weights_that_cannot_be_read_may_be_removed_from_the_model(file: Path, kind: str) -> None:
    write_wrong_file(file, kind)
    with pytest.raises(EdgeInferenceError) as caught:
        Variant("fp16", file, "0" * 64).verify()
    assert str(caught.value) == (
        f"{file}: {SENTENCES[kind]}, or remove variants.fp16 from model.yaml"
    )


@pytest.fixture
def without_rights() -> Iterator[None]:
    """Run as a user without rights on files of others, where this user is root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_of_another_user(file: Path, what: str, request: pytest.FixtureRequest) -> None:
    file.write_bytes(good_network())
    closed = file if what == "file" else file.parent
    closed.chmod(0)
    request.addfinalizer(lambda: closed.chmod(0o700))
    request.getfixturevalue("without_rights")
    with pytest.raises(EdgeInferenceError) as caught:
        OrtBackend(file).open()
    assert str(caught.value) == (
        f"{file}: cannot be read (Permission denied); allow this user to read it and to enter its "
        "folder"
    )


@pytest.fixture(scope="module")
def ort_model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a model in ONNX Runtime's own format."""
    folder = tmp_path_factory.mktemp("ort")
    (folder / "some.onnx").write_bytes(good_network())
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "some.ort")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(
        str(folder / "some.onnx"), options, providers=["CPUExecutionProvider"]
    )
    return (folder / "some.ort").read_bytes()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "cut off",
            "expected a complete model in ONNX Runtime's own format, got a damaged one, or one "
            "that was cut off; copy or download it again",
        ),
        (
            "Git LFS pointer",
            "expected a model in ONNX Runtime's own format, as its suffix says, got a Git LFS "
            "pointer of a file of 12345 bytes; run git lfs pull in its repository, or download the "
            "file itself",
        ),
        (
            "ONNX",
            "expected a model in ONNX Runtime's own format, as its suffix says, got another one; "
            "name it .onnx if it is an ONNX model",
        ),
    ],
)
def test_a_file_of_onnx_runtimes_own_format(
    tmp_path: Path, ort_model: bytes, content: str, sentence: str
) -> None:
    contents = {
        "cut off": ort_model[:1000],
        "Git LFS pointer": CONTENTS["Git LFS pointer"](),
        "ONNX": good_network(),
    }
    file = tmp_path / "some.ort"
    file.write_bytes(ort_model)
    OrtBackend(file).open().close()
    file.write_bytes(contents[content])
    with pytest.raises(BackendError) as caught:
        OrtBackend(file).open()
    assert str(caught.value) == f"{file}: {sentence}"


def test_only_onnx_runtime_reads_its_own_format(tmp_path: Path, ort_model: bytes) -> None:
    file = tmp_path / "some.ort"
    file.write_bytes(ort_model)
    assert find_file_problem(file, takes_ort=True) is None
    assert find_file_problem(file) == f"{file}: {SENTENCES['ORT format']}"


def test_a_plan_of_this_machine(tmp_path: Path, file: Path) -> None:
    (tmp_path / "whole.onnx").write_bytes(good_network())
    file.write_bytes(build(tmp_path / "whole.onnx").plan)
    assert find_file_problem(file) == f"{file}: {SENTENCES['TensorRT engine']}"


def test_a_good_file_has_no_problem(file: Path) -> None:
    file.write_bytes(good_network())
    assert find_file_problem(file) is None
    assert find_access_problem(file) is None
    write_split_network(file)
    assert find_file_problem(file) is None


def test_raw_weights_may_begin_like_any_format(file: Path) -> None:
    """An archive's first bytes are also numbers; too short weights are then still too short."""
    weights = write_split_network(file)
    weights.write_bytes(b"\x1f\x8b" + bytes(998))
    assert find_file_problem(file) == f"{weights.parent}/{SENTENCES['weights cut off']}"


def test_a_file_of_more_than_protobufs_limit(file: Path) -> None:
    """A sparse file: an IR version, a graph without nodes, and weights of 3 GiB in it."""
    size = 3 << 30
    tensor = wire(9, b"")[:1] + varint(size)  # raw data
    weights = b"\x2a" + varint(len(tensor) + size) + tensor
    file.write_bytes(wire(1, 8) + b"\x3a" + varint(len(weights) + size) + weights)
    length = file.stat().st_size + size
    os.truncate(file, length)
    assert find_file_problem(file) == (
        f"{file}: expected at most 2147483647 bytes, which is protobuf's limit, got {length}; "
        "write the weights to a file of their own: onnx.save(…, save_as_external_data=True)"
    )


@pytest.mark.parametrize("length", [*range(2, 60), 200, 2000, 200_000])
def test_every_length_of_a_cut_off_file_is_said(file: Path, length: int) -> None:
    whole = good_network()
    file.write_bytes(whole[:length])
    text = find_file_problem(file)
    assert text is not None
    assert "cut off" in text or "damaged" in text
    assert text.endswith("copy or download it again")


def test_a_kind_is_what_and_what_to_do() -> None:
    for _, kind in file_kinds._SIGNATURES:
        assert kind.hint and not kind.hint.endswith(".") and ";" not in kind.hint
