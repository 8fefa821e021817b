"""Parameters of the inference node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_inference.core.models.variants import PRECISIONS
from edge_inference.core.settings import setting
from edge_inference.engines.precision.int8_mode import EXACT, INT8_MODES
from edge_inference.engines.serving.backend_table import EngineRequest, check_backend_name
from edge_inference.errors import PluginError
from edge_inference.nodes.perception.model_settings import ModelSettings
from edge_inference.nodes.throttle_client import ThrottleClientSettings

#: Parameters that are fields of an EngineRequest under the same name.
_ENGINE = (
    "backend",
    "precision",
    "int8_mode",
    "threads",
    "gpu",
    "stream_priority",
    "cuda_graph",
    "model_max_mb",
)


@dataclass(frozen=True)
class InferenceSettings(ThrottleClientSettings, ModelSettings):
    """The engine of a model, its checks, and the limits that the platform manager may set."""

    backend: str = setting(
        "auto",
        "engine that runs the model: trt, ort-cuda, ort, null, or that of an installed package; "
        "auto: the best of the first three that works here",
    )
    precision: str = setting(
        "auto",
        "precision of the computation; auto: fp16 in TensorRT, else the model's most accurate",
        choices=("auto", *PRECISIONS),
    )
    int8_mode: str = setting(
        EXACT,
        "int8 on an x86 CPU without VNNI: exact, or fast with 7-bit weights; on other "
        "CPUs both are the same",
        choices=INT8_MODES,
    )
    threads: int = setting(1, "threads for one inference on the CPU", minimum=1, maximum=64)
    gpu: int = setting(0, "GPU index", minimum=0, maximum=63)
    stream_priority: str = setting(
        "normal",
        "priority of this node's work on the GPU among several nodes",
        choices=("low", "normal", "high"),
    )
    cuda_graph: bool = setting(
        True, "record an inference on the GPU as a CUDA graph and launch it as a whole"
    )
    model_max_mb: int = setting(
        4096,
        "maximum memory that a model may declare for its weights, or for one tensor",
        unit="MiB",
        minimum=1,
        maximum=1 << 20,
    )
    fallback: bool = setting(
        True,
        "serve with ONNX Runtime while the requested engine is built, or where it cannot run; "
        "false: configuring waits for the engine, or fails",
    )
    golden_check: str = setting(
        "refuse",
        "what to do with a model whose results on its golden images are wrong",
        choices=("refuse", "warn", "off"),
    )
    self_check: str = setting(
        "refuse",
        "what to do with an engine whose results differ from ONNX Runtime in fp32",
        choices=("refuse", "warn", "off"),
    )

    variants: tuple[str, ...] = setting(
        (),
        "alternatives that the platform manager may select, most accurate first: <precision> or "
        "<model>:<precision>; empty: the operating_points of model.yaml, or without these the "
        "cheaper precisions in which the model is available",
    )

    adapt_to_load: bool = setting(
        False,
        "go to a cheaper operating point while images arrive faster than this node can process "
        "them, and back when the better one can",
    )

    def check(self) -> str | None:
        """Refuse a backend that no installed package has."""
        try:
            check_backend_name(self.backend)
        except PluginError as error:
            return f"backend: {error}"
        return None

    def same_engine(self, other: InferenceSettings) -> bool:
        """Tell whether both select the same engine."""
        return self.engine_values() == other.engine_values()

    def engine_values(self) -> dict[str, Any]:
        """Return the values of the parameters that select an engine."""
        return {
            "model": self.model,
            "model_path": self.model_path,
            **self.engine_request_values(),
        }

    def request(self) -> EngineRequest:
        """Return the request for these settings; raises ModelError or ConfigError."""
        return EngineRequest(self.find_model(), **self.engine_request_values())

    def engine_request_values(self) -> dict[str, Any]:
        """Return the fields of the request besides the model."""
        return {name: getattr(self, name) for name in _ENGINE}
