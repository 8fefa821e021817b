"""Files for voice that nodes name in their parameters; empty for the shipped one."""

from __future__ import annotations

from pathlib import Path

from edge_inference.backends.base import Backend
from edge_inference.backends.ort import OrtBackend
from edge_inference.composition.pipeline import share_folder
from edge_inference.core.models.model import default_search_path, search_folders
from edge_inference.errors import ConfigError, ModelError
from edge_inference.speech.language.grammar import Grammar
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.planning.limits import VoiceLimits, read_limits
from edge_inference.speech.planning.scene_sentences import SceneNames, read_names
from edge_inference.speech.recognition.speech_model import SpeechModel, find_speech_model

_TENSORRT_SUFFIX = ".plan"


def load_grammar(file: str) -> Grammar:
    """Read a grammar file. Raises ConfigError with file and line."""
    return read_grammar(_path(file, "grammar.yaml"))


def load_limits(file: str) -> VoiceLimits:
    """Read a limits file. Raises ConfigError with file and line."""
    return read_limits(_path(file, "limits.yaml"))


def load_scene_names(file: str) -> SceneNames:
    """Read a file of names for what is seen. Raises ConfigError with file and line."""
    return read_names(_path(file, "scene.yaml"))


def _path(file: str, shipped: str) -> Path:
    try:
        return Path(file).expanduser() if file else share_folder() / "config" / "voice" / shipped
    except RuntimeError as error:
        raise ConfigError(f"{file}: no such user is known here; write the folder out") from error


def load_speech_model(name: str, model_path: str, task: str) -> SpeechModel:
    """Read a speech model's folder; ModelError for one of another task."""
    model = find_speech_model(name, (*search_folders(model_path), *default_search_path()))
    if model.task != task:
        raise ModelError(f"speech model {name!r}: expected one for {task}, got {model.task}")
    return model


def open_backend(model: SpeechModel, role: str) -> Backend:
    """Check and open one file of a model with the backend that its ending names.

    A ``.plan`` is TensorRT's, everything else ONNX Runtime's. Raises BackendError or
    ModelError where that fails.
    """
    file = model.path(role)
    if file.suffix != _TENSORRT_SUFFIX:
        return OrtBackend(file, keeps_memory=False).open()
    from edge_inference.backends.trt.backend import TrtBackend

    return TrtBackend(file).open()
