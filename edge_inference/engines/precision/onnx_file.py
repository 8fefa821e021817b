"""ONNX files in and out, each failure in one sentence."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_inference.core.bounded_file import LARGEST_WEIGHTS, is_plain_file, open_plain
from edge_inference.core.checksum import sha256_of
from edge_inference.core.disk import trouble_writing, why_not_written
from edge_inference.core.runtime.memory_limit import is_out_of_memory, memory_hint
from edge_inference.engines.precision.external_data import embed_weights
from edge_inference.errors import BackendError, ModelError

if TYPE_CHECKING:
    from onnx import ModelProto


def import_onnx() -> Any:
    """Import the package onnx. Raises BackendError where it is missing or broken."""
    try:
        import onnx
        import onnx.checker
        import onnx.defs
        import onnx.numpy_helper
        import onnx.shape_inference
        import onnx.version_converter
    except ImportError as error:
        raise BackendError(
            f"the package onnx, which other precisions are derived with, cannot be imported "
            f"({error}); in a checkout make set-up installs it, elsewhere pip install onnx"
        ) from error
    return onnx


def read_onnx(file: Path) -> tuple[ModelProto, bool]:
    """Return the network of a sound ONNX file, and whether it has weights beside the file.

    These are in the network then. Raises ModelError for any other file, BackendError.
    """
    onnx = import_onnx()
    if not is_plain_file(file):
        raise ModelError(f"{file}: no such file; put the model's ONNX file there")
    try:
        open_plain(file, LARGEST_WEIGHTS).close()
        model = onnx.load(str(file), load_external_data=False)
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from error
    except Exception as error:  # protobuf's two implementations share no error of their own
        raise ModelError(
            f"{file}: not an ONNX file, or a damaged one ({first_line(error)}); export it again"
        ) from error
    opset = opset_of(model)
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        raise ModelError(
            f"{file}: opset {opset}, and the package onnx {onnx.__version__} knows up to {newest}; "
            "pip install --upgrade onnx, or export the model with an older opset"
        )
    is_split = embed_weights(model, file)
    try:
        onnx.checker.check_model(model if is_split else str(file))
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise ModelError(
            f"{file}: not a sound ONNX model ({first_line(error)}); export it again"
        ) from error
    return model, is_split


def opset_of(model: ModelProto) -> int:
    """Return the version of ONNX's own operators; 0 where the model names none."""
    own = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return int(max(own, default=0))


def write_onnx(model: ModelProto, destination: Path) -> None:
    """Write a model so that the file is there whole or not at all. The same model, the same bytes.

    Raises ModelError where it cannot be written.
    """
    write_atomically(destination, serialize_onnx(model, destination))


def serialize_onnx(model: ModelProto, file: Path) -> bytes:
    """Return a model as the bytes of ``file``. Raises ModelError where they are too many."""
    try:
        data: bytes = model.SerializeToString(deterministic=True)
    except Exception as error:  # protobuf's limit of 2 GiB; its implementations share no error
        raise ModelError(
            f"{file}: the model is too large for one ONNX file ({first_line(error)})"
        ) from error
    return data


def write_atomically(destination: Path, data: bytes) -> None:
    """Write a file through a temporary one beside it. Raises ModelError."""
    temporary = destination.with_name(f".{destination.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
        temporary.replace(destination)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ModelError(f"{destination}: cannot be written ({why_not_written(error)})") from error


def raise_if_disk_full(file: Path) -> None:
    """Raise BackendError where it is the disk that kept a library from writing a file."""
    trouble = trouble_writing(file)
    if trouble is not None:
        raise BackendError(
            f"{file.parent}: what ONNX Runtime makes of the model cannot be written there "
            f"({why_not_written(trouble)}); $TMPDIR names another folder"
        ) from trouble


def file_sha256(file: Path) -> str:
    """Return a file's checksum. Raises ModelError where it cannot be read."""
    try:
        return sha256_of(file)
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from error


def check_node_names(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise ModelError for the first name that is no node's, with the nearest ones."""
    there = list(known)
    for name in names:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=3, cutoff=0.4) or there[:5]
            raise ModelError(
                f"{where}: no node is named {name!r}, so it cannot stay in fp32; "
                f"nearest: {', '.join(near)}"
            )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, without a closing full stop."""
    if is_out_of_memory(error):
        return f"the memory does not suffice: {memory_hint()}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")
