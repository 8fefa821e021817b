"""``edge-inference run perception`` as a user runs it: in a separate process on real images."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from rclpy.duration import Duration
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from edge_inference.core.models.model_search import find_model
from edge_inference.core.results import ExpectedObject

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
DEADLINE_S = 600
pytestmark = pytest.mark.usefixtures("alone")
MODEL = find_model("nanodet")
IMAGES = {golden.image.name: golden for golden in MODEL.golden}
ASTRONAUT = IMAGES["astronaut.jpg"].image


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "run", "perception", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
    )


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(*arguments)
    try:
        out, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    return subprocess.CompletedProcess([], process.returncode, out, errors)


def frames_and_summary(out: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    *frames, last = map(json.loads, out.splitlines())
    return frames, last["summary"]


def many_images(folder: Path, count: int) -> Path:
    for index in range(count):
        (folder / f"{index:04d}.jpg").symlink_to(ASTRONAUT)
    return folder


def test_a_folder_with_a_broken_image(tmp_path: Path) -> None:
    # YAML would read a name like this otherwise.
    folder, overlays = tmp_path / "[1], 'yes' ä", tmp_path / "overlays"
    folder.mkdir()
    for golden in IMAGES.values():
        shutil.copy(golden.image, folder)
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "empty.png").write_bytes(b"")

    done = run("--source", str(folder), "--json", "--save-overlay", str(overlays))

    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert [Path(line.split(": ")[2]).name for line in lines] == ["broken.jpg", "empty.png"]
    frames, summary = frames_and_summary(done.stdout)
    assert [Path(frame["source"]).name for frame in frames] == sorted(IMAGES)
    assert [frame["frame"] for frame in frames] == list(range(1, len(IMAGES) + 1))
    for frame in frames:
        assert set(frame["ms"]) == {"preprocess", "inference", "decode"}
        assert min(frame["ms"].values()) > 0
        assert frame["age_ms"] > 0
        segments = frame["timeline"]
        assert [each["stage"] for each in segments if each["segment"] == "process"] == [
            "preprocess",
            "inference",
            "decode",
        ]
        assert sum(each["ms"] for each in segments) == pytest.approx(frame["sum_ms"], abs=0.01)
        assert frame["end_to_end_ms"] >= frame["age_ms"]
        assert frame["clock_fault"] == ""
        expected = IMAGES[Path(frame["source"]).name].expected
        found = {entry["label"]: entry for entry in frame["results"]}
        for wanted in expected:
            assert isinstance(wanted, ExpectedObject)
            assert found[wanted.label]["box"] == pytest.approx(wanted.box, abs=3.0)
            assert found[wanted.label]["score"] == pytest.approx(wanted.score, abs=0.05)
    assert summary["frames"] == {
        "read": len(IMAGES),
        "results": len(IMAGES),
        "unreadable": 2,
        "dropped": {},
    }
    assert (summary["lost"], summary["clock_faults"], summary["deadline_ms"]) == (0, {}, None)
    assert summary["end_to_end_ms"]["max"] == max(frame["end_to_end_ms"] for frame in frames)
    assert summary["stages"]["inference"]["transport_ms"]["p50"] >= 0
    assert summary["overlays"] == {"folder": str(overlays), "written": len(IMAGES), "failed": 0}
    assert (summary["model"], summary["precision"]) == ("nanodet", "fp32")
    for frame in frames:
        drawn = cv2.imread(str(overlays / f"frame_{frame['frame']:06d}.jpg"))
        image = cv2.imread(frame["source"])
        assert drawn.shape == image.shape
        # A JPEG alone changes no pixel this much; a box does.
        assert np.abs(drawn.astype(int) - image).max() > 100


def test_option_frames_ends_the_run_and_loses_no_frame(tmp_path: Path) -> None:
    done = run("--source", str(many_images(tmp_path, 40)), "--frames", "15", "--json")
    assert done.returncode == 0, done.stderr
    frames, summary = frames_and_summary(done.stdout)
    assert [frame["frame"] for frame in frames] == list(range(1, 16))
    assert summary["frames"]["read"] == 15
    assert summary["frames"]["dropped"] == {}


def test_real_time_drops_frames_and_counts_them(tmp_path: Path) -> None:
    folder = many_images(tmp_path, 60)
    done = run("--source", str(folder), "--real-time", "--rate", "500", "--json")
    assert done.returncode == 0, done.stderr
    frames, summary = frames_and_summary(done.stdout)
    counts = summary["frames"]
    assert counts["read"] == 60
    assert counts["results"] == len(frames)
    assert counts["results"] + sum(counts["dropped"].values()) == 60
    numbers = [frame["frame"] for frame in frames]
    assert numbers == sorted(set(numbers))


def test_a_pipe_gets_lines_and_a_table() -> None:
    done = run("--source", str(ASTRONAUT))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "person 0.75" in done.stdout
    assert "inference" in done.stdout
    assert "\x1b" not in done.stdout


def test_an_interrupt_ends_with_the_summary(tmp_path: Path) -> None:
    process = start("--source", str(many_images(tmp_path, 2000)), "--json")
    try:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert first["frame"] == 1
    assert (process.returncode, errors) == (0, "")
    _, summary = frames_and_summary(rest)
    assert summary["ended"] == "interrupted"


def test_a_closed_output_ends_the_run_silently(tmp_path: Path) -> None:
    process = start("--source", str(many_images(tmp_path, 2000)), "--json")
    try:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert (process.wait(DEADLINE_S), errors) == (0, "")
    finally:
        process.kill()


@pytest.fixture
def camera() -> Iterator[Any]:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("camera", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def publish_until_the_end(camera: Any, process: subprocess.Popen[str], age_ns: int) -> str:
    """Publish an image with stamps of this age until the run ends; return its output."""
    image = cv2.imread(str(ASTRONAUT))
    message = Image(height=image.shape[0], width=image.shape[1], encoding="bgr8")
    message.step = image.strides[0]
    message.data = image.tobytes()
    publisher = camera.create_publisher(Image, "/front/image", qos_profile_sensor_data)
    deadline = time.monotonic() + DEADLINE_S
    try:
        while process.poll() is None and time.monotonic() < deadline:
            captured = camera.get_clock().now() - Duration(nanoseconds=age_ns)
            message.header.stamp = captured.to_msg()
            publisher.publish(message)
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        out, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return out if age_ns else out + errors


def test_a_topic_of_another_process(camera: Any) -> None:
    process = start(
        *("--source", "/front/image", "--frames", "5", "--deadline-ms", "0.001", "--json")
    )
    frames, summary = frames_and_summary(publish_until_the_end(camera, process, 0))
    assert [frame["frame"] for frame in frames] == [1, 2, 3, 4, 5]
    assert frames[0]["source"] == "/front/image"
    assert frames[0]["results"][0]["label"] == "person"
    assert summary["frames"]["read"] is None
    assert (summary["deadline_ms"], summary["deadline_misses"]) == (0.001, 5)


def test_images_of_yesterday_are_a_clock_fault_and_no_latency(camera: Any) -> None:
    process = start("--source", "/front/image", "--frames", "3", "--json")
    day_ns = 86_400 * 1_000_000_000
    frames, summary = frames_and_summary(publish_until_the_end(camera, process, day_ns))
    for frame in frames:
        assert frame["clock_fault"] == "stamp_in_past"
        assert frame["age_ms"] is frame["sum_ms"] is frame["end_to_end_ms"] is None
        assert all(each["ms"] is not None for each in frame["timeline"][1:])
    assert summary["clock_faults"]["stamp_in_past"] >= 3
    assert set(summary["end_to_end_ms"].values()) == {None}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", str(ASTRONAUT), "--backend", "zap"], "unknown backend 'zap'"),
        (["--source", str(ASTRONAUT), "--precision", "fp1"], "no fp1 variant"),
        (["--source", "/dev/video_that_is_not"], "/dev/video_that_is_not"),
        (["--source", str(ASTRONAUT), "--save-overlay", str(ASTRONAUT)], "--save-overlay"),
    ],
)
def test_a_run_that_cannot_start_reports_the_reason(arguments: list[str], words: str) -> None:
    done = run(*arguments, "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("edge-inference: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_a_named_precision_is_prepared_once_in_sight_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path))
    model = "efficientnet_lite0"  # it is prepared sooner than others
    arguments = ["--source", str(ASTRONAUT), "--model", model, "--precision", "int8"]
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"preparing {model} for ")
    assert " in int8: " in done.stdout.splitlines()[0]
    again = run(*arguments, "--json")
    assert (again.returncode, again.stderr) == (0, "")
    _, summary = frames_and_summary(again.stdout)
    assert summary["precision"] == "int8"


def test_only_broken_images_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    done = run("--source", str(tmp_path), "--json")
    assert done.returncode == 1
    _, summary = frames_and_summary(done.stdout)
    assert (summary["frames"]["results"], summary["frames"]["unreadable"]) == (0, 1)
    assert "no result came" in done.stderr
