"""What the inference node really runs."""

from __future__ import annotations

from dataclasses import dataclass

#: As long as the name of a folder can be.
_LONGEST_NAME = 255
_LONGEST_SHOWN = 120


@dataclass(frozen=True)
class InferenceState:
    """As in ``msg/InferenceState``; ``progress`` is None where nothing is made ready, or unknown.

    ``max_rate_hz`` is None where the rate is not limited.

    ``model`` is what the parameter says, a name or a path; ``model_name`` and
    ``previous_model`` are names of model folders.
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
    wanted: str
    progress: float | None
    problem: str
    max_rate_hz: float | None = None
    stamp_ns: int = 0
    frame_id: str = ""


def is_model_name(model: str) -> bool:
    """Tell whether a text is the plain name of a model folder, and leads nowhere else."""
    return (
        0 < len(model) <= _LONGEST_NAME
        and model.isprintable()
        and not model.startswith((".", "~"))
        and ".." not in model
        and not any(separator in model for separator in "/\\")
    )


def quote(text: str) -> str:
    """Quote what a stranger has sent, so that it stays on one short line."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")
