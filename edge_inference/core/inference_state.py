"""What the inference node really runs."""

from __future__ import annotations

from dataclasses import dataclass


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
    takes_pictures: bool
    wanted: str
    progress: float | None
    problem: str
    max_rate_hz: float | None = None
    stamp_ns: int = 0
    frame_id: str = ""
