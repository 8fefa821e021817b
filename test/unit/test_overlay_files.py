"""Overlays are written while no thread reads the records, as after Ctrl-C."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from edge_inference.cli.perception.frame_tracker import STAGES, FrameRecord, FrameTracker
from edge_inference.cli.perception.overlay_files import OverlayFiles
from edge_inference.core.images.frame import Frame
from edge_inference.core.results import Detections
from edge_inference.core.runtime.latency import StageTiming

PATIENCE_S = 10.0


def test_the_last_overlays_are_written_while_a_record_waits_for_its_reader(tmp_path: Path) -> None:
    handed_over, read = threading.Event(), threading.Event()

    def wait_for_the_reader(record: FrameRecord) -> None:
        del record
        handed_over.set()
        read.wait(PATIENCE_S)

    book = FrameTracker("here", False, wait_for_the_reader)
    empty = np.zeros(0, np.float32)
    book.add_result(
        Detections(empty.reshape(0, 4), empty, empty.astype(np.int32), (), 8, 8, stamp_ns=5)
    )

    def tell_timings() -> None:
        for stage in STAGES:
            book.add_timing(StageTiming(stage, f"/ai/{stage}", 0.0, 1.0, None, stamp_ns=5))

    worker = threading.Thread(target=tell_timings, daemon=True)
    worker.start()
    assert handed_over.wait(PATIENCE_S)

    files = OverlayFiles(tmp_path, book.number_of, on_error=lambda text: None)
    files.receive(Frame.from_array(np.zeros((8, 8, 3), np.uint8), stamp_ns=5))
    ending = threading.Thread(target=files.finish, daemon=True)
    ending.start()
    ending.join(PATIENCE_S / 2)
    is_written = not ending.is_alive()
    read.set()
    worker.join(PATIENCE_S)
    assert is_written and files.written == 1
