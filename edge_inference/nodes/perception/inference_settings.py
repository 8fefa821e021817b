"""Parameters of the inference node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edge_inference.core.models.model import PRECISIONS
from edge_inference.core.settings import setting
from edge_inference.engines.precision.int8_mode import EXACT, INT8_MODES
from edge_inference.engines.serving.selection import BACKEND_NAMES, EngineRequest
from edge_inference.nodes.perception.model_settings import ModelSettings
from edge_inference.nodes.throttle_client import ThrottleClientSettings

#: Parameters that go into a Request under their own name.
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
    """What to run a model in, how it has to prove itself, and what may be taken from it."""

    backend: str = setting(
        "auto",
        "engine to run the model in; auto takes the best that works here",
        choices=BACKEND_NAMES,
    )
    precision: str = setting(
        "auto",
        "what to compute in; auto is fp16 in TensorRT, else the model's most accurate",
        choices=("auto", *PRECISIONS),
    )
    int8_mode: str = setting(
        EXACT,
        "int8 on an x86 processor without VNNI: exact, or fast with 7-bit weights; elsewhere both "
        "are the same",
        choices=INT8_MODES,
    )
    threads: int = setting(1, "threads for one inference on the CPU", minimum=1, maximum=64)
    gpu: int = setting(0, "GPU index", minimum=0, maximum=63)
    stream_priority: str = setting(
        "normal",
        "which of several nodes' work a GPU does first",
        choices=("low", "normal", "high"),
    )
    cuda_graph: bool = setting(
        True, "record an inference on the GPU once and launch it as a whole from then on"
    )
    model_max_mb: int = setting(
        4096,
        "most memory that a model may declare to need for its weights, or for one tensor",
        unit="MiB",
        minimum=1,
        maximum=1 << 20,
    )
    fallback: bool = setting(
        True,
        "serve on ONNX Runtime while the engine asked for is built, or where it cannot run; "
        "otherwise configuring waits for it, or fails",
    )
    golden_check: str = setting(
        "refuse",
        "what to do with a model that does not find what its golden images show",
        choices=("refuse", "warn", "off"),
    )
    self_check: str = setting(
        "refuse",
        "what to do with an engine that computes something else than ONNX Runtime in fp32",
        choices=("refuse", "warn", "off"),
    )

    variants: tuple[str, ...] = setting(
        (),
        "what the platform manager may have served instead, most accurate first: <precision> or "
        "<model>:<precision>; empty for the cheaper precisions that the model can be had in",
    )

    def same_engine(self, other: InferenceSettings) -> bool:
        """Tell whether both need the same opened model."""
        return self.engine_values() == other.engine_values()

    def engine_values(self) -> dict[str, Any]:
        """Return the values of the parameters that choose an engine."""
        return {name: getattr(self, name) for name in ("model", "model_path", *_ENGINE)}

    def request(self) -> InferenceRequest:
        """Return the request for these settings; raises ModelError or ConfigError."""
        values = {name: getattr(self, name) for name in _ENGINE}
        return InferenceRequest(self.find_model(), **values, settings=self)


@dataclass(frozen=True)
class InferenceRequest(EngineRequest):
    """The engine request of an inference node, with the node's settings that it comes from."""

    settings: InferenceSettings = field(kw_only=True, compare=False)


def settings_of(request: EngineRequest) -> InferenceSettings:
    """Return the settings that a request of an inference node comes from."""
    assert isinstance(request, InferenceRequest)
    return request.settings
