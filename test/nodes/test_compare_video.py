"""``edge-inference compare --video``: the recording is played in real time to every engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_inference.cli.compare import streaming_comparison
from edge_inference.cli.main import main
from edge_inference.cli.sessions.recording_session import Playback, play_recording
from edge_inference.core.models.model_search import find_model
from edge_inference.errors import SourceError
from edge_inference.observe.streaming.result_memory import ResultMemory
from small_model import write_model

pytestmark = pytest.mark.usefixtures("alone")
RATE_HZ, FRAMES, WARMUP = 10, 30, 10


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Write a video that changes its color once, in the middle of what is scored."""
    file = tmp_path / "colors.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), RATE_HZ, (48, 32))
    for index in range(FRAMES):
        image = np.full((32, 48, 3), 40, np.uint8)
        image[:, :, 2 if index < 20 else 1] = 200
        writer.write(image)
    writer.release()
    return file


def compare(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[Any], Any]:
    assert (
        main(
            "edge-inference", ["compare", *arguments, "--json", "--backends", "ort", "--runs", "1"]
        )
        == 0
    )
    *rows, last = map(json.loads, capfd.readouterr().out.splitlines())
    return rows, last["summary"]


@pytest.mark.parametrize("has_ros", [True, False])
def test_the_recording_is_played_to_each_engine(
    tmp_path: Path,
    video: Path,
    has_ros: bool,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not has_ros:
        monkeypatch.setattr(streaming_comparison, "_has_ros", lambda: False)
    model = write_model(tmp_path / "brightest")
    rows, summary = compare(capfd, str(model), "--precisions", "fp32,fp16", "--video", str(video))
    assert [row["precision"] for row in rows] == ["fp32", "fp16"]
    for row in rows:
        streaming = row["streaming"]
        assert streaming["failure"] is None, streaming
        assert streaming["is_estimate"] is not has_ros
        assert streaming["measure"] == "top-1"
        assert streaming["frames"] + streaming["warmup"] == FRAMES
        # At the instant of the change, the newest result is of the frame before.
        assert 0 < streaming["value"] <= 1 - 1 / streaming["frames"]
        assert streaming["mean_age_ms"] > 0
    assert summary["streaming"]["rate_hz"] == RATE_HZ
    assert summary["streaming"]["reference"] == "brightest, ONNX Runtime fp32, offline"
    assert summary["streaming"]["best"] in {"ort fp32", "ort fp16"}


def test_the_table_says_what_was_played(
    tmp_path: Path, video: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "brightest")
    arguments = ["--backends", "ort", "--precisions", "fp32", "--runs", "1", "--rate", "20"]
    assert main("edge-inference", ["compare", str(model), *arguments, "--video", str(video)]) == 0
    text = capfd.readouterr().out
    assert f"{video} at 20 Hz, played in real time to the perception pipeline" in text
    assert "no interval: at least 6 s after the warm-up are needed" in text
    assert "best at 20 Hz: ort fp32" in text


def test_a_recording_that_is_too_short_fails(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming_comparison, "_has_ros", lambda: False)
    model = write_model(tmp_path / "brightest")
    arguments = ["--backends", "ort", "--precisions", "fp32", "--runs", "1"]
    assert main("edge-inference", ["compare", str(model), *arguments, "--video", str(model)]) == 1
    text = capfd.readouterr().out
    assert "ort fp32 has no streaming score: recording: expected more than the warm-up" in text


def test_a_playback_ends_where_its_results_take_too_much_memory(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ResultMemory, "MAX_BYTES", 5_000)
    model = find_model(str(write_model(tmp_path / "brightest")))
    with pytest.raises(SourceError, match=r"colors\.avi: \d results take 0 MiB, and another one"):
        play_recording("compare --video", Playback(model, str(video), "ort", "fp32"), print)
