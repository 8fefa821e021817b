"""The files that the voice nodes name in their parameters: grammar, limits, names and models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_inference.backends.base import Backend
from edge_inference.backends.ort import OrtBackend
from edge_inference.composition.pipeline import share_folder
from edge_inference.core.models.model_search import default_search_path, parse_search_path
from edge_inference.core.settings import setting
from edge_inference.errors import ConfigError, ModelError
from edge_inference.speech.actions.limits import VoiceLimits
from edge_inference.speech.actions.limits_file import read_limits
from edge_inference.speech.language.grammar import Grammar
from edge_inference.speech.language.grammar_actions import check_actions
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.planning.scene_sentences import SceneNames, read_names
from edge_inference.speech.recognition.speech_model import SpeechModel, find_speech_model

_TENSORRT_SUFFIX = ".plan"


@dataclass(frozen=True)
class GrammarSettings:
    """The parameter of each node that reads a grammar."""

    grammar: str = setting("", "grammar file; empty for the shipped one")


@dataclass(frozen=True)
class ModelPathSettings:
    """The parameter of each node that opens a model folder by its name."""

    model_path: str = setting(
        "",
        "folders to search before $EDGE_INFERENCE_MODELS and the shipped models, separated by "
        "colons",
        read_only=True,
    )


def load_grammar(file: str) -> Grammar:
    """Read a grammar file, the shipped one for an empty name; ConfigError with file and line.

    Each intent must have an action, and each slot must be one that the action reads.
    """
    grammar = read_grammar(_path(file, "grammar.yaml"))
    check_actions(grammar)
    return grammar


def load_limits(file: str) -> VoiceLimits:
    """Read a limits file, the shipped one for an empty name; ConfigError with file and line."""
    return read_limits(_path(file, "limits.yaml"))


def load_scene_names(file: str) -> SceneNames:
    """Read the spoken names of labels, the shipped ones for an empty name; ConfigError as above."""
    return read_names(_path(file, "scene.yaml"))


def load_speech_model(name: str, model_path: str, task: str) -> SpeechModel:
    """Read the folder of a speech model; ModelError if the model is for another task."""
    model = find_speech_model(name, (*parse_search_path(model_path), *default_search_path()))
    if model.task != task:
        raise ModelError(f"speech model {name!r}: expected one for {task}, got {model.task}")
    return model


def open_backend(model: SpeechModel, role: str) -> Backend:
    """Check one file of a model and open it with the backend for its suffix.

    TensorRT opens ``.plan``, ONNX Runtime everything else. Raises BackendError or ModelError.
    """
    file = model.path(role)
    if file.suffix != _TENSORRT_SUFFIX:
        return OrtBackend(file, keeps_memory=False).open()
    from edge_inference.backends.trt.backend import TrtBackend

    return TrtBackend(file).open()


def _path(file: str, shipped: str) -> Path:
    try:
        return Path(file).expanduser() if file else share_folder() / "config" / "voice" / shipped
    except RuntimeError as error:
        raise ConfigError(
            f"{file}: expected a path, got one of an unknown user; write the folder out"
        ) from error
