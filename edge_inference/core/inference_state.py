"""The state of an inference node: the model and engine that it actually runs."""

from __future__ import annotations

from dataclasses import dataclass

#: The maximum length of a folder name.
_MAX_NAME = 255
_MAX_QUOTE = 120


@dataclass(frozen=True)
class InferenceState:
    """The content of ``msg/InferenceState``.

    ``model`` is the value of the parameter, a name or a path; ``model_name`` and
    ``previous_model`` are names of model folders. ``progress`` is None where no engine is being
    prepared, or its progress is unknown. ``max_rate_hz`` is None where the rate is not limited.
    """

    node: str
    model: str
    model_path: str
    model_name: str
    previous_model: str
    backend: str
    precision: str
    engine: str
    takes_images: bool
    preparing: str
    progress: float | None
    problem: str
    max_rate_hz: float | None = None
    stamp_ns: int = 0
    frame_id: str = ""


def is_model_name(model: str) -> bool:
    """Tell whether a text is the plain name of a model folder, and not a path."""
    return (
        0 < len(model) <= _MAX_NAME
        and model.isprintable()
        and not model.startswith((".", "~"))
        and ".." not in model
        and not any(separator in model for separator in "/\\")
    )


def quote(text: str) -> str:
    """Quote a text from outside in one line, cut to a maximum length."""
    return repr(text if len(text) <= _MAX_QUOTE else f"{text[:_MAX_QUOTE]}…")
