"""Pictures in, model inputs out."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.preprocess import Preprocessor
from edge_inference.core.tensors import TensorBatch
from edge_inference.nodes.conversions.tensors import TensorListAdapter
from edge_inference.nodes.model_settings import ModelSettings
from edge_inference.nodes.picture_input import Picture, PictureSettings, subscribe_to_pictures
from edge_inference.nodes.stage import Stage


@dataclass(frozen=True)
class PreprocessSettings(ModelSettings, PictureSettings):
    """Parameters of the preprocess node."""


class Preprocess(Stage[Picture]):
    """Fits pictures of any size and encoding into the model's input tensor."""

    default_name = "preprocess"
    default_namespace = "ai"
    settings_class = PreprocessSettings

    def accept(self, settings: PreprocessSettings) -> None:
        """Refuse a model that cannot be read."""
        if not settings.same_model(self.parameters.current):
            settings.find_model()

    def open(self) -> None:
        """Read the model's input description."""
        super().open()
        self._load(self.parameters.current)
        self._tensors = self.publish_on("tensor", TensorListAdapter())

    def start(self) -> None:
        """Listen to pictures."""
        super().start()
        topic = subscribe_to_pictures(self, self.receive)
        self.health.awaits(f"pictures on {topic}")
        self.get_logger().info(f"waiting for pictures on {topic}")

    def model_name(self) -> str:
        """Return the model in use."""
        return self._model.name

    def adopt(self, old: PreprocessSettings, new: PreprocessSettings) -> None:
        """Change the model."""
        if not new.same_model(old):
            self._load(new)

    def process(self, item: Picture, settings: PreprocessSettings) -> TensorBatch:
        """Make the tensor."""
        tensor, geometry = self._preprocessor(item)
        tensor.flags.writeable = False
        return TensorBatch(
            {self._model.input.name: tensor},
            (geometry,),
            self._model.name,
            item.stamp_ns,
            item.frame_id,
        )

    def emit(self, output: TensorBatch) -> None:
        """Publish the tensor."""
        self._tensors.publish(output)

    def _load(self, settings: PreprocessSettings) -> None:
        self._model = settings.find_model()
        self._preprocessor = Preprocessor(self._model.input)
        self.health.note("model", self._model.name)
