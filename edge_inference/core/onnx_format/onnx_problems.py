"""Says why a file cannot be used as an ONNX model, from the file itself.

Libraries answer "Protobuf parsing failed" for a page of HTML, a checkpoint of PyTorch and half of
a download. Here each of these has its own sentence with a hint that helps. Only a few bytes are
read, and the structure: never the weights.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from edge_inference.core.bounded_file import ANY_SIZE, MAX_WEIGHTS_BYTES, open_regular_file
from edge_inference.core.onnx_format.file_kinds import (
    ORT_MODEL,
    recognize_folder,
    recognize_kind,
)
from edge_inference.core.onnx_format.onnx_files import (
    ORT_SUFFIX,
    check_external_file,
    external_files,
)
from edge_inference.core.onnx_format.onnx_reader import (
    ByteSource,
    LimitExceededError,
    MalformedMessageError,
    TruncatedMessageError,
    WireField,
    WireMessage,
    merge_messages,
    read_tensor,
)
from edge_inference.errors import ModelError

_COPY = "copy or download it again"
#: The fields of ModelProto: IR version, graph.
_IR_VERSION, _GRAPH = 1, 7
#: Fields of formats that are protobuf messages, too.
_CORE_ML_FIELDS = range(200, 4000)
_CAFFE_LAYER = 100
#: Zero bytes at the end of a file that no ONNX file has: it ends with outputs and versions.
_ZEROS = bytes(64)


def find_access_problem(file: Path) -> str | None:
    """Return why a file cannot be read, as one sentence; None for a file that can be read."""
    try:
        open_regular_file(file, ANY_SIZE).close()
    except OSError as error:
        return explain_access(file, error)
    return None


def explain_access(file: Path, error: OSError) -> str:
    """Return why a model's file cannot be opened, as one sentence."""
    if error.errno == errno.ENOENT:
        if file.is_symlink():
            return (
                f"{file}: expected an ONNX model, got a link to a file that does not exist, "
                f"{str(file.readlink())!r:.200}; copy the file itself"
            )
        return f"{file}: no such file; put the model's ONNX file there"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{file}: cannot be read ({error.strerror}); allow this user to read it and to enter "
            "its folder"
        )
    try:
        if file.is_dir():
            kind = recognize_folder(file)
            return f"{file}: expected an ONNX file, got {kind.name}; {kind.hint}"
    except OSError:  # a folder that cannot be listed
        pass
    return f"{file}: cannot be read: {error.strerror}; name the ONNX file"


def find_file_problem(file: Path, *, takes_ort: bool = False) -> str | None:
    """Return what is wrong with a file that should be an ONNX model, as one sentence.

    None where the file has the structure of an ONNX model and all of its external weights; what
    a library dislikes is then in the network. Call it after a library has refused the file, since
    it does not say that a file is valid. With ``takes_ort``, a file with the suffix of ONNX
    Runtime's own format must have that format.
    """
    try:
        with open_regular_file(file, ANY_SIZE) as stream:
            if takes_ort and file.name.lower().endswith(ORT_SUFFIX):
                return _examine_ort(file, stream.fileno())
            return _examine(file, stream.fileno())
    except OSError as error:
        return explain_access(file, error)


def _examine_ort(file: Path, descriptor: int) -> str | None:
    expected = "expected a model in ONNX Runtime's own format, as its suffix says"
    kind = recognize_kind(descriptor)
    if kind is ORT_MODEL:
        return None
    if kind is not None:
        return f"{file}: {expected}, got {kind.name}; {kind.hint}"
    return f"{file}: {expected}, got another one; name it .onnx if it is an ONNX model"


def _examine(file: Path, descriptor: int) -> str | None:
    kind = recognize_kind(descriptor)
    if kind is not None:
        return f"{file}: expected an ONNX model, got {kind.name}; {kind.hint}"
    source = ByteSource(descriptor)
    try:
        problem = _find_structure_problem(source)
        if problem is not None:
            return f"{file}: {problem}"
        _read_messages(source)
    except (LimitExceededError, MalformedMessageError) as error:
        if os.pread(descriptor, len(_ZEROS), max(source.size - len(_ZEROS), 0)) == _ZEROS:
            return (
                f"{file}: expected an ONNX model, got one that ends in zero bytes: its transfer "
                f"was not finished; {_COPY}"
            )
        return f"{file}: expected an ONNX model, got a damaged one ({error}); {_COPY}"
    if source.size > MAX_WEIGHTS_BYTES:
        return (
            f"{file}: expected at most {MAX_WEIGHTS_BYTES} bytes, which is protobuf's limit, got "
            f"{source.size}; write the weights to a file of their own: onnx.save(…, "
            "save_as_external_data=True)"
        )
    try:
        for location, size in external_files(file).items():
            check_external_file(file, location, size)
    except ModelError as error:
        return str(error)
    return None


class _Outline:
    """What the fields of a file tell, without keeping them: there may be millions."""

    def __init__(self) -> None:
        self.first: WireField | None = None
        self.numbers: set[int] = set()
        self.has_version = True

    def add(self, field: WireField) -> None:
        """Add the next field."""
        self.first = self.first or field
        if field.number == _IR_VERSION and not field.is_number:
            self.has_version = False
        if field.number < _CORE_ML_FIELDS.stop:
            self.numbers.add(field.number)

    @property
    def starts_like_onnx(self) -> bool:
        """Tell whether the file begins with an IR version, which every writer puts first."""
        first = self.first
        return first is not None and first.number == _IR_VERSION and first.is_number


def _find_structure_problem(source: ByteSource) -> str | None:
    """Look at the fields of the file only; the messages in them may still be malformed.

    Raises MalformedMessageError for a damaged ONNX file.
    """
    outline = _Outline()
    try:
        for field in WireMessage(source):
            outline.add(field)
    except TruncatedMessageError as error:
        if not outline.starts_like_onnx:
            return _OTHER_FORMAT
        return (
            f"expected an ONNX model of at least {error.end} bytes, got the first {source.size}: "
            f"it was cut off; {_COPY}"
        )
    except MalformedMessageError:
        if not outline.starts_like_onnx:
            return _OTHER_FORMAT
        raise
    is_onnx = _GRAPH in outline.numbers and outline.has_version
    if is_onnx and 0 in outline.numbers:
        raise MalformedMessageError("a field without a number")
    return None if is_onnx else _describe_other_protobuf(outline, source.bytes(0, 1 << 16))


def _describe_other_protobuf(outline: _Outline, head: bytes) -> str:
    """Describe a message without ONNX's graph, by the fields that its format has."""
    numbers = outline.numbers
    if not outline.starts_like_onnx:
        marks = [mark for mark in _OTHER_PROTOBUF if mark in head]
        if marks:
            return f"expected an ONNX model, got {_OTHER_PROTOBUF[marks[0]]}"
        if _CAFFE_LAYER in numbers:
            return (
                "expected an ONNX model, got a Caffe model (.caffemodel); export the network to "
                "ONNX from its source"
            )
        return _OTHER_FORMAT
    if max(numbers) in _CORE_ML_FIELDS:
        return (
            "expected an ONNX model, got a Core ML model (.mlmodel); export the network to ONNX "
            "from its source"
        )
    if numbers == {1, 2} and outline.first is not None and outline.first.value == 1:
        return (
            "expected an ONNX model, got a TensorFlow SavedModel (.pb); convert its folder with "
            "python -m tf2onnx.convert --saved-model"
        )
    return f"expected an ONNX model, got one without a graph, as if it was cut off; {_COPY}"


_TENSORFLOW_GRAPH = "a TensorFlow graph (.pb); convert it with python -m tf2onnx.convert --graphdef"
#: Bytes that messages of other formats have near their start: operators, names of variables.
_OTHER_PROTOBUF = {
    b"\x12\x0bPlaceholder": _TENSORFLOW_GRAPH,
    b"\x12\x05Const": _TENSORFLOW_GRAPH,
    b"\x04feed": "a PaddlePaddle program (.pdmodel); convert it with paddle2onnx",
}
_OTHER_FORMAT = (
    "expected an ONNX model, got a file of another format, or a damaged one; name the ONNX file, "
    "or download it again"
)


def _read_messages(source: ByteSource) -> None:
    """Read the nodes and weights of the graph. Raises MalformedMessageError for a damaged one."""
    graph = merge_messages([*WireMessage(source).all(_GRAPH)])
    if graph is not None:
        parts = graph.parts(1, 5)
        for node in parts[1]:
            node.parts()
        for weights in parts[5]:
            read_tensor(weights)
