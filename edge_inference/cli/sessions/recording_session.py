"""Plays a recording through the perception pipeline in real time, for its streaming score."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

from edge_inference.cli.sessions.pipeline_session import PipelineSession, open_pipeline
from edge_inference.composition.parameter_format import format_argument
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.results import RESULT_KINDS
from edge_inference.errors import CancelledError, ConfigError, SourceError
from edge_inference.observe.streaming.stream_recorder import StreamRecorder

_POLL_PERIOD_S = 0.1


@dataclass(frozen=True)
class Playback:
    """A recording, and the engine that it is played to.

    ``rate_hz`` is None for the recording's own rate. ``confidence`` is the least score of a result,
    None for the model's own.
    """

    model: ModelDescription
    source: str
    backend: str
    precision: str
    int8_mode: str | None = None
    rate_hz: float | None = None
    confidence: float | None = None

    def pipeline_arguments(self) -> dict[str, str]:
        """Return the arguments of the perception pipeline."""
        values: dict[str, str | float | bool | None] = {
            "model": str(self.model.folder.resolve()),
            "backend": self.backend,
            "precision": self.precision,
            "int8_mode": self.int8_mode,
            "fallback": False,
            "source": self.source,
            "pace": "real_time",
            "rate": self.rate_hz,
            "confidence": self.confidence,
            "when_full": "drop_oldest",
        }
        return {name: format_argument(value) for name, value in values.items() if value is not None}


def play_recording(
    command: str,
    playback: Playback,
    on_message: Callable[[str], None],
    cancelled: Callable[[], bool] = lambda: False,
) -> StreamRecorder:
    """Play a recording to its end, and return when its frames and results were published.

    A result that comes after the last frame counts for no frame, so nothing is waited for.
    ``command`` is named in errors; ``on_message`` gets the errors of the nodes. Raises ConfigError
    where the pipeline does not start, SourceError where the results take too much memory, and
    CancelledError soon after ``cancelled`` returns True.
    """
    recorder = StreamRecorder()
    try:
        _play(command, playback, recorder, on_message, cancelled)
    finally:
        # Nodes are in reference cycles. Until they are freed, the next pipeline of this process
        # finds their names in the graph.
        gc.collect()
    if recorder.problem:
        raise SourceError(f"{playback.source}: {recorder.problem}")
    if not recorder.frame_times_ns:
        raise ConfigError(
            f"{playback.source}: the source ended without a frame; check that it can be read"
        )
    return recorder


def _play(
    command: str,
    playback: Playback,
    recorder: StreamRecorder,
    on_message: Callable[[str], None],
    cancelled: Callable[[], bool],
) -> None:
    arguments = playback.pipeline_arguments()
    with open_pipeline(command, "perception", arguments, on_message, is_loaded=False) as session:
        session.tap(_image_topic(session), recorder.add_frame)
        for kind in RESULT_KINDS.rows().values():
            session.tap(kind.topic, recorder.add_result)
        session.load()
        session.start()
        while not session.nodes["media_source"].finished.wait(_POLL_PERIOD_S):
            if cancelled():
                raise CancelledError(f"{playback.source}: the playback was cancelled")
            if recorder.problem:
                break
        errors = {text for node in session.nodes.values() for _, text in node.health.take_errors()}
    for text in sorted(errors):
        on_message(text)


def _image_topic(session: PipelineSession) -> str:
    (source,) = (each for each in session.pipeline.components if each.name == "media_source")
    return source.remappings["image_raw"]
