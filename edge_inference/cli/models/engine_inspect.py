"""``edge-inference engine inspect``: shows a plan's metadata and layers."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edge_inference.backends.trt.layers import LayerPrecision, inspect_layers
from edge_inference.backends.trt.metadata import (
    REBUILD_HINT,
    EngineMetadata,
    read_sidecar,
    verify_plan,
)
from edge_inference.backends.trt.plan import LoadedPlan
from edge_inference.backends.trt.pycuda_provider import PycudaProvider
from edge_inference.backends.trt.vendor import import_tensorrt
from edge_inference.cli.models.engine_format import describe_plan
from edge_inference.engines.build.model_options import environment_here
from edge_inference.errors import BackendError

_PIPE_WIDTH = 140


@dataclasses.dataclass(frozen=True)
class _Layers:
    """The layers of an engine; None, with the reason, where it cannot be loaded here."""

    layers: tuple[LayerPrecision, ...] | None
    reason: str = ""


def inspect_engine(plan: Path, gpu: int, *, with_layers: bool, as_json: bool) -> int:
    """Print a plan's metadata, with its layers if requested; return the exit code."""
    metadata = read_sidecar(plan)
    content = verify_plan(plan, metadata)
    found = _read_layers(plan, metadata, content, gpu) if with_layers else None
    if as_json:
        sys.stdout.write(json.dumps(_as_json(plan, metadata, found)) + "\n")
        return 0
    sys.stdout.write("\n".join(describe_plan(plan, metadata)) + "\n")
    if found is not None:
        _print_layers(found)
    return 0


def load_layers(
    plan: Path, metadata: EngineMetadata, content: bytes, gpu: int
) -> tuple[LayerPrecision, ...]:
    """Load a plan on the GPU and return its layers. Raises BackendError."""
    here = environment_here(gpu)
    incompatibility = metadata.incompatibility(here)
    if incompatibility is not None:
        raise BackendError(f"{plan}: {incompatibility}; {REBUILD_HINT}")
    vendor = import_tensorrt()
    cuda = PycudaProvider(gpu)
    with ExitStack() as resources:
        cuda.open()
        resources.callback(cuda.close)
        resources.enter_context(cuda.current())
        loaded = LoadedPlan(vendor, plan, metadata)
        resources.callback(loaded.close)
        loaded.load(content)
        return inspect_layers(vendor.trt, loaded.engine)


def _read_layers(plan: Path, metadata: EngineMetadata, content: bytes, gpu: int) -> _Layers:
    try:
        return _Layers(load_layers(plan, metadata, content, gpu))
    except BackendError as error:
        return _Layers(None, str(error))


def _print_layers(found: _Layers) -> None:
    if found.layers is None:
        sys.stdout.write(f"layers: unknown, the engine cannot be loaded here: {found.reason}\n")
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from edge_inference.cli.console_table import new_console

    console = new_console(sys.stdout, _PIPE_WIDTH)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("precision", "kind", "layer"):
        table.add_column(name)
    for layer in found.layers:
        table.add_row(layer.precision, layer.kind, Text(layer.name))
    sys.stdout.write("layers, from the engine inspector:\n")
    console.print(table)


def _as_json(plan: Path, metadata: EngineMetadata, found: _Layers | None) -> dict[str, Any]:
    content: dict[str, Any] = {"plan": str(plan), **dataclasses.asdict(metadata)}
    if found is not None:
        content["layers"] = (
            None if found.layers is None else [dataclasses.asdict(layer) for layer in found.layers]
        )
        content["layers_from"] = "inspector" if found.layers is not None else None
        content["layers_missing"] = found.reason
    return content
