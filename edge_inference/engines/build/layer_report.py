"""Reports the precision of each layer of a built plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_inference.backends.trt.layers import LayerPrecision, inspect_layers
from edge_inference.backends.trt.vendor import Vendor
from edge_inference.engines.build.build_config import dla_core
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.network import layer_precisions
from edge_inference.errors import BackendError


@dataclass(frozen=True)
class LayerReport:
    """Layers; ``source`` is "inspector" (of the built engine) or "network" (of the ONNX)."""

    layers: tuple[LayerPrecision, ...]
    source: str


def report_layers(
    vendor: Vendor, plan: bytes, network: Any, options: BuildOptions, has_gpu: bool
) -> LayerReport:
    """Read the layers from the engine inspector, or from the network if no engine loads here."""
    if has_gpu:
        engine = _load(vendor, plan, options)
        if engine is not None:
            try:
                return LayerReport(inspect_layers(vendor.trt, engine), "inspector")
            except BackendError:
                pass  # an unknown report format: use the network instead
    return LayerReport(layer_precisions(network), "network")


def _load(vendor: Vendor, plan: bytes, options: BuildOptions) -> Any:
    runtime = vendor.trt.Runtime(vendor.logger)
    core = dla_core(options)
    if core is not None:
        runtime.DLA_core = core
    if options.version_compatible:
        runtime.engine_host_code_allowed = True  # safe: this process built the plan
    return runtime.deserialize_cuda_engine(plan)
