"""Runs of a recording: recorded from a pipeline, replayed from service times, or offline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_inference.core.images.frame import Frame
from edge_inference.core.models.model_search import find_model
from edge_inference.core.results import Classification, Detections, Segmentation
from edge_inference.errors import InputError, SourceError
from edge_inference.observe.streaming.offline_results import (
    OfflineResult,
    band_confidence,
    confidence_of,
    find_offline_results,
)
from edge_inference.observe.streaming.result_memory import ResultMemory
from edge_inference.observe.streaming.service_replay import replay_service_times
from edge_inference.observe.streaming.stream_recorder import StreamRecorder

NAMES = ("red", "green", "blue")


@dataclass(frozen=True)
class SmallResult:
    masks: tuple[NDArray[np.uint8], ...] = ()
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""


def classification(stamp_ns: int) -> Classification:
    return Classification(np.zeros(1, np.int32), np.ones(1, np.float32), NAMES, stamp_ns=stamp_ns)


def frame(stamp_ns: int) -> Frame:
    return Frame.from_array(np.zeros((2, 2, 3), np.uint8), stamp_ns=stamp_ns)


def test_the_recorder_takes_its_own_clock_and_only_its_own_frames() -> None:
    clock = iter([10, 20, 25, 26, 30])
    recorder = StreamRecorder(lambda: next(clock))
    recorder.add_frame(frame(1_000_000))
    recorder.add_frame(frame(5))  # the system clock was set back
    recorder.add_result(classification(1_000_000))
    recorder.add_result(classification(77))
    recorder.add_result(classification(5))
    assert recorder.frame_times_ns == [10, 20]
    assert [(each.frame_ns, each.published_ns) for each in recorder.published] == [
        (10, 25),
        (20, 30),
    ]
    assert recorder.foreign == 1


def test_a_recorder_keeps_no_more_masks_than_its_memory_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ResultMemory, "MAX_BYTES", 3 << 20)
    masks = [
        Segmentation(np.zeros((1000, 1000), np.uint8), NAMES, 1.0, stamp_ns=1) for _ in range(5)
    ]
    recorder = StreamRecorder()
    recorder.add_frame(frame(1))
    for mask in masks[:3]:
        recorder.add_result(mask)
    assert (len(recorder.published), recorder.problem) == (3, "")
    recorder.add_result(masks[3])
    assert recorder.problem.startswith("3 results take 2 MiB, and another one exceeds the limit")
    # A smaller result would still fit, but the record lacks one.
    recorder.add_result(classification(1))
    assert len(recorder.published) == 3


def test_results_without_arrays_take_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResultMemory, "MAX_BYTES", 10_000)
    memory = ResultMemory()
    problems = [memory.find_problem(SmallResult()) for _ in range(20)]
    assert problems[0] == ""
    assert problems[-1] != ""


def test_arrays_in_a_tuple_take_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResultMemory, "MAX_BYTES", 10_000)
    assert ResultMemory().find_problem(SmallResult((np.zeros(20_000, np.uint8),)))


@pytest.mark.parametrize(
    ("service_ms", "slowdown", "taken"),
    [
        (5.0, 1.0, [(0, 5), (10, 15), (20, 25), (30, 35), (40, 45)]),
        (10.0, 1.0, [(0, 10), (10, 20), (20, 30), (30, 40), (40, 50)]),
        # Busy until 15: the frame of 10 waits, and no newer one replaces it before 15.
        (15.0, 1.0, [(0, 15), (10, 30), (30, 45), (40, 60)]),
        (5.0, 5.0, [(0, 25), (20, 50), (40, 75)]),
        (100.0, 1.0, [(0, 100), (40, 200)]),
    ],
)
def test_a_free_worker_takes_the_newest_frame(
    service_ms: float, slowdown: float, taken: list[tuple[int, int]]
) -> None:
    times = [index * 10_000_000 for index in range(5)]
    offline = [OfflineResult(classification(0), service_ms)] * 5
    published = replay_service_times(times, offline, slowdown)
    assert [(each.frame_ns // 10**6, each.published_ns // 10**6) for each in published] == taken


def test_a_replay_needs_the_results_of_the_same_frames() -> None:
    with pytest.raises(InputError, match="one result for each of 2 frames, got 1"):
        replay_service_times([0, 1], [OfflineResult(classification(0), 1.0)])


def test_confidences_of_the_band() -> None:
    nanodet = find_model("nanodet")
    assert confidence_of(nanodet) == 0.4
    assert band_confidence(nanodet) == pytest.approx(0.25)
    unsure = replace(nanodet, decoder_settings=replace(nanodet.decoder_settings, confidence=0.05))
    lowest = band_confidence(unsure)
    assert lowest is not None
    assert 0 < lowest < 1e-30
    classifier = find_model("efficientnet_lite0")
    assert (confidence_of(classifier), band_confidence(classifier)) == (None, None)


def test_detections_come_with_the_boxes_of_the_band(tmp_path: Path) -> None:
    nanodet = find_model("nanodet")
    infer_confidences: list[float] = []

    def infer(inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        outputs = {}
        for stride in (8, 16, 32):
            cells = (416 // stride) ** 2
            outputs[f"cls_s{stride}"] = np.zeros((1, cells, 80), np.float32)
            outputs[f"dis_s{stride}"] = np.zeros((1, cells, 44), np.float32)
        outputs["cls_s32"][0, 0, 0] = 0.3
        outputs["cls_s32"][0, 100, 1] = 0.2
        return outputs

    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    (found,) = find_offline_results(nanodet, infer, str(tmp_path / "a.png"))
    assert isinstance(found.result, Detections)
    infer_confidences += found.result.scores.tolist()
    assert infer_confidences == pytest.approx([0.3])
    assert found.service_ms > 0
    (found,) = find_offline_results(nanodet, infer, str(tmp_path / "a.png"), confidence=0.1)
    assert isinstance(found.result, Detections)
    assert found.result.scores.tolist() == pytest.approx([0.3, 0.2])


def test_the_results_of_a_recording_are_bounded_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ResultMemory, "MAX_BYTES", 5_000)
    efficientnet = find_model("efficientnet_lite0")
    outputs = {"logits": np.zeros((1, 1000), np.float32)}
    for number in range(10):
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(SourceError, match=r"results take 0 MiB, .* use a part of the recording"):
        find_offline_results(efficientnet, lambda inputs: outputs, str(tmp_path))
