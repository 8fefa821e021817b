"""Recognizes what a file is that should be an ONNX model, by its first and last bytes.

People rename files, and downloads save error pages under the name of a model, so the name says
little. The signatures are those of the formats' own documentation and of files that their tools
write.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_HEAD_BYTES = 4096
#: A zip file lists its members at its end, here within the size of a list of a few hundred.
_TAIL_BYTES = 1 << 16
_GIT_LFS = b"version https://git-lfs.github.com/spec/"
_EXPORT_TORCH = "export the network with torch.onnx.export"
_COPY = "copy or download it again"
_TAR_MAGIC = slice(257, 262)
_MAX_SHOWN = 40


class FileKind(NamedTuple):
    """What a file is, as part of a sentence, and what to do instead."""

    name: str
    hint: str


class _Ends(NamedTuple):
    """The first and last bytes of a file, which overlap in a short file."""

    head: bytes
    tail: bytes
    size: int


def recognize_kind(descriptor: int) -> FileKind | None:
    """Return the kind of an open file that is no ONNX model, None for one that may be."""
    size = os.fstat(descriptor).st_size
    head = os.pread(descriptor, _HEAD_BYTES, 0)
    tail = os.pread(descriptor, _TAIL_BYTES, max(size - _TAIL_BYTES, 0))
    ends = _Ends(head, tail, size)
    if not size:
        return FileKind("an empty file", _COPY)
    for signature, kind in _SIGNATURES:
        if re.match(signature, head, re.DOTALL):
            return kind
    found = (find(ends) for find in _FINDERS)
    return next((kind for kind in found if kind is not None), None)


def recognize_placeholder(descriptor: int) -> FileKind | None:
    """Return what a transfer left in place of an open file of any content, None for nothing.

    The content may be raw numbers, which can begin like any format, so only texts count.
    """
    head = os.pread(descriptor, _HEAD_BYTES, 0)
    size = os.fstat(descriptor).st_size
    page = _WEB_PAGE if re.match(_HTML, head, re.DOTALL) else None
    return page or _find_lfs_pointer(_Ends(head, head, size))


def recognize_folder(folder: Path) -> FileKind:
    """Return the kind of a folder that is in place of a file. Raises OSError."""
    names = sorted(os.listdir(folder))  # noqa: PTH208 - names only
    if "saved_model.pb" in names:
        return FileKind(
            "the folder of a TensorFlow SavedModel",
            "convert it with python -m tf2onnx.convert --saved-model",
        )
    if "Manifest.json" in names and "Data" in names:
        return FileKind(
            "the folder of a Core ML package", "export the network to ONNX from its source"
        )
    models = [name for name in names if name.lower().endswith(".onnx")]
    if len(models) == 1:
        return FileKind("a folder", f"name the file in it, {models[0]!r:.100}")
    return FileKind("a folder", "name the ONNX file")


ORT_MODEL = FileKind("a model in ONNX Runtime's own format", "give the ONNX file it was made from")
_HTML = rb"\s*(<!--.*?-->\s*)?<(!doctype html|!DOCTYPE (html|HTML)|html|HTML)\b"
_WEB_PAGE = FileKind(
    "a web page (HTML)",
    "the download saved a page instead of the file: download the file itself, for example by its "
    "raw or resolve link",
)
#: Regular expressions of the first bytes.
_SIGNATURES: tuple[tuple[bytes, FileKind], ...] = (
    (_HTML, _WEB_PAGE),
    (
        rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<net\b",
        FileKind(
            "an OpenVINO model (.xml)",
            "OpenVINO cannot convert it back: export the network to ONNX from its source",
        ),
    ),
    (
        rb"....TFL3",
        FileKind(
            "a TensorFlow Lite model",
            "convert it with python -m tf2onnx.convert --tflite",
        ),
    ),
    (
        rb"\x89HDF\r\n\x1a\n",
        FileKind("an HDF5 file (Keras)", "convert it with tf2onnx"),
    ),
    (
        rb"[a-z]trt|....\{\"[^\0]*?\}[a-z]trt",
        FileKind(
            "a TensorRT engine",
            "give the ONNX file that it was built from: edge-inference engine build builds the "
            "engine for this machine",
        ),
    ),
    (rb"....ORTM", ORT_MODEL),
    (
        rb"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.",
        FileKind("a PyTorch checkpoint", _EXPORT_TORCH),
    ),
    (
        rb"\x80[\x02-\x05]",
        FileKind("a Python pickle, such as a PyTorch checkpoint", _EXPORT_TORCH),
    ),
    (
        rb"GGUF",
        FileKind("a GGUF file (llama.cpp)", "choose a model that is published as ONNX"),
    ),
    (
        rb"RKNN|CYPTRKNN",
        FileKind("an RKNN model (Rockchip)", "give the ONNX file it was converted from"),
    ),
    (
        rb"\x01HEF",
        FileKind("a HEF model (Hailo)", "give the ONNX file it was compiled from"),
    ),
    (
        rb"7767517\r?\n",
        FileKind("an ncnn network (.param)", "export the network to ONNX from its source"),
    ),
    (rb"\x93NUMPY", FileKind("a NumPy array", "name the ONNX file")),
    (rb"\x1f\x8b", FileKind("a gzip archive", "unpack it with gunzip, or with tar xzf")),
    (rb"BZh[1-9]", FileKind("a bzip2 archive", "unpack it with bunzip2, or with tar xjf")),
    (rb"\xfd7zXZ\0", FileKind("an xz archive", "unpack it with unxz, or with tar xJf")),
    (rb"\x28\xb5\x2f\xfd", FileKind("a Zstandard archive", "unpack it with zstd -d")),
    (rb"7z\xbc\xaf\x27\x1c", FileKind("a 7z archive", "unpack it")),
    (rb"Rar!\x1a\x07", FileKind("a RAR archive", "unpack it")),
    (rb"\x89PNG\r\n|\xff\xd8\xff|%PDF-", FileKind("an image or a document", "name the ONNX file")),
    (rb"\x7fELF", FileKind("a program or library (ELF)", "name the ONNX file")),
)


def _find_lfs_pointer(ends: _Ends) -> FileKind | None:
    if not ends.head.startswith(_GIT_LFS):
        return None
    size = re.search(rb"^size (\d{1,15})$", ends.head, re.MULTILINE)
    of = f" of a file of {int(size[1])} bytes" if size else ""
    return FileKind(
        f"a Git LFS pointer{of}",
        "run git lfs pull in its repository, or download the file itself",
    )


def _find_safetensors(ends: _Ends) -> FileKind | None:
    length = int.from_bytes(ends.head[:8], "little")
    if ends.head[8:9] != b"{" or not 2 <= length <= ends.size - 8:
        return None
    return FileKind(
        "a safetensors file",
        "it has weights only: load them into the network and export that, for example with "
        "torch.onnx.export",
    )


def _find_zip(ends: _Ends) -> FileKind | None:
    if not ends.head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return None
    first = ends.head[30 : 30 + int.from_bytes(ends.head[26:28], "little")]
    members = first + b"\0" + ends.tail
    if b"/constants.pkl" in members:
        return FileKind(
            "a TorchScript archive",
            "PyTorch cannot convert it reliably: export the network from its source with "
            "torch.onnx.export",
        )
    if b"/data.pkl" in members:
        return FileKind("a PyTorch checkpoint", _EXPORT_TORCH)
    if b"archive_format" in members:
        return FileKind("a PyTorch program (.pt2)", _EXPORT_TORCH)
    if b"model.weights.h5" in members:
        return FileKind("a Keras model", "convert it with tf2onnx")
    if b".mlmodel" in members:
        return FileKind("a Core ML package", "export the network to ONNX from its source")
    if first.endswith(b".npy"):
        return FileKind("a NumPy archive (.npz)", "name the ONNX file")
    return FileKind("a zip archive", "unpack it with unzip")


def _find_tar(ends: _Ends) -> FileKind | None:
    is_tar = ends.head[_TAR_MAGIC] == b"ustar"
    return FileKind("a tar archive", "unpack it with tar xf") if is_tar else None


def _find_zeros(ends: _Ends) -> FileKind | None:
    if any(ends.head) or any(ends.tail):
        return None
    return FileKind("a file of zero bytes only", f"its transfer was not finished: {_COPY}")


def _find_text(ends: _Ends) -> FileKind | None:
    try:
        text = ends.head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(ends.head) - 4:  # else the end of the head cut a character
            return None
        text = ends.head[: error.start].decode("utf-8-sig")
    if not all(each.isprintable() or each in "\t\r\n\f" for each in text):
        return None
    if re.match(r"\s*(ir_version|graph)\s*[:{]", text):
        return FileKind(
            "an ONNX model written as text",
            "write it as binary with the package onnx: onnx.save(onnx.load(…, "
            "format='textproto'), …)",
        )
    if re.match(r"\s*[{\[]", text):
        return FileKind(
            f"JSON text, {_shorten(text)}",
            "the download saved an answer of the server instead of the file: download it again",
        )
    if re.match(r"\s*<", text):
        return FileKind(f"XML text, {_shorten(text)}", "name the ONNX file")
    return FileKind(f"text, {_shorten(text)}", "name the ONNX file, or download it again")


def _shorten(text: str) -> str:
    words = " ".join(text.split())
    return repr(words if len(words) <= _MAX_SHOWN else f"{words[:_MAX_SHOWN]} …")


_FINDERS: tuple[Callable[[_Ends], FileKind | None], ...] = (
    _find_lfs_pointer,
    _find_zip,
    _find_safetensors,
    _find_tar,
    _find_zeros,
    _find_text,
)
