"""Reads and writes ONNX files; each failure is one sentence."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, is_regular_file, open_regular_file
from edge_inference.core.checksum import sha256_of
from edge_inference.core.disk import describe_write_error, probe_write_error
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
        import onnx.inliner
        import onnx.numpy_helper
        import onnx.shape_inference
        import onnx.version_converter
    except ImportError as error:
        raise BackendError(
            f"the package onnx, which derives other precisions, cannot be imported ({error}); "
            f"install it with: make set-up in a checkout, or pip install onnx"
        ) from error
    return onnx


def read_onnx(file: Path) -> tuple[ModelProto, bool]:
    """Return the network of a valid ONNX file, and whether the file has external weights.

    External weights are embedded into the network. Raises ModelError for an invalid file,
    BackendError without the package onnx.
    """
    onnx = import_onnx()
    if not is_regular_file(file):
        raise ModelError(f"{file}: no such file; put the model's ONNX file there")
    try:
        open_regular_file(file, MAX_WEIGHTS_BYTES).close()
        model = onnx.load(str(file), load_external_data=False)
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from error
    except Exception as error:  # protobuf's two implementations share no error class
        raise ModelError(
            f"{file}: not an ONNX file, or a damaged one ({first_line(error)}); export it again"
        ) from error
    opset = opset_of(model)
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        raise ModelError(
            f"{file}: opset {opset}, but the package onnx {onnx.__version__} supports up to "
            f"{newest}; pip install --upgrade onnx, or export the model with an older opset"
        )
    is_split = embed_weights(model, file)
    try:
        onnx.checker.check_model(model if is_split else str(file))
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise ModelError(
            f"{file}: not a valid ONNX model ({first_line(error)}); export it again"
        ) from error
    return model, is_split


def opset_of(model: ModelProto) -> int:
    """Return the version of the standard operators; 0 where the model has none."""
    own = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return int(max(own, default=0))


def write_onnx(model: ModelProto, destination: Path) -> None:
    """Write a model atomically; the same model gives the same bytes.

    Raises ModelError where it cannot be written.
    """
    write_atomically(destination, serialize_onnx(model, destination))


def serialize_onnx(model: ModelProto, file: Path) -> bytes:
    """Return the bytes of a model for ``file``. Raises ModelError where they exceed 2 GiB."""
    try:
        data: bytes = model.SerializeToString(deterministic=True)
    except Exception as error:  # protobuf's implementations share no error class
        raise ModelError(
            f"{file}: the model is too large for one ONNX file ({first_line(error)})"
        ) from error
    return data


def write_atomically(destination: Path, data: bytes) -> None:
    """Write a file through a temporary one in the same folder. Raises ModelError."""
    temporary = destination.with_name(f".{destination.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
        temporary.replace(destination)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ModelError(
            f"{destination}: cannot be written ({describe_write_error(error)})"
        ) from error


def raise_if_disk_full(file: Path) -> None:
    """Raise BackendError where the disk prevents a library from writing a file."""
    trouble = probe_write_error(file)
    if trouble is not None:
        raise BackendError(
            f"{file.parent}: ONNX Runtime cannot write its optimized model there "
            f"({describe_write_error(trouble)}); set $TMPDIR to another folder"
        ) from trouble


def file_sha256(file: Path) -> str:
    """Return a file's checksum. Raises ModelError where it cannot be read."""
    try:
        return sha256_of(file)
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, without a closing full stop."""
    if is_out_of_memory(error):
        return f"not enough memory: {memory_hint()}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")
