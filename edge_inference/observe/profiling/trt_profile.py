"""Collects the times of layers that TensorRT's IProfiler reports after each inference."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edge_inference.backends.trt.layers import LayerPrecision
from edge_inference.observe.profiling.layer_profile import (
    UNKNOWN,
    LayerKind,
    LayerProfile,
    MeasuredRun,
    summarize_runs,
)

SOURCE = "TensorRT's IProfiler"


class TrtLayerRecorder:
    """Groups the reports by inference. TensorRT calls ``add`` inside of an inference."""

    def __init__(self) -> None:
        self._runs: list[MeasuredRun] = []
        self._current: dict[str, float] = {}

    def add(self, layer: str, ms: float) -> None:
        """Add the time of a layer on the GPU."""
        self._current[layer] = self._current.get(layer, 0.0) + ms

    def run(self, infer: Callable[[], object]) -> None:
        """Run one inference; its time includes the copies and the work of the CPU."""
        self._current = {}
        begin_ns = time.perf_counter_ns()
        infer()
        ms = (time.perf_counter_ns() - begin_ns) / 1e6
        self._runs.append(MeasuredRun(ms, self._current))

    def summarize(self, layers: Sequence[LayerPrecision], runs: int) -> LayerProfile:
        """Return the profile of the last ``runs`` inferences.

        ``layers`` are those of the engine inspector; without detailed verbosity it knows names
        only. Raises BackendError where TensorRT reported nothing.
        """
        inspected = {layer.name: layer for layer in layers}
        measured = self._runs[-runs:]
        names = dict.fromkeys(name for run in measured for name in run.layers_ms)
        kinds = {name: _kind(name, inspected.get(name)) for name in names}
        return summarize_runs(SOURCE, kinds, measured)


def _kind(name: str, layer: LayerPrecision | None) -> LayerKind:
    if layer is None:
        return LayerKind(name, UNKNOWN, device="GPU")
    return LayerKind(
        name, layer.kind or UNKNOWN, layer.precision, device="GPU", weighted=layer.weighted
    )
