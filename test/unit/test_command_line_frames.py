"""Frames followed through the stages, results in their written forms, problems in moderation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_inference.cli.error_reporter import ErrorReporter
from edge_inference.cli.perception.frame_format import record_to_json
from edge_inference.cli.perception.frame_tracker import STAGES, FrameRecord, FrameTracker
from edge_inference.cli.perception.overlay_files import OverlayFiles
from edge_inference.core.images.frame import Frame
from edge_inference.core.results import (
    Classification,
    DepthMap,
    Detections,
    Result,
    Segmentation,
    kind_of,
)
from edge_inference.core.runtime.health import DUPLICATE_NODE_NAME, Health
from edge_inference.core.runtime.latency import StageTiming


def frame(stamp_ns: int, origin: str = "") -> Frame:
    return Frame.from_array(np.zeros((2, 2, 3), np.uint8), stamp_ns=stamp_ns, origin=origin)


def timing(stage: str, stamp_ns: int, dropped: str = "") -> StageTiming:
    process_ms = None if dropped else 1.5
    return StageTiming(stage, f"/ai/{stage}", 0.1, process_ms, 9.0, dropped, stamp_ns=stamp_ns)


def classes(stamp_ns: int = 1) -> Classification:
    scores = np.array([0.75, 0.125], np.float32)
    return Classification(np.array([1, 0], np.int32), scores, ("a", "b"), "m", stamp_ns)


def pass_all(tracker: FrameTracker, stamp_ns: int) -> None:
    tracker.add_timing(timing("preprocess", stamp_ns))
    tracker.add_timing(timing("inference", stamp_ns))
    tracker.add_result(classes(stamp_ns))
    tracker.add_timing(timing("decode", stamp_ns))


class TestFrameTracker:
    def test_an_announced_frame_goes_all_the_way(self) -> None:
        records: list[FrameRecord] = []
        tracker = FrameTracker("folder", True, records.append)
        tracker.announce(frame(7, "folder/a.jpg"))
        assert (tracker.announced, tracker.finished) == (1, 0)
        pass_all(tracker, 7)
        assert (tracker.announced, tracker.finished, tracker.results) == (1, 1, 1)
        assert (records[0].number, records[0].source) == (1, "folder/a.jpg")
        assert records[0].process_ms == dict.fromkeys(STAGES, 1.5)

    def test_timings_of_stages_may_arrive_out_of_order(self) -> None:
        records: list[FrameRecord] = []
        tracker = FrameTracker("x", True, records.append)
        tracker.announce(frame(7))
        tracker.add_result(classes(7))
        for stage in reversed(STAGES):
            assert records == []
            tracker.add_timing(timing(stage, 7))
        assert [record.number for record in records] == [1]

    @pytest.mark.parametrize("order", [("preprocess", "inference"), ("inference", "preprocess")])
    def test_a_dropped_frame_is_finished_without_a_record(self, order: tuple[str, ...]) -> None:
        records: list[FrameRecord] = []
        tracker = FrameTracker("x", True, records.append)
        tracker.announce(frame(7))
        for stage in order:
            dropped = "superseded" if stage == "inference" else ""
            assert tracker.finished == 0
            tracker.add_timing(timing(stage, 7, dropped))
        assert (tracker.finished, dict(tracker.drops), records) == (1, {"superseded": 1}, [])

    def test_frames_of_other_publishers_do_not_count(self) -> None:
        records: list[FrameRecord] = []
        tracker = FrameTracker("x", True, records.append)
        tracker.announce(frame(7))
        pass_all(tracker, 8)
        assert (tracker.finished, tracker.results, records, tracker.foreign) == (0, 0, [], 1)

    def test_frames_of_a_topic_are_numbered_by_result(self) -> None:
        records: list[FrameRecord] = []
        tracker = FrameTracker("/image", False, records.append)
        tracker.add_timing(timing("preprocess", 5, "superseded"))
        pass_all(tracker, 6)
        assert [(record.number, record.source) for record in records] == [(1, "/image")]
        assert tracker.finished == 2

    def test_frames_without_stamps_keep_their_order(self) -> None:
        records: list[FrameRecord] = []
        tracker = FrameTracker("/image", False, records.append)
        first, second = classes(0), classes(0)
        for stage in ("preprocess", "preprocess", "inference", "inference"):
            tracker.add_timing(timing(stage, 0))
        for result in (first, second):
            tracker.add_result(result)
            tracker.add_timing(timing("decode", 0))
        assert [record.result for record in records] == [first, second]

    def test_results_after_the_limit_are_ignored(self) -> None:
        records: list[FrameRecord] = []
        tracker = FrameTracker("x", True, records.append, limit=1)
        for stamp_ns in (1, 2):
            tracker.announce(frame(stamp_ns))
            pass_all(tracker, stamp_ns)
        assert (tracker.finished, tracker.results, len(records)) == (2, 1, 1)
        assert (tracker.number_of(1), tracker.number_of(2)) == (1, None)


BOX = np.array([[1.04, 2.0, 11.0, 22.06]], np.float32)
HALF = np.array([0.5], np.float32)
MASK = np.array([[0, 0, 0, 1], [1, 255, 255, 255]], np.uint8)
DEPTH = np.array([[1.0, 2.0], [4.0, np.nan]], np.float32)


@pytest.mark.parametrize(
    ("result", "written", "reported"),
    [
        (
            Detections(BOX, HALF, np.array([1], np.int32), ("a", "b"), 30, 30),
            [{"label": "b", "score": 0.5, "box": [1.0, 2.0, 10.0, 20.1]}],
            ["b 0.50 [1, 2, 10, 20]"],
        ),
        (
            Detections(BOX[:0], HALF[:0], np.zeros(0, np.int32), ("a",), 30, 30),
            [],
            [],
        ),
        (
            classes(),
            [{"label": "b", "score": 0.75}, {"label": "a", "score": 0.125}],
            ["b 0.75", "a 0.12"],
        ),
        (
            Segmentation(MASK, ("road", "sky"), 0.9),
            [{"label": "road", "share": 0.375}, {"label": "sky", "share": 0.25}],
            ["road 38%", "sky 25%"],
        ),
        (
            DepthMap(DEPTH, "m"),
            [{"min": 1.0, "median": 2.0, "max": 4.0, "unit": "m"}],
            ["depth 1.00 … 2.00 … 4.00 m"],
        ),
        (
            DepthMap(np.full((1, 1), np.nan, np.float32), "m"),
            [{"min": None, "median": None, "max": None, "unit": "m"}],
            ["no depth"],
        ),
    ],
)
def test_forms_of_a_result(result: Result, written: list[object], reported: list[str]) -> None:
    assert kind_of(result).to_json(result) == written
    assert kind_of(result).to_lines(result, 5) == reported
    assert kind_of(result).to_lines(result, 0) == []


def test_a_record_has_every_key_even_without_an_age() -> None:
    record = FrameRecord(3, "a.jpg", 5, classes(5), {"preprocess": 1.0}, None)
    written = record_to_json(record)
    assert list(written) == [
        *("source", "frame", "stamp", "model", "results", "ms", "age_ms"),
        *("timeline", "sum_ms", "end_to_end_ms", "clock_fault"),
    ]
    assert written["age_ms"] is None
    assert written["ms"] == {"preprocess": 1.0}


class TestOverlayFiles:
    def test_every_numbered_overlay_is_written(self, tmp_path: Path) -> None:
        errors: list[str] = []
        numbers = {10: 1, 20: 12}
        files = OverlayFiles(tmp_path / "new" / "folder", numbers.get, errors.append)
        for stamp_ns in (10, 15, 20):
            files.receive(frame(stamp_ns))
        files.finish()
        names = sorted(file.name for file in files.folder.iterdir())
        assert names == ["frame_000001.jpg", "frame_000012.jpg"]
        assert (files.written, files.failed, errors) == (2, 0, [])

    def test_a_failure_is_reported_once_and_counted(self, tmp_path: Path) -> None:
        errors: list[str] = []
        files = OverlayFiles(tmp_path, lambda stamp_ns: stamp_ns, errors.append)
        (tmp_path / "frame_000001.jpg").mkdir()
        (tmp_path / "frame_000002.jpg").mkdir()
        for stamp_ns in (1, 2, 3):
            files.receive(frame(stamp_ns))
        files.finish()
        assert (files.written, files.failed) == (1, 2)
        assert len(errors) == 1
        assert "frame_000001.jpg: cannot be written" in errors[0]


class TestProblems:
    def test_every_file_but_not_every_frame(self) -> None:
        reported: list[str] = []
        now_s = [0.0]
        problems = ErrorReporter(reported.append, lambda: now_s[0])
        health = Health()
        nodes = {"media_source": SimpleNamespace(health=health)}
        health.count_error("source", "a.jpg: broken", 0)
        health.count_error("source", "b.jpg: broken", 0)
        health.count_error("stamp_zero", "at 1", 0)
        health.count_error("stamp_zero", "at 2", 0)
        problems.report(nodes)
        assert reported == [
            "media_source: a.jpg: broken",
            "media_source: b.jpg: broken",
            "media_source: at 1",
        ]
        health.count_error("stamp_zero", "at 3", 0)
        problems.report(nodes)
        assert len(reported) == 3
        now_s[0] = 6.0
        health.count_error("stamp_zero", "at 4", 0)
        problems.report(nodes)
        assert reported[3:] == ["media_source: at 4"]

    def test_a_duplicate_node_name_is_not_reported_from_the_health(self) -> None:
        reported: list[str] = []
        health = Health()
        health.report_ongoing(DUPLICATE_NODE_NAME, "another node is called /ai/decode", 0)
        health.count_error("failed", "another fault", 0)
        ErrorReporter(reported.append).report({"decode": SimpleNamespace(health=health)})
        assert reported == ["decode: another fault"]

    def test_the_same_message_is_reported_once(self) -> None:
        reported: list[str] = []
        problems = ErrorReporter(reported.append)
        for _ in range(2):
            problems.add("no image yet")
            problems.report({})
        assert reported == ["no image yet"]
