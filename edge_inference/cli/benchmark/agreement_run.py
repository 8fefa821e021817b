"""The streaming agreement of every candidate of a benchmark, on a recorded video."""

from __future__ import annotations

from collections.abc import Callable

from edge_inference.cli.benchmark.benchmark_options import BenchmarkOptions
from edge_inference.cli.benchmark.engine_level import LevelResults
from edge_inference.cli.compare.streaming_comparison import compare_on_recording, open_recording
from edge_inference.cli.exit_status import print_error
from edge_inference.core.images.media import open_media
from edge_inference.core.models.model import ModelDescription
from edge_inference.errors import CancelledError, EdgeInferenceError
from edge_inference.observe.benchmark.benchmark_report import StreamingAgreement


def is_video(options: BenchmarkOptions) -> bool:
    """Tell whether the source is a video whose agreement is wanted."""
    if options.source is None or options.no_agreement:
        return False
    media = open_media(options.source)
    media.close()
    return media.rate_hz is not None


def score_candidates(
    options: BenchmarkOptions,
    model: ModelDescription,
    found: LevelResults,
    cancelled: Callable[[], bool],
    progress: Callable[[str, float | None], None],
) -> None:
    """Play the video once to each candidate, at its own rate; a failure is a problem of ``found``.

    After an interruption nothing is added.
    """
    assert options.source is not None
    try:
        recording = open_recording(options.source, None, None)
        comparison = compare_on_recording(
            model, found.rows, recording, print_error, progress, cancelled
        )
    except CancelledError:
        return
    except EdgeInferenceError as error:
        found.problems.append(f"streaming agreement not measured: {error}")
        return
    for row in comparison.rows:
        if row.score is None:
            found.problems.append(f"{row.name}: streaming agreement not measured: {row.failure}")
            continue
        low, high = row.score.interval or (None, None)
        found.agreements[row.name] = StreamingAgreement(
            row.score.value,
            low,
            high,
            row.score.measure,
            comparison.reference,
            row.score.frames,
            row.score.is_estimate,
        )
