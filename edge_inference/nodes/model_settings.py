"""The parameters by which preprocess, inference and decode agree on a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_inference.core.inference_state import InferenceState
from edge_inference.core.model import (
    ModelDescription,
    default_search_path,
    find_model,
    search_folders,
)
from edge_inference.core.settings import setting
from edge_inference.nodes.stage import Stage, StageSettings


@dataclass(frozen=True)
class ModelSettings(StageSettings):
    """A stage that belongs to a model."""

    model: str = setting("nanodet", "model folder: a name on the model path, or a path to it")
    model_path: str = setting(
        "", "folders to look in before $EDGE_INFERENCE_MODELS and the shipped ones, colon-separated"
    )

    def find_model(self) -> ModelDescription:
        """Read the model folder; raises ModelError or ConfigError."""
        folders = (*search_folders(self.model_path), *default_search_path())
        return find_model(self.model, folders)

    def same_model(self, other: ModelSettings) -> bool:
        """Tell whether both name the same model."""
        return (self.model, self.model_path) == (other.model, other.model_path)


def follow(stage: Stage[Any], state: InferenceState) -> None:
    """Change a stage's model where the inference node has just left it for another one.

    A change that waits for the next frame counts as done.
    """
    settings = stage.parameters.current
    name = stage.model_name()
    if not settings.same_model(stage.adopted):
        name = settings.find_model().name
    if state.previous_model == name != state.model_name:
        stage.parameters.set({"model": state.model, "model_path": state.model_path})
