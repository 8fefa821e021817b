"""Raw outputs in, results in source pixels out."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from edge_inference.core.decoders.detection import check_classes
from edge_inference.core.exhaustive import unhandled_error
from edge_inference.core.models.model import RESULT_TYPES, ModelDescription
from edge_inference.core.results import Classification, DepthMap, Detections, Result, Segmentation
from edge_inference.core.tensors import TensorBatch
from edge_inference.errors import ConfigError, TensorError
from edge_inference.nodes.conversions.inference_state import InferenceStateAdapter
from edge_inference.nodes.conversions.maps import caution
from edge_inference.nodes.conversions.numbers import Float32Adapter
from edge_inference.nodes.conversions.results import result_adapters
from edge_inference.nodes.conversions.tensors import TensorListAdapter
from edge_inference.nodes.parameters import NodeParameters
from edge_inference.nodes.perception.model_settings import ModelFollower, ModelSettings
from edge_inference.nodes.stage import FrameDropped, Stage

#: Topic of each kind of result.
TOPICS: dict[type[Any], str] = {
    Detections: "detections",
    Classification: "classification",
    Segmentation: "segmentation",
    DepthMap: "depth",
}


class Decode(Stage[TensorBatch]):
    """Turns a model's raw outputs into detections, classes, masks or depth.

    The decoder's own settings (confidence, iou …) are parameters too while the
    node is configured; their defaults come from the model folder. A model that
    comes back has the values that it was left with.
    """

    default_name = "decode"
    default_namespace = "ai"
    settings_class = ModelSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._decoder: NodeParameters[Any] | None = None
        self._model: ModelDescription
        self._before: tuple[ModelDescription, Any] | None = None
        #: Decoder settings by model folder, as they were when the model was left.
        self._left: dict[Path, Any] = {}

    def accept(self, settings: ModelSettings) -> None:
        """Refuse a model that cannot be read."""
        if not settings.same_model(self.parameters.current):
            settings.find_model()

    def open(self) -> None:
        """Read the model's decoder and declare its parameters."""
        super().open()
        self._adapters = result_adapters()
        self._left.clear()
        self._follower = ModelFollower(self)
        self._publishers_by_kind: dict[type[Any], Any] = {}
        self._scores = self.publish_on("inference_result", Float32Adapter())
        self._load(self.parameters.current)

    def start(self) -> None:
        """Listen to raw outputs."""
        super().start()
        states = InferenceStateAdapter()
        self.subscribe_to("inference_state", states, self._follower.hear, exclusive=True)
        self.subscribe_to("raw_output", TensorListAdapter(), self.receive, exclusive=True)

    def close(self) -> None:
        """Withdraw the decoder's parameters."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def model_name(self) -> str:
        """Return the model in use."""
        return self._model.name

    def adopt(self, old: ModelSettings, new: ModelSettings) -> None:
        """Change the model."""
        if not new.same_model(old):
            self._load(new)

    def process(self, item: TensorBatch, settings: ModelSettings) -> list[Result]:
        """Decode every image of the batch."""
        model, chosen = self._decoding(item.model)
        if not item.geometry:
            raise TensorError("raw output without geometry: expected one entry for each image")
        results = []
        for index, geometry in enumerate(item.geometry):
            if index and self._mailbox.is_closed:
                raise FrameDropped("stopped")
            outputs = item.tensors
            if len(item.geometry) > 1:
                outputs = {name: array[index : index + 1] for name, array in outputs.items()}
            result = model.decode(outputs, geometry, chosen)
            results.append(
                replace(result, model=model.name, stamp_ns=item.stamp_ns, frame_id=item.frame_id)
            )
        return results

    def emit(self, output: list[Result]) -> None:
        """Publish the results and their best scores."""
        for result in output:
            self._publishers_by_kind[type(result)].publish(result)
            self.health.advise(caution(result))
            score = top_score(result)
            if score is not None:
                self._scores.publish(score)

    def _decoding(self, name: str) -> tuple[ModelDescription, Any]:
        """Return model and decoder settings for a raw output; the model before may have made it."""
        assert self._decoder is not None
        if name == self._model.name:
            return self._model, self._decoder.current
        if self._before is not None and name == self._before[0].name:
            return self._before
        raise TensorError(
            f"raw output of model {name!r}; this node decodes {self._model.name!r}: set the "
            "parameter model of the inference node, and the others follow"
        )

    def _load(self, settings: ModelSettings) -> None:
        model = settings.find_model()
        kind = RESULT_TYPES[model.task]
        if kind not in self._publishers_by_kind:
            publisher = self.publish_on(TOPICS[kind], self._adapters[kind])
            self._publishers_by_kind[kind] = publisher
        before = (self._model, self._decoder.current) if self._decoder is not None else None
        self._declare(model)
        self._model, self._before = model, before
        self.health.note("model", model.name)
        self.health.note("decoder", model.decoder)

    def _declare(self, model: ModelDescription) -> None:
        """Replace the decoder's parameters; the old ones come back where the new are refused."""
        old = self._decoder.current if self._decoder is not None else None
        if old is not None:
            self._left[self._model.folder] = old
        self.close()
        try:
            self._decoder = self._parameters_of(model, model.decoder_settings)
            left = self._left.get(model.folder)
            if type(left) is type(model.decoder_settings):
                self._decoder.restore(left)
        except ConfigError:
            if old is not None:
                self._decoder = self._parameters_of(self._model, old)
                self._decoder.restore(old)
            raise

    def _parameters_of(self, model: ModelDescription, settings: Any) -> NodeParameters[Any]:
        accept = partial(check_classes, labels=model.labels)
        made = NodeParameters(self, type(settings), defaults=asdict(settings), accept=accept)
        try:
            accept(made.current)
        except ConfigError as error:
            made.close()
            raise ConfigError(f"parameter {error}") from error
        return made


def top_score(result: Result) -> float | None:
    """Return the best score, NaN where nothing was found, None where results have no score."""
    if isinstance(result, DepthMap):
        return None
    if isinstance(result, Segmentation):
        return result.score
    if isinstance(result, Detections | Classification):
        return float(result.scores[0]) if len(result) else math.nan
    raise unhandled_error(result, "best score")
