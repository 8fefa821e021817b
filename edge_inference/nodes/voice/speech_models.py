"""Opens the speech models that nodes name in their parameters."""

from __future__ import annotations

from edge_inference.backends.base import Backend
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.models.model import default_search_path, parse_search_path
from edge_inference.errors import ModelError
from edge_inference.speech.recognition.speech_model import SpeechModel, find_speech_model

PLAN = ".plan"


def find_speech(name: str, model_path: str, task: str) -> SpeechModel:
    """Read a speech model's folder; ModelError for one of another task."""
    model = find_speech_model(name, (*parse_search_path(model_path), *default_search_path()))
    if model.task != task:
        raise ModelError(f"speech model {name!r}: expected one for {task}, got {model.task}")
    return model


def open_role(model: SpeechModel, role: str) -> Backend:
    """Check and open one file of a model with the backend that its ending names.

    A ``.plan`` is TensorRT's, everything else ONNX Runtime's. Raises BackendError or
    ModelError where that fails.
    """
    file = model.path(role)
    if file.suffix != PLAN:
        return OrtBackend(file, keeps_memory=False).open()
    from edge_inference.backends.trt.backend import TrtBackend

    return TrtBackend(file).open()
