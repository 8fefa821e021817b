"""The decode node: converts raw outputs to results in source pixels."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from edge_inference.composition.bus import Publisher
from edge_inference.core.decoders.detection import check_classes
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.results import Result, ResultKind
from edge_inference.core.tensors import TensorBatch
from edge_inference.errors import ConfigError, TensorError
from edge_inference.nodes.conversions.inference_state import InferenceStateAdapter
from edge_inference.nodes.conversions.numbers import Float32Adapter
from edge_inference.nodes.conversions.results.adapter_choice import result_adapter
from edge_inference.nodes.conversions.tensors import TensorListAdapter
from edge_inference.nodes.parameters import NodeParameters
from edge_inference.nodes.perception.class_announcer import ClassAnnouncer
from edge_inference.nodes.perception.model_settings import ModelFollower, ModelSettings
from edge_inference.nodes.stage import FrameDropped, Stage


class Decode(Stage[TensorBatch]):
    """Converts a model's raw outputs to detections, classifications, masks or other results.

    While the node is configured, the decoder's settings (confidence, iou …) are parameters
    too; their defaults come from the model folder. The values of a previous model
    are restored when it is selected again.
    """

    default_name = "decode"
    default_namespace = "ai"
    settings_class = ModelSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._decoder: NodeParameters[Any] | None = None
        self._model: ModelDescription
        self._previous: tuple[ModelDescription, Any] | None = None
        #: The last decoder settings of previous models, by model folder.
        self._saved: dict[Path, Any] = {}

    def accept(self, settings: ModelSettings) -> None:
        """Reject a model that cannot be read, or whose results cannot be published."""
        if not settings.same_model(self.parameters.current):
            result_adapter(settings.find_model().kind)

    def open(self) -> None:
        """Read the model's decoder and declare its parameters."""
        super().open()
        self._saved.clear()
        self._follower = ModelFollower(self)
        #: The kinds of the models so far, with their publishers, by the type of the results.
        self._outputs: dict[type[Any], tuple[ResultKind[Any], Publisher[Any]]] = {}
        self._scores = self.make_publisher("inference_result", Float32Adapter())
        self._announcer = ClassAnnouncer(self)
        self._load(self.parameters.current)

    def start(self) -> None:
        """Publish the model's classes, and subscribe to raw outputs."""
        super().start()
        self._announce_classes()
        states = InferenceStateAdapter()
        self.subscribe_to("inference_state", states, self._follower.on_state, exclusive=True)
        self.subscribe_to("raw_output", TensorListAdapter(), self.receive, exclusive=True)

    def close(self) -> None:
        """Withdraw the decoder's parameters."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def model_name(self) -> str:
        """Return the model in use."""
        return self._model.name

    def apply_settings(self, old: ModelSettings, new: ModelSettings) -> None:
        """Switch to another model, and publish its classes before its first result."""
        if not new.same_model(old):
            try:
                self._load(new)
            finally:  # after a failure the old model has new parameters
                self._announce_classes()

    def process(self, item: TensorBatch, settings: ModelSettings) -> list[Result]:
        """Decode every image of the batch."""
        model, decoder_settings = self._find_decoder(item.model)
        if not item.geometry:
            raise TensorError("raw output without geometry: expected one entry for each image")
        results = []
        for index, geometry in enumerate(item.geometry):
            if index and self._mailbox.is_closed:
                raise FrameDropped("stopped")
            result = model.decode(item.outputs_of(index), geometry, decoder_settings)
            results.append(
                replace(result, model=model.name, stamp_ns=item.stamp_ns, frame_id=item.frame_id)
            )
        return results

    def emit(self, output: list[Result]) -> None:
        """Publish the results and their best scores."""
        for result in output:
            kind, publisher = self._outputs[type(result)]
            publisher.publish(result)
            self.health.set_warning("" if kind.warning is None else kind.warning(result))
            if kind.top_score is not None:
                self._scores.publish(kind.top_score(result))

    def _announce_classes(self) -> None:
        assert self._decoder is not None
        self._announcer.use(self._model, self._decoder)

    def _find_decoder(self, name: str) -> tuple[ModelDescription, Any]:
        """Return model and decoder settings for a raw output of the current or previous model."""
        assert self._decoder is not None
        if name == self._model.name:
            return self._model, self._decoder.current
        if self._previous is not None and name == self._previous[0].name:
            return self._previous
        raise TensorError(
            f"raw output: expected model {self._model.name!r}, got {name!r}; set the "
            "parameter model of the inference node, which the other nodes follow"
        )

    def _load(self, settings: ModelSettings) -> None:
        model = settings.find_model()
        kind = model.kind
        if kind.result_type not in self._outputs:
            publisher = self.make_publisher(kind.topic, result_adapter(kind))
            self._outputs[kind.result_type] = kind, publisher
        previous = (self._model, self._decoder.current) if self._decoder is not None else None
        self._declare(model)
        self._model, self._previous = model, previous
        self.health.note("model", model.name)
        self.health.note("decoder", model.decoder)

    def _declare(self, model: ModelDescription) -> None:
        """Replace the decoder's parameters; restores the old ones where the new are rejected."""
        old = self._decoder.current if self._decoder is not None else None
        if old is not None:
            self._saved[self._model.folder] = old
        self.close()
        try:
            self._decoder = self._make_parameters(model, model.decoder_settings)
            saved = self._saved.get(model.folder)
            if type(saved) is type(model.decoder_settings):
                self._decoder.restore(saved)
        except ConfigError:
            if old is not None:
                self._decoder = self._make_parameters(self._model, old)
                self._decoder.restore(old)
            raise

    def _make_parameters(self, model: ModelDescription, settings: Any) -> NodeParameters[Any]:
        accept = partial(check_classes, labels=model.labels)
        parameters = NodeParameters(
            self,
            type(settings),
            defaults=asdict(settings),
            accept=accept,
            on_change=self.guard(lambda _: self._announcer.on_change(parameters)),
        )
        try:
            accept(parameters.current)
        except ConfigError as error:
            parameters.close()
            raise ConfigError(f"parameter {error}") from error
        return parameters
