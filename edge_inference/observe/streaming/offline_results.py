"""Runs a model over a recording, every frame, however long that takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_inference.core.images.frame import Frame
from edge_inference.core.images.media import open_media
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.golden_check import InferFunction
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import LOWEST_CONFIDENCE
from edge_inference.core.models.variants import PRECISIONS
from edge_inference.core.results import DETECTION, Result
from edge_inference.core.settings import change
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import prepare
from edge_inference.errors import CancelledError, SourceError
from edge_inference.observe.streaming.frame_scoring import SCORE_BAND
from edge_inference.observe.streaming.result_memory import ResultMemory
from edge_inference.observe.streaming.streaming_agreement import StreamReference

#: Frames of a recording; beyond that even small results need too much memory.
MAX_FRAMES = 20_000


@dataclass(frozen=True)
class OfflineResult:
    """The result of one frame, and how long it took: preprocessing, inference and decoding."""

    result: Result
    service_ms: float


def confidence_of(model: ModelDescription) -> float | None:
    """Return the score from which a box of a model counts; None for a decoder without it."""
    if model.kind is not DETECTION:
        return None
    confidence = getattr(model.decoder_settings, "confidence", None)
    return None if confidence is None else float(confidence)


def band_confidence(model: ModelDescription) -> float | None:
    """Return the lower confidence with which results have the boxes of the band, too.

    A pipeline whose results are scored must run with it. None for its own: there is no band.
    """
    confidence = confidence_of(model)
    return None if confidence is None else max(confidence - SCORE_BAND, LOWEST_CONFIDENCE)


def find_offline_results(
    model: ModelDescription,
    infer: InferFunction,
    source: str,
    on_frame: Callable[[int], None] = lambda number: None,
    confidence: float | None = None,
    now_ns: Callable[[], int] = time.perf_counter_ns,
) -> list[OfflineResult]:
    """Return the result of each frame of a recording, by default with the boxes of the band.

    ``infer`` maps arrays by tensor name. ``on_frame`` gets the number of finished frames; it may
    raise. ``confidence`` is the least score of a box instead. The service times are of the clock
    ``now_ns``. Raises SourceError for a camera, a source without an image, more than
    ``MAX_FRAMES``, or results that exceed a ResultMemory.
    """
    media, memory = open_media(source), ResultMemory()
    try:
        if media.is_live:
            raise SourceError(
                f"{source}: expected a recording, got a camera; streaming agreement runs the "
                "reference on the same frames again: record a video first"
            )
        settings = _settings(model, band_confidence(model) if confidence is None else confidence)
        preprocess = Preprocessor(model.input)
        results: list[OfflineResult] = []
        problem = SourceError(f"{source}: no image can be read from it; check the recording")
        while True:
            try:
                image = media.read_with_alpha()
            except SourceError as error:  # the media source skips an unreadable file, too
                problem = error
                continue
            if image is None:
                break
            if len(results) == MAX_FRAMES:
                raise SourceError(
                    f"{source}: expected at most {MAX_FRAMES} frames; use a part of the recording"
                )
            frame = Frame.from_array(image)
            started_ns = now_ns()
            tensor, geometry = preprocess(frame)
            outputs = infer({model.input.name: tensor})
            result = model.decode(outputs, geometry, settings)
            service_ms = (now_ns() - started_ns) / 1e6
            if too_much := memory.find_problem(result):
                raise SourceError(f"{source}: {too_much}")
            results.append(OfflineResult(result, service_ms))
            on_frame(len(results))
    finally:
        media.close()
    if not results:
        raise problem
    return results


def find_reference(
    model: ModelDescription,
    source: str,
    cache: ArtifactCache | None = None,
    progress: Callable[[str, float | None], None] = lambda phase, fraction: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> StreamReference:
    """Return what the best variant of a model, fp32 if it exists, finds in a recording.

    Use one reference for all candidates. Raises CancelledError soon after ``cancelled`` returns
    True, SourceError as ``find_offline_results``, and what preparing and running an engine raises.
    """
    precision = next(name for name in PRECISIONS if name in model.variants)

    def on_frame(number: int) -> None:
        if cancelled():
            raise CancelledError(f"{source}: the streaming reference was cancelled")
        progress(f"reference: frame {number}", None)

    selection = prepare(EngineRequest(model, "ort", precision), cache, progress, cancelled)
    assert selection.backend is not None
    with selection.backend as engine:
        found = find_offline_results(model, engine.infer, source, on_frame)
    return StreamReference(
        tuple(each.result for each in found),
        confidence_of(model),
        f"{model.name}, ONNX Runtime {precision}, offline",
    )


def _settings(model: ModelDescription, confidence: float | None) -> Any:
    if confidence is None:
        return model.decoder_settings
    return change(model.decoder_settings, {"confidence": confidence})
