"""Exports a PyTorch model to ONNX and checks it against PyTorch."""

from __future__ import annotations

import secrets
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.disk import describe_write_error
from edge_inference.errors import ConfigError, ModelError
from edge_inference.optimize.training.torch_model import TorchModel, import_torch

DEFAULT_OPSET = 17
#: Opsets that the exporter writes and ours derive from.
OPSETS = range(13, 22)
OUTPUT_NAME = "logits"
#: Two float32 results may differ by rounding, relative to the largest value of an output.
MAX_RELATIVE_DIFFERENCE = 1e-3
_CHECKED_IMAGES = 4


@dataclass(frozen=True)
class ExportReport:
    """An ONNX file, and the largest difference of its outputs from PyTorch's.

    ``max_difference`` is absolute, ``relative_difference`` relative to the largest output.
    """

    file: Path
    opset: int
    bytes: int
    max_difference: float
    relative_difference: float


def export_onnx(
    model: TorchModel, destination: Path, *, opset: int = DEFAULT_OPSET, dynamic_batch: bool = True
) -> ExportReport:
    """Write a model as ONNX, with its weights inside, and compare it with PyTorch.

    The input is named as ``model.input`` says, the output ``logits``. The first axis of both is
    dynamic with ``dynamic_batch``. The file appears only when it agrees with PyTorch. Raises
    ConfigError for an opset, ModelError for a model that cannot be traced or exported, or that
    computes something else in ONNX Runtime.
    """
    torch = import_torch()
    if opset not in OPSETS:
        raise ConfigError(f"opset: expected {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    partial = destination.parent / f".{destination.name}.{secrets.token_hex(4)}.onnx"
    generator = np.random.default_rng(0)
    example = model.example_input(_CHECKED_IMAGES if dynamic_batch else 1)
    images = generator.normal(size=tuple(example.shape)).astype(np.float32)
    axes = {model.input.name: {0: "batch"}, OUTPUT_NAME: {0: "batch"}} if dynamic_batch else None
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # the exporter says that it is the older of two
            torch.onnx.export(
                model.module,
                (example,),
                str(partial),
                input_names=[model.input.name],
                output_names=[OUTPUT_NAME],
                dynamic_axes=axes,
                opset_version=opset,
                dynamo=False,
            )
            expected = model.module(torch.from_numpy(images)).numpy()
        with OrtBackend(partial) as backend:
            actual = backend.infer({model.input.name: images})[OUTPUT_NAME]
        difference = float(np.abs(actual - expected).max())
        relative = difference / max(float(np.abs(expected).max()), 1e-12)
        if not relative <= MAX_RELATIVE_DIFFERENCE:
            raise ModelError(
                f"model {model.name}: ONNX Runtime and PyTorch differ by {difference:.3g} "
                f"({relative:.2%} of the largest output), at most {MAX_RELATIVE_DIFFERENCE:.2%} is "
                "rounding; a branch on values in forward() is traced only one way"
            )
        size = partial.stat().st_size
        partial.replace(destination)
    except OSError as error:
        raise ModelError(
            f"{destination}: cannot be written ({describe_write_error(error)})"
        ) from error
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f"model {model.name}: cannot be exported to ONNX opset {opset}: "
            f"{str(error).strip().splitlines()[0]:.500}"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return ExportReport(destination, opset, size, difference, relative)
