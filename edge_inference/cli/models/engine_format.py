"""Formats the metadata of a plan as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_inference.backends.trt.metadata import EngineMetadata
from edge_inference.cli.sizes import format_megabytes
from edge_inference.engines.build.build_options import BuildOptions

_SOURCES = {
    "inspector": "as TensorRT built them",
    "network": "as in the ONNX; no GPU was available to load the engine",
}
# Shown in lines of their own: the precision and the sizes.
_OWN_LINES = ("precision", "batch", "profiles")
_NAMES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}


def describe_plan(plan: Path, metadata: EngineMetadata) -> Iterator[str]:
    """Yield the lines that describe a plan."""
    built = metadata.environment
    took = "" if metadata.build_seconds is None else f" in {metadata.build_seconds:.1f} s"
    yield str(plan)
    yield f"  model: {metadata.model or 'not named'}, precision {metadata.precision}"
    yield (
        f"  built by: {_NAMES.get(built.library, built.library)} {built.version} on "
        f"{built.system} {built.machine}{took}"
    )
    yield f"  runs on: {runs_on(metadata)}"
    yield f"  size: {format_megabytes(metadata.plan_bytes)}"
    yield f"  inputs: {_tensors(metadata.inputs)}"
    yield f"  outputs: {_tensors(metadata.outputs)}"
    for name, sizes in metadata.profiles.items():
        minimum, optimum, maximum = (_shape(size) for size in sizes)
        if minimum != maximum:
            yield f"  sizes of {name}: {minimum} to {maximum}, best at {optimum}"
    yield f"  layers: {layer_counts(metadata)}"
    changed = _changed_options(metadata.options)
    if changed:
        yield f"  options: {changed}"
    yield f"  sha256: plan {metadata.plan_sha256[:16]}…, ONNX {metadata.onnx_sha256[:16]}…"


def runs_on(metadata: EngineMetadata) -> str:
    """Return the GPUs that a plan is for, as text."""
    if metadata.hardware == "listed":
        return f"GPUs of compute capability {', '.join(metadata.targets)}"
    if metadata.hardware == "ampere_plus":
        return "GPUs of compute capability 8.0 or later"
    built = metadata.environment
    return f"{built.device} (compute capability {built.compute_capability})"


def layer_counts(metadata: EngineMetadata) -> str:
    """Return the number of layers of each precision, with the source, as text."""
    found = sorted(metadata.layer_precisions.items(), key=lambda pair: -pair[1])
    counts = ", ".join(f"{count} {name}" for name, count in found)
    source = _SOURCES.get(metadata.layer_source, metadata.layer_source)
    return f"{counts or 'unknown'} ({source})" if source else counts or "unknown"


def _changed_options(options: Mapping[str, Any]) -> str:
    """List the build options that differ from the defaults."""
    defaults = dataclasses.asdict(BuildOptions())
    return ", ".join(
        f"{name} {_option(value)}"
        for name, value in options.items()
        if name not in _OWN_LINES and _option(value) != _option(defaults.get(name))
    )


def _option(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _tensors(tensors: Mapping[str, tuple[Any, ...]]) -> str:
    return "; ".join(f"{name} {_tensor(*entry)}" for name, entry in tensors.items()) or "unknown"


def _tensor(dtype: str, *shape: int) -> str:
    return f"{dtype} {_shape(shape)}"


def _shape(sizes: Sequence[int]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in sizes) or "scalar"
