"""The build options of a model, and what its engines are built for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from edge_inference.backends.gpu import find_gpu
from edge_inference.backends.trt.metadata import Environment
from edge_inference.backends.trt.vendor import import_tensorrt
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.settings import change
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.errors import BackendError


def environment_here(gpu: int = 0) -> Environment:
    """Return the TensorRT and the GPU of this machine.

    TensorRT-RTX builds without a GPU; TensorRT raises BackendError without a GPU or driver.
    """
    vendor = import_tensorrt()
    try:
        found = find_gpu(gpu)
    except BackendError:
        if vendor.library != "tensorrt_rtx":
            raise
        return Environment.here(vendor.library, vendor.version)
    return Environment.here(vendor.library, vendor.version, found.name, found.compute_capability)


def build_options(
    model: ModelDescription, precision: str, changes: Mapping[str, Any] | None = None
) -> BuildOptions:
    """Return the model's build options for a precision, with ``changes`` applied.

    Without a profile an input has the one size that preprocessing makes. Raises ConfigError,
    with file and line for an option in model.yaml.
    """
    options = BuildOptions() if model.engine is None else model.engine.read(BuildOptions)
    options = change(options, {**(changes or {}), "precision": precision})
    # TensorRT must know the fp32 layers where it chooses precisions itself.
    keep = tuple(dict.fromkeys((*options.keep_fp32, *model.derive.keep_fp32(precision))))
    profiles = options.profiles
    if not profiles and not options.batch:
        profiles = (f"{model.input.name}:{'x'.join(map(str, model.input.graph_shape))}",)
    return dataclasses.replace(options, keep_fp32=keep, profiles=profiles)
