"""Exports a PyTorch model to ONNX and checks it against PyTorch."""

from __future__ import annotations

import io
import os
import secrets
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.disk import describe_write_error
from edge_inference.core.images.input_spec import MULTI, pixel_tables
from edge_inference.core.text_line import one_line
from edge_inference.engines.precision.external_weights import MAX_EMBEDDED_BYTES
from edge_inference.errors import ConfigError, EdgeInferenceError, ModelError
from edge_inference.optimize.training.evaluate import describe_forward_error
from edge_inference.optimize.training.torch_model import TorchModel, import_torch

DEFAULT_OPSET = 17
#: Opsets that the exporter writes and ours derive from.
OPSETS = range(13, 22)
OUTPUT_NAME = "logits"
#: Two float32 results may differ by rounding, relative to the largest value of an output.
MAX_RELATIVE_DIFFERENCE = 1e-3
_TRACED_BATCH = 4
#: Another batch than the traced one shows that the batch is really dynamic.
_OTHER_BATCH = 3
_MAX_GIVEN_IMAGES = 64
_MAX_REASON = 400
_MIB = 1 << 20
_STDOUT = 1


@dataclass(frozen=True)
class ExportReport:
    """An ONNX file, and the largest difference of its outputs from PyTorch's.

    ``max_difference`` is absolute, ``relative_difference`` relative to the largest output;
    ``checked_images`` is the number of images that were compared, ``classes`` the number of logits
    of each. ``warnings`` are the exporter's
    about values that became constants.
    """

    file: Path
    opset: int
    bytes: int
    max_difference: float
    relative_difference: float
    checked_images: int
    classes: int
    warnings: tuple[str, ...] = ()


def export_onnx(
    model: TorchModel,
    destination: Path,
    *,
    opset: int = DEFAULT_OPSET,
    dynamic_batch: bool = True,
    images: NDArray[np.float32] | None = None,
) -> ExportReport:
    """Write a model as ONNX, with its weights inside, and compare it with PyTorch.

    The input is named as ``model.input`` says, the output ``logits``. The first axis of both is
    dynamic with ``dynamic_batch``. Both networks are compared on generated images (noise of both
    signs, dark and light ones) and on the first 64 of ``images``, ``(N, C, H, W)``: a branch on
    values in ``forward()`` is traced only one way, and shows when an image takes the other one.
    The file appears only when it agrees with PyTorch.

    Raises ConfigError for an opset, ModelError for a model that is too large for one file, cannot
    be traced or exported, returns anything but logits, or computes something else in ONNX Runtime,
    and for a file that cannot be written.
    """
    torch = import_torch()
    if opset not in OPSETS:
        raise ConfigError(f"opset: expected {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    _check_size(model)
    batches = _check_batches(model, dynamic_batch, images)
    with torch.no_grad():
        expected = [_run_torch(model, batch) for batch in batches]
        data, notes = _trace(torch, model, opset, dynamic_batch)
    partial = destination.parent / f".{destination.name}.{secrets.token_hex(4)}.onnx"
    try:
        partial.write_bytes(data)
        actual = _run_exported(model, partial, destination, batches, dynamic_batch)
        difference, relative = _compare(model, expected, actual, notes)
        partial.replace(destination)
    except OSError as error:
        raise ModelError(
            f"{destination}: cannot be written ({describe_write_error(error)})"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return ExportReport(
        destination,
        opset,
        len(data),
        difference,
        relative,
        sum(map(len, batches)),
        expected[0].shape[1],
        notes,
    )


def _check_size(model: TorchModel) -> None:
    """Refuse what protobuf cannot hold in one file, before anything is computed."""
    tensors = [*model.module.parameters(), *model.module.buffers()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > MAX_EMBEDDED_BYTES:
        raise ModelError(
            f"model {model.name}: its weights take {size // _MIB} MiB, and an ONNX file holds at "
            f"most {MAX_EMBEDDED_BYTES // _MIB} MiB; prune it or make a smaller student first"
        )


def _check_batches(
    model: TorchModel, dynamic_batch: bool, images: NDArray[np.float32] | None
) -> list[NDArray[np.float32]]:
    """Return the images to compare on, in batches that the exported network takes."""
    shape = model.input.shape[1:]
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(_TRACED_BATCH, *shape)).astype(np.float32)
    others = [-noise, *_pixels(model, generator)]
    if images is not None:
        if images.ndim != 4 or images.shape[1:] != shape or images.dtype != np.float32:
            raise ModelError(
                f"model {model.name}: expected float32 images of the shape [N, "
                f"{', '.join(map(str, shape))}] to compare on, got {images.dtype} "
                f"{list(images.shape)}"
            )
        others.append(images[:_MAX_GIVEN_IMAGES])
    # One at a time, as on the robot: a branch may depend on all images of a batch.
    alone = [image[np.newaxis] for image in np.concatenate([noise, *others])]
    return [noise, noise[:_OTHER_BATCH], *alone] if dynamic_batch else alone


def _pixels(model: TorchModel, generator: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """Yield normalized images: random pixels, black, gray and white."""
    spec = model.input
    if spec.color == MULTI:  # the camera's type decides the range
        return
    table = pixel_tables(spec).astype(np.float32)
    size = (1, spec.channels, spec.height, spec.width)
    channel = np.arange(spec.channels)[:, np.newaxis, np.newaxis]
    yield table[channel, generator.integers(0, 256, size)]
    for value in (0, 128, 255):
        yield table[channel, np.full(size, value)]


def _run_torch(model: TorchModel, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits of a batch. Raises ModelError for anything else."""
    torch = import_torch()
    with _own_code(model, "its forward() fails"):
        logits = model.module(torch.from_numpy(batch))
        again = model.module(torch.from_numpy(batch))
    if not isinstance(logits, torch.Tensor):
        raise ModelError(
            f"model {model.name}: expected logits from forward(), one tensor, got "
            f"{type(logits).__name__}; wrap it in a module that returns only the logits"
        )
    if logits.dtype != torch.float32 or logits.ndim != 2 or len(logits) != len(batch):
        raise ModelError(
            f"model {model.name}: expected float32 logits of the shape [{len(batch)}, classes] "
            f"from forward(), got {logits.dtype} {list(logits.shape)}"
        )
    if not torch.isfinite(logits).all():
        raise ModelError(
            f"model {model.name}: its logits are NaN or infinite for a generated or given image; "
            "check its weights"
        )
    values = np.asarray(logits.numpy(), np.float32)
    scale = max(float(np.abs(values).max()), 1e-12)
    if float((logits - again).abs().max()) > MAX_RELATIVE_DIFFERENCE * scale:
        raise ModelError(
            f"model {model.name}: two runs on the same images differ; no random numbers may be "
            "drawn in evaluation mode"
        )
    return values


def _trace(
    torch: Any, model: TorchModel, opset: int, dynamic_batch: bool
) -> tuple[bytes, tuple[str, ...]]:
    """Return the ONNX file, and what the tracer warned about."""
    file = io.BytesIO()  # a path that cannot be written would hide its cause
    axes = {model.input.name: {0: "batch"}, OUTPUT_NAME: {0: "batch"}} if dynamic_batch else None
    with (
        warnings.catch_warnings(record=True) as caught,
        _own_code(model, f"cannot be exported to ONNX opset {opset}"),
        _silent_stdout(),
        _separate_attention(torch),
    ):
        warnings.simplefilter("always")
        torch.onnx.export(
            model.module,
            (model.example_input(_TRACED_BATCH if dynamic_batch else 1),),
            file,
            input_names=[model.input.name],
            output_names=[OUTPUT_NAME],
            dynamic_axes=axes,
            opset_version=opset,
            dynamo=False,
        )
    notes = {  # a dictionary keeps the order and drops repetitions
        f"{Path(each.filename).name}:{each.lineno}: "
        f"{one_line(str(each.message).split('. ')[0], _MAX_REASON)}": None
        for each in caught
        if issubclass(each.category, torch.jit.TracerWarning)
    }
    return file.getvalue(), tuple(notes)


def _run_exported(
    model: TorchModel,
    partial: Path,
    destination: Path,
    batches: list[NDArray[np.float32]],
    dynamic_batch: bool,
) -> list[NDArray[Any]]:
    try:
        with OrtBackend(partial) as backend:
            return [backend.infer({model.input.name: batch})[OUTPUT_NAME] for batch in batches]
    except EdgeInferenceError as error:
        reason = str(error).replace(str(partial), str(destination))
        hint = (
            "; if forward() depends on the number of images, export with a fixed batch of one"
            if dynamic_batch
            else ""
        )
        raise ModelError(
            f"model {model.name}: it was exported, but ONNX Runtime cannot run it: "
            f"{one_line(reason, _MAX_REASON)}{hint}"
        ) from error


def _compare(
    model: TorchModel,
    expected: list[NDArray[np.float32]],
    actual: list[NDArray[Any]],
    notes: tuple[str, ...],
) -> tuple[float, float]:
    """Return the largest difference, absolute and relative. Raises ModelError for a large one."""
    traced = f"; forward() is traced only one way: {'; '.join(notes[:3])}" if notes else ""
    for ours, theirs in zip(actual, expected, strict=True):
        if ours.shape != theirs.shape:
            raise ModelError(
                f"model {model.name}: for {len(theirs)} images ONNX Runtime gives logits of the "
                f"shape {list(ours.shape)}, PyTorch of {list(theirs.shape)}; the traced number of "
                f"images became a constant: use x.shape[0], or export with a fixed batch{traced}"
            )
    ours, theirs = np.concatenate(actual), np.concatenate(expected)
    difference = float(np.abs(ours - theirs).max())
    relative = difference / max(float(np.abs(theirs).max()), 1e-12)
    if not relative <= MAX_RELATIVE_DIFFERENCE:
        raise ModelError(
            f"model {model.name}: ONNX Runtime and PyTorch differ by {difference:.3g} "
            f"({relative:.2%} of the largest output), at most {MAX_RELATIVE_DIFFERENCE:.2%} is "
            f"rounding{traced or '; a branch on values in forward() is traced only one way'}"
        )
    return difference, relative


@contextmanager
def _own_code(model: TorchModel, problem: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the user's own forward(): any error may come out of it
        reason = one_line(describe_forward_error(error), _MAX_REASON)
        raise ModelError(f"model {model.name}: {problem}: {reason}") from error


@contextmanager
def _separate_attention(torch: Any) -> Iterator[None]:
    """Trace attention as products and a softmax: its fused form for inference has no ONNX form."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """Discard what libraries print: the exporter prints the graph where it fails (PyTorch 2.13).

    The C++ part writes to the descriptor, which ``contextlib.redirect_stdout`` does not reach.
    """
    sys.stdout.flush()
    saved = os.dup(_STDOUT)
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, _STDOUT)
        yield
    finally:
        os.dup2(saved, _STDOUT)
        os.close(saved)
        os.close(silent)
