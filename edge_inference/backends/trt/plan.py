"""A loaded plan: TensorRT's runtime and engine, their bindings and precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_inference.backends.trt.bindings import Binding, read_bindings
from edge_inference.backends.trt.layers import inspect_layers, main_precision
from edge_inference.backends.trt.metadata import REBUILD_HINT, EngineMetadata
from edge_inference.backends.trt.vendor import Vendor, first_reason
from edge_inference.errors import BackendError, EngineFileError


class LoadedPlan:
    """A plan on the GPU. Use it inside the provider's ``current``, also to close it.

    Other code reaches TensorRT's objects through this class only. ``close`` therefore frees
    them, even if a traceback still refers to a function that used them.
    """

    def __init__(self, vendor: Vendor, file: Path, metadata: EngineMetadata) -> None:
        self.vendor = vendor
        self.file = file
        self.metadata = metadata
        self.bindings: tuple[Binding, ...] = ()
        self.runtime: Any = None
        self.engine: Any = None
        self._profiler: Any = None

    def load(self, content: bytes) -> None:
        """Deserialize the plan. Raises BackendError where TensorRT refuses it."""
        trt = self.vendor.trt
        with self.vendor.errors.collect() as lines:
            self.runtime = trt.Runtime(self.vendor.logger)
            self._prepare_runtime()
            self.engine = self.runtime.deserialize_cuda_engine(content)
        if self.engine is None:
            reason = first_reason(lines, "it gives no reason")
            raise EngineFileError(
                f"{self.file}: {self.vendor.title} cannot load the plan: {reason}; {REBUILD_HINT}"
            )
        self.bindings = read_bindings(trt, self, self.metadata)

    def make_context(self, stream: int) -> Any:
        """Make an execution context, or return None without memory for one more.

        TensorRT adds the reason to the vendor's errors; the caller reports it.
        """
        context = self.engine.create_execution_context()
        # The first context has the only profile already; later ones have none.
        if context is not None and not context.set_optimization_profile_async(0, stream):
            return None
        if context is not None and self._profiler is not None:
            context.profiler = self._profiler
        return context

    def report_layers(self, report: Callable[[str, float], None]) -> None:
        """Let the contexts that are made from now on report the milliseconds of each layer."""
        self._profiler = make_profiler(self.vendor.trt, report)

    def precision(self) -> str | None:
        """Return the precision of most of the work, None if unknown."""
        try:
            found = main_precision(inspect_layers(self.vendor.trt, self.engine))
        except BackendError:  # the inspector's format is unknown
            found = None
        counts = self.metadata.layer_precisions
        return found or max(counts, key=lambda name: counts[name], default=None)

    def close(self) -> None:
        """Free engine and runtime, in this order."""
        self.bindings = ()
        self.engine = None
        self.runtime = None
        self._profiler = None

    def _prepare_runtime(self) -> None:
        # A version-compatible plan contains its own runtime, which must be allowed.
        if self.metadata.version_compatible and hasattr(self.runtime, "engine_host_code_allowed"):
            self.runtime.engine_host_code_allowed = True
        core = self.metadata.options.get("dla_core")
        if isinstance(core, int) and hasattr(self.runtime, "DLA_core"):
            self.runtime.DLA_core = core


def make_profiler(trt: Any, report: Callable[[str, float], None]) -> Any:
    """Return an object that TensorRT tells the time of each layer after an inference."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        """Passes the times on."""

        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            report(layer_name, ms)

    return Profiler()
