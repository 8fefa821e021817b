"""The parameters by which preprocess, inference and decode agree on a model."""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import dataclass
from typing import Any

from edge_inference.core.inference_state import InferenceState, is_name, shown
from edge_inference.core.models.model import (
    ModelDescription,
    default_search_path,
    find_model,
    parse_search_path,
)
from edge_inference.core.settings import setting
from edge_inference.errors import EdgeInferenceError, InputError
from edge_inference.nodes.stage import Stage, StageSettings

#: States come once a second: a leader that has said nothing for so long is gone.
_LEADER_GONE_NS = 3_000_000_000


@dataclass(frozen=True)
class ModelSettings(StageSettings):
    """A stage that belongs to a model."""

    model: str = setting("nanodet", "model folder: a name on the model path, or a path to it")
    model_path: str = setting(
        "", "folders to look in before $EDGE_INFERENCE_MODELS and the shipped ones, colon-separated"
    )

    def find_model(self) -> ModelDescription:
        """Read the model folder; raises ModelError or ConfigError."""
        folders = (*parse_search_path(self.model_path), *default_search_path())
        return find_model(self.model, folders)

    def same_model(self, other: ModelSettings) -> bool:
        """Tell whether both name the same model."""
        return (self.model, self.model_path) == (other.model, other.model_path)


class ModelFollower:
    """Keeps a stage's model that of the inference node.

    A stage follows where the inference node has just left the stage's model for another one. From
    then on it keeps to that node, its leader, until the user sets another model on the stage. A
    state that came by reference is trusted. Topics carry names, not paths: of a state from outside
    the name of the model is taken, and looked up on the stage's own model path.
    """

    def __init__(self, stage: Stage[Any]) -> None:
        self._stage = stage
        self._lock = threading.Lock()
        self._leader = ""
        self._heard_ns = 0
        #: What was followed last; where the stage has another model, the user has chosen it.
        self._followed: ModelSettings | None = None

    def hear(self, state: InferenceState, by_reference: bool) -> None:
        """Follow a state; a change that waits for the next frame counts as done."""
        try:
            with self._lock:
                self._follow(state, by_reference, time.monotonic_ns())
        except EdgeInferenceError as error:
            sentence = f"InferenceState of {shown(state.node)}: {error}"
            self._stage.refuse(InputError(sentence), "model", lost=False)

    def _follow(self, state: InferenceState, by_reference: bool, now_ns: int) -> None:
        is_alone = not self._leader or now_ns - self._heard_ns > _LEADER_GONE_NS
        leads = is_alone or state.node == self._leader
        if state.node == self._leader:
            self._heard_ns = now_ns
        settings: ModelSettings = self._stage.parameters.current
        name = self._stage.model_name()
        if not settings.same_model(self._stage.adopted):
            name = settings.find_model().name
        if name != state.model_name:
            has_left_ours = name == state.previous_model and (leads or by_reference)
            followed = self._followed
            if not has_left_ours and not (
                leads and followed is not None and settings.same_model(followed)
            ):
                return
            self._change(settings, state, by_reference)
        elif not leads:
            return
        self._leader, self._heard_ns = state.node, now_ns

    def _change(self, settings: ModelSettings, state: InferenceState, by_reference: bool) -> None:
        model_path = state.model_path
        if not by_reference:
            model_path = settings.model_path
            self._check_is_name(state, model_path)
        new = dataclasses.replace(settings, model=state.model, model_path=model_path)
        if new != settings:
            new.find_model()
            self._stage.parameters.set({"model": new.model, "model_path": new.model_path})
        self._followed = new

    def _check_is_name(self, state: InferenceState, own_path: str) -> None:
        """Raise InputError for a state from outside with more than a name on our own path."""
        if is_name(state.model) and state.model_path in ("", own_path):
            return
        node = self._stage.get_fully_qualified_name()
        raise InputError(
            f"expected the name of a model, and model_path {own_path!r} as here or none; got "
            f"model {shown(state.model)}, model_path {shown(state.model_path)}: topics carry no "
            f"paths; if it is yours, set model and model_path of {node} to the same"
        )
