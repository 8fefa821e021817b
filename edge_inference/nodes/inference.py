"""Model inputs in, raw outputs out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_inference.backends.base import Backend
from edge_inference.backends.select import BACKEND_NAMES, select_backend
from edge_inference.core.golden_check import check_golden
from edge_inference.core.model import PRECISIONS, ModelDescription
from edge_inference.core.settings import setting
from edge_inference.core.tensors import TensorBatch
from edge_inference.errors import ModelError, TensorError
from edge_inference.nodes.conversions.tensors import TensorListAdapter
from edge_inference.nodes.model_settings import ModelSettings
from edge_inference.nodes.stage import Stage


@dataclass(frozen=True)
class InferenceSettings(ModelSettings):
    """Parameters of the inference node."""

    backend: str = setting(
        "auto",
        "engine to run the model in; auto takes the best that works here",
        choices=BACKEND_NAMES,
    )
    precision: str = setting(
        "auto", "variant of the model; auto takes its most accurate", choices=("auto", *PRECISIONS)
    )
    threads: int = setting(1, "threads for one inference on the CPU", minimum=1, maximum=64)
    golden_check: str = setting(
        "refuse",
        "what to do with a model that does not find what its golden pictures show",
        choices=("refuse", "warn", "off"),
    )

    def same_engine(self, other: InferenceSettings) -> bool:
        """Tell whether both need the same opened model."""
        return self.same_model(other) and (self.backend, self.precision, self.threads) == (
            other.backend,
            other.precision,
            other.threads,
        )


class Inference(Stage[TensorBatch]):
    """Runs a model; a changed model, backend or precision is opened before the old one goes."""

    default_name = "inference"
    default_namespace = "ai"
    settings_class = InferenceSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._backend: Backend | None = None
        self._model: ModelDescription

    def accept(self, settings: InferenceSettings) -> None:
        """Refuse a model, backend or precision that cannot run here."""
        if not settings.same_engine(self.parameters.current):
            select_backend(
                settings.backend, settings.find_model(), settings.precision, settings.threads
            )

    def open(self) -> None:
        """Open the model and check it on its golden pictures, which also warms it up."""
        super().open()
        self._outputs = self.publish_on("raw_output", TensorListAdapter())
        self._load(self.parameters.current)

    def start(self) -> None:
        """Listen to tensors."""
        super().start()
        self.subscribe_to("tensor", TensorListAdapter(), self.receive)

    def close(self) -> None:
        """Free the model."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def model_name(self) -> str:
        """Return the model in use."""
        return self._model.name

    def adopt(self, old: InferenceSettings, new: InferenceSettings) -> None:
        """Open what the settings ask for; the old model goes on where that fails."""
        if not new.same_engine(old):
            self._load(new)

    def process(self, item: TensorBatch, settings: InferenceSettings) -> TensorBatch:
        """Run the model once."""
        if item.model != self._model.name:
            raise TensorError(
                f"tensor for model {item.model!r}; this node runs {self._model.name!r}: set the "
                "parameter model of preprocess, inference and decode alike"
            )
        for name, tensor in item.tensors.items():
            if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
                raise TensorError(
                    f"tensor {name!r} has NaN or infinite values; expected finite ones"
                )
        assert self._backend is not None
        outputs = self._backend.infer(item.tensors)
        return TensorBatch(outputs, item.geometry, item.model, item.stamp_ns, item.frame_id)

    def emit(self, output: TensorBatch) -> None:
        """Publish the raw outputs."""
        self._outputs.publish(output)

    def _load(self, settings: InferenceSettings) -> None:
        model = settings.find_model()
        selection = select_backend(settings.backend, model, settings.precision, settings.threads)
        backend = selection.backend
        backend.open()
        try:
            self._check(model, backend, settings)
        except BaseException:
            backend.close()
            raise
        self.close()
        self._backend, self._model = backend, model
        self.get_logger().info(f"{model.name}: {backend.describe()} ({selection.reason})")
        self.health.note("model", model.name)
        self.health.note("backend", backend.describe())
        self.health.note("precision", selection.precision)
        self.health.note("reason", selection.reason)

    def _check(
        self, model: ModelDescription, backend: Backend, settings: InferenceSettings
    ) -> None:
        if settings.golden_check == "off" or backend.name == "null":
            return
        report = check_golden(model, backend.infer)
        self.health.note("golden check", report.summary())
        if report.passed:
            return
        error = ModelError(
            f"model {model.name} on {backend.describe()}: {report.summary()}; "
            "set golden_check to warn to run it all the same"
        )
        if settings.golden_check == "refuse":
            raise error
        self.get_logger().warning(str(error))
