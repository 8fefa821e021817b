"""The streaming score of every engine of a comparison, on one recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.images.media import open_media
from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.precision.int8_mode import EXACT
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import prepare
from edge_inference.errors import CancelledError, EdgeInferenceError, SourceError
from edge_inference.observe.streaming.offline_results import (
    band_confidence,
    find_offline_results,
    find_reference,
)
from edge_inference.observe.streaming.recording_labels import LabeledFrame, load_recording_labels
from edge_inference.observe.streaming.service_replay import replay_service_times
from edge_inference.observe.streaming.streaming_agreement import (
    PublishedResult,
    ScoreDifference,
    StreamingScore,
    StreamReference,
    compare_scores,
    score_stream,
)
from edge_inference.observe.streaming.streaming_ap import StreamingAp, score_labeled_stream
from edge_inference.optimize.comparison import CompareRow

#: Average precision needs boxes with low scores, too.
_LABELED_CONFIDENCE = 0.05
#: The rate of the media source for images, which have none.
_IMAGE_RATE_HZ = 1.0

_Run = tuple[Sequence[int], Sequence[PublishedResult]]


@dataclass(frozen=True)
class VideoRecording:
    """A recording to play: ``rate_hz`` images per second; ``labels`` by number of frame."""

    source: str
    rate_hz: float
    labels: Mapping[int, LabeledFrame] | None = None


@dataclass(frozen=True)
class StreamingRow:
    """The score of one engine; ``failure`` says why there is none."""

    name: str
    score: StreamingScore | None = None
    average_precision: StreamingAp | None = None
    failure: str = ""


@dataclass(frozen=True)
class StreamingComparison:
    """All scores on one recording; ``reference`` names what they are scored against."""

    recording: VideoRecording
    reference: str
    rows: tuple[StreamingRow, ...]

    def best(self) -> StreamingRow | None:
        """Return the row with the highest score, None if none has a score."""
        values = {
            index: row.score.value
            for index, row in enumerate(self.rows)
            if row.score is not None and row.score.value is not None
        }
        return self.rows[max(values, key=lambda index: values[index])] if values else None

    def behind_best(self, row: StreamingRow) -> ScoreDifference | None:
        """Return how much higher the best score is than that of a row."""
        best = self.best()
        if best is None or best.score is None or row.score is None or row is best:
            return None
        return compare_scores(best.score, row.score)


def open_recording(source: str, rate_hz: float | None, labels: str | None) -> VideoRecording:
    """Check a recording and its labels before anything is measured.

    Raises SourceError for a camera or a source that cannot be opened, ConfigError for labels.
    """
    media = open_media(source)
    media.close()
    if media.is_live:
        raise SourceError(
            f"--video {source}: expected a recording, got a camera; the reference needs the same "
            "frames again: record a video first"
        )
    return VideoRecording(
        source,
        rate_hz or media.rate_hz or _IMAGE_RATE_HZ,
        None if labels is None else load_recording_labels(Path(labels)),
    )


def compare_on_recording(
    model: ModelDescription,
    rows: Sequence[CompareRow],
    recording: VideoRecording,
    on_message: Callable[[str], None],
    progress: Callable[[str, float | None], None],
    cancelled: Callable[[], bool],
) -> StreamingComparison:
    """Play the recording to every engine that runs, one after the other, and score the results.

    Without ROS no pipeline can run; then the score is estimated from measured service times.
    Raises the errors of the reference, and CancelledError soon after ``cancelled`` returns True.
    """
    reference = find_reference(model, recording.source, progress=progress, cancelled=cancelled)
    run = _play if _has_ros() else _estimate
    scored = []
    for row in rows:
        if row.failure:
            continue
        progress(f"{row.name}: playing", None)
        try:
            frame_times_ns, published = run(model, row, recording, on_message, cancelled)
            scored.append(
                _score(model, row.name, frame_times_ns, published, reference, recording, run)
            )
        except CancelledError:
            raise
        except EdgeInferenceError as error:
            scored.append(StreamingRow(row.name, failure=str(error)))
    return StreamingComparison(recording, reference.description, tuple(scored))


def _has_ros() -> bool:
    try:
        import edge_inference.composition.process  # noqa: F401
    except ImportError:
        return False
    return True


def _play(
    model: ModelDescription,
    row: CompareRow,
    recording: VideoRecording,
    on_message: Callable[[str], None],
    cancelled: Callable[[], bool],
) -> _Run:
    from edge_inference.cli.sessions.recording_session import Playback, play_recording

    playback = Playback(
        model,
        recording.source,
        row.backend,
        row.precision,
        row.int8_mode,
        recording.rate_hz,
        _confidence(model, recording),
    )
    recorder = play_recording("compare --video", playback, on_message, cancelled)
    return recorder.frame_times_ns, recorder.published


def _estimate(
    model: ModelDescription,
    row: CompareRow,
    recording: VideoRecording,
    on_message: Callable[[str], None],
    cancelled: Callable[[], bool],
) -> _Run:
    del on_message

    def stop_if_cancelled(number: int) -> None:
        if cancelled():
            raise CancelledError(f"{recording.source}: cancelled at frame {number}")

    request = EngineRequest(model, row.backend, row.precision, int8_mode=row.int8_mode or EXACT)
    selection = prepare(request)
    assert selection.backend is not None
    with selection.backend as engine:
        offline = find_offline_results(
            model,
            engine.infer,
            recording.source,
            stop_if_cancelled,
            confidence=_confidence(model, recording),
        )
    period_ns = 1e9 / recording.rate_hz
    frame_times_ns = [round(index * period_ns) for index in range(len(offline))]
    return frame_times_ns, replay_service_times(frame_times_ns, offline)


def _confidence(model: ModelDescription, recording: VideoRecording) -> float | None:
    """Return the least score of results: that of the band, lower for average precision."""
    band = band_confidence(model)
    if band is None or recording.labels is None:
        return band
    return min(band, _LABELED_CONFIDENCE)


def _score(
    model: ModelDescription,
    name: str,
    frame_times_ns: Sequence[int],
    published: Sequence[PublishedResult],
    reference: StreamReference,
    recording: VideoRecording,
    run: Callable[..., _Run],
) -> StreamingRow:
    score = score_stream(frame_times_ns, published, reference, is_estimate=run is _estimate)
    if recording.labels is None:
        return StreamingRow(name, score)
    average_precision = score_labeled_stream(
        frame_times_ns, published, recording.labels, model.labels
    )
    return StreamingRow(name, score, average_precision)
