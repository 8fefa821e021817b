"""Which precision each layer of a built plan computes in, and who says so."""

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
    """``source`` is "inspector" (what was built) or "network" (what was asked for)."""

    layers: tuple[LayerPrecision, ...]
    source: str


def report_layers(
    vendor: Vendor, plan: bytes, network: Any, options: BuildOptions, has_gpu: bool
) -> LayerReport:
    """Ask the engine inspector; where no engine can be loaded here, read the network."""
    if has_gpu:
        engine = _load(vendor, plan, options)
        if engine is not None:
            try:
                return LayerReport(inspect_layers(vendor.trt, engine), "inspector")
            except BackendError:
                pass  # a form of report that is not known yet: the network still tells
    return LayerReport(layer_precisions(network), "network")


def _load(vendor: Vendor, plan: bytes, options: BuildOptions) -> Any:
    runtime = vendor.trt.Runtime(vendor.logger)
    core = dla_core(options)
    if core is not None:
        runtime.DLA_core = core
    if options.version_compatible:
        runtime.engine_host_code_allowed = True  # we built it ourselves a moment ago
    return runtime.deserialize_cuda_engine(plan)
