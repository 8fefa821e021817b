"""Reads and writes ONNX files; each failure is one sentence."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from edge_inference.backends.ort_failures import describe_error
from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, open_regular_file
from edge_inference.core.disk import describe_write_error, probe_write_error
from edge_inference.core.onnx_format.onnx_problems import (
    explain_access,
    find_access_problem,
    find_file_problem,
)
from edge_inference.core.package_import import explain_import
from edge_inference.engines.precision.check_failures import explain_check_failure
from edge_inference.engines.precision.external_weights import (
    MAX_EMBEDDED_BYTES,
    MIN_LARGE_BYTES,
    embed_weights,
    split_weights,
    weight_bytes,
    without_weights,
)
from edge_inference.engines.precision.graph import sort_nodes
from edge_inference.errors import BackendError, ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

#: Suffix of the file with the weights of a network that is too large for one file.
DATA_SUFFIX = ".data"


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
        title = "the package onnx, which derives other precisions,"
        raise BackendError(explain_import(title, "onnx", error)) from error
    return onnx


def read_onnx(file: Path) -> tuple[ModelProto, bool]:
    """Return the network of a valid ONNX file, and whether the file has external weights.

    External weights are embedded into the network, and its nodes are sorted. Raises
    ModelError for an invalid file, BackendError without the package onnx.
    """
    onnx = import_onnx()
    problem = find_access_problem(file)
    if problem is not None:
        raise ModelError(problem)
    try:
        open_regular_file(file, MAX_WEIGHTS_BYTES).close()
        model = onnx.load(str(file), load_external_data=False)
    except OSError as error:
        raise ModelError(find_file_problem(file) or explain_access(file, error)) from error
    except Exception as error:  # protobuf's two implementations share no error class
        raise ModelError(
            find_file_problem(file)
            or f"{file}: expected an ONNX model, got a damaged one ({first_line(error)}); copy or "
            "download it again"
        ) from error
    opset = opset_of(model)
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        raise ModelError(
            f"{file}: its opset is {opset}, but the package onnx {onnx.__version__} supports up to "
            f"{newest}; export it with opset {newest} or older, or pip install --upgrade onnx"
        )
    is_split = embed_weights(model, file)
    is_sorted = sort_nodes(model.graph)
    try:
        if is_split or is_sorted:
            check_network(model, file)
        else:
            onnx.checker.check_model(str(file))
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise ModelError(explain_check_failure(file, error, onnx)) from error
    return model, is_split


def check_network(model: ModelProto, file: Path, *, full_check: bool = False) -> None:
    """Check the network of a file, which may be of any size. Raises the errors of onnx.checker."""
    with session_source(model, file) as source:
        import_onnx().checker.check_model(source, full_check=full_check)


def infer_shapes(model: ModelProto) -> ModelProto:
    """Return a network of any size with the types of its tensors.

    Raises the errors of onnx.shape_inference. A network with large weights is changed in place.
    """
    onnx = import_onnx()
    if not is_too_large(model):
        return onnx.shape_inference.infer_shapes(model)  # type: ignore[no-any-return]
    inferred = onnx.shape_inference.infer_shapes(without_weights(model)).graph
    for name in ("node", "value_info", "output"):
        field = getattr(model.graph, name)
        del field[:]
        field.extend(getattr(inferred, name))
    return model


@contextmanager
def session_source(model: ModelProto, file: Path) -> Iterator[bytes | str]:
    """Provide a network as bytes, or as the path of a temporary file if it is too large for that.

    ONNX Runtime and onnx.checker take both. ``file`` is named in an error. Raises ModelError.
    """
    if not is_too_large(model):
        yield serialize_onnx(model, file)
        return
    with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
        network = Path(folder, "network.onnx")
        write_onnx(model, network)
        yield str(network)


def is_too_large(model: ModelProto) -> bool:
    """Tell whether the network needs a file of weights beside its ONNX file."""
    return weight_bytes(model) > MAX_EMBEDDED_BYTES


def save_external(options: Any, file: Path) -> None:
    """Let an ONNX Runtime session write the weights of its optimized network beside ``file``."""
    for name, value in (
        ("file_name", f"{file.name}{DATA_SUFFIX}"),
        ("min_size_in_bytes", str(MIN_LARGE_BYTES)),
    ):
        options.add_session_config_entry(
            f"session.optimized_model_external_initializers_{name}", value
        )


def load_network(file: Path) -> ModelProto:
    """Return a network that this package or ONNX Runtime wrote, with its external weights."""
    model: ModelProto = import_onnx().load(str(file), load_external_data=False)
    embed_weights(model, file)
    return model


def opset_of(model: ModelProto) -> int:
    """Return the version of the standard operators; 0 where the model has none."""
    own = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return int(max(own, default=0))


def write_onnx(model: ModelProto, destination: Path) -> None:
    """Write a model atomically; the same model gives the same bytes.

    The weights of a model that is too large for one file are in a second one beside it, whose
    name ends with ``.data``. Raises ModelError where it cannot be written.
    """
    if is_too_large(model):
        data = destination.with_name(f"{destination.name}{DATA_SUFFIX}")
        with _written_atomically(data) as stream:
            model = split_weights(model, data.name, stream)
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
    with _written_atomically(destination) as stream:
        stream.write(data)


@contextmanager
def _written_atomically(destination: Path) -> Iterator[IO[bytes]]:
    temporary = destination.with_name(f".{destination.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as stream:
            yield stream
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


def first_line(error: BaseException) -> str:
    """Return the reason of a library's error as one line, without a closing full stop."""
    return describe_error(error)
