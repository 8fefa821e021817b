"""The parameters that select the model of preprocess, inference and decode nodes."""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import dataclass
from typing import Any

from edge_inference.composition.reception import Reception
from edge_inference.core.inference_state import InferenceState, is_model_name, quote
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import (
    default_search_path,
    find_model,
    parse_search_path,
)
from edge_inference.core.settings import setting
from edge_inference.errors import EdgeInferenceError, InputError
from edge_inference.nodes.stage import Stage, StageSettings

#: States come once a second: a leader that sends none for this long is gone.
_LEADER_TIMEOUT_NS = 3_000_000_000


@dataclass(frozen=True)
class ModelSettings(StageSettings):
    """The model of a stage."""

    model: str = setting("nanodet", "model folder: a name on the model path, or a path")
    model_path: str = setting(
        "",
        "folders to search before $EDGE_INFERENCE_MODELS and the shipped models, separated by "
        "colons",
    )

    def find_model(self) -> ModelDescription:
        """Read the model folder; raises ModelError or ConfigError."""
        folders = (*parse_search_path(self.model_path), *default_search_path())
        return find_model(self.model, folders)

    def same_model(self, other: ModelSettings) -> bool:
        """Tell whether both name the same model."""
        return (self.model, self.model_path) == (other.model, other.model_path)


class ModelFollower:
    """Keeps a stage's model the same as that of the inference node.

    A stage follows an inference node that switches from the stage's model to another one. From
    then on that node is its leader, until the user sets another model on the stage. A
    state that came by reference is trusted. From a state that came in a message, the stage uses
    only the name of the model, and finds it on its own model path.
    """

    def __init__(self, stage: Stage[Any]) -> None:
        self._stage = stage
        self._lock = threading.Lock()
        self._leader = ""
        self._last_state_ns = 0
        #: The last settings by following; where the stage has another model, the user set it.
        self._followed: ModelSettings | None = None

    def on_state(self, state: InferenceState, reception: Reception) -> None:
        """Follow a state; a model that the stage loads at the next frame counts as loaded."""
        try:
            with self._lock:
                self._follow(state, reception.by_reference, time.monotonic_ns())
        except EdgeInferenceError as error:
            message = f"InferenceState of {quote(state.node)}: {error}"
            self._stage.report_error(InputError(message), "model", lost=False)

    def _follow(self, state: InferenceState, by_reference: bool, now_ns: int) -> None:
        is_alone = not self._leader or now_ns - self._last_state_ns > _LEADER_TIMEOUT_NS
        leads = is_alone or state.node == self._leader
        if state.node == self._leader:
            self._last_state_ns = now_ns
        settings: ModelSettings = self._stage.parameters.current
        name = self._stage.model_name()
        if not settings.same_model(self._stage.active_settings):
            name = settings.find_model().name
        if name != state.model_name:
            has_switched = name == state.previous_model and (leads or by_reference)
            followed = self._followed
            if not has_switched and not (
                leads and followed is not None and settings.same_model(followed)
            ):
                return
            self._change(settings, state, by_reference)
        elif not leads:
            return
        self._leader, self._last_state_ns = state.node, now_ns

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
        """Raise InputError for a state from outside that has a path or another model_path."""
        if is_model_name(state.model) and state.model_path in ("", own_path):
            return
        node = self._stage.get_fully_qualified_name()
        raise InputError(
            f"expected a model name, and the own model_path {own_path!r} or none; got "
            f"model {quote(state.model)}, model_path {quote(state.model_path)}: paths from topics "
            f"are not used; set model and model_path of {node} to the same values if you trust them"
        )
