"""Plays the recording of a scenario once more, for its streaming agreement."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_inference.cli.perception.run_options import search_path
from edge_inference.cli.sessions.recording_session import Playback, play_recording
from edge_inference.core.models.model_search import find_model
from edge_inference.errors import EdgeInferenceError
from edge_inference.observe.statistics.intervals import Interval
from edge_inference.observe.streaming.offline_results import band_confidence, find_reference
from edge_inference.observe.streaming.streaming_agreement import score_stream

MEASURE = "streaming_agreement"
_PIPELINE = "perception"
_DEFAULT_MODEL = "nanodet"


def measure_agreement(
    pipeline: str,
    arguments: Mapping[str, str],
    show: Callable[[str, float | None], None],
    on_message: Callable[[str], None],
    cancelled: Callable[[], bool],
) -> Interval | str:
    """Return the streaming agreement at the rate of the scenario, or why there is none.

    The recording is played from its beginning to its end, once, whatever the scenario's time. The
    reference is what the model's best variant finds offline on the same frames.
    """
    if pipeline != _PIPELINE or not arguments.get("source"):
        return f"it is defined for a recording in the pipeline {_PIPELINE}, got {pipeline}"
    if arguments.get("pace") == "as_fast_as_possible":
        return "it is defined for a recording in real time; leave out pace, or give a rate"
    try:
        model = find_model(
            arguments.get("model", _DEFAULT_MODEL), search_path(arguments.get("model_path", ""))
        )
        source = arguments["source"]
        reference = find_reference(model, source, progress=show, cancelled=cancelled)
        show("playing the recording for its streaming agreement", None)
        playback = Playback(
            model,
            source,
            arguments.get("backend", "auto"),
            arguments.get("precision", "auto"),
            arguments.get("int8_mode"),
            float(arguments["rate"]) if "rate" in arguments else None,
            band_confidence(model),
        )
        recorder = play_recording("validate", playback, on_message, cancelled)
        score = score_stream(recorder.frame_times_ns, recorder.published, reference)
    except EdgeInferenceError as error:
        return str(error)
    if score.value is None:
        return f"neither {reference.description} nor the pipeline finds anything in {source}"
    low, high = score.interval or (None, None)
    return Interval(score.value, low, high, score.frames, score.frames)
