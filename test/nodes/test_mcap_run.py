"""Runs that are recorded: every message is decoded by the definitions in the file alone."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from all_adapters import make_adapters
from edge_inference.core.disk import create_file
from edge_inference.core.images.frame import Frame
from edge_inference.nodes.observe.run_recorder import RunRecorder
from edge_inference.observe.recording import mcap_recorder
from edge_inference.observe.recording.mcap_recorder import McapRecorder
from edge_inference.observe.recording.mcap_recovery import read_contents
from edge_inference.observe.recording.ros_schemas import RosDefinitions, installed_prefixes
from mcap_judges import RosDecoder, SmallDisk, needs_mcap, read_by_index
from perception_rig import ASTRONAUT, Pipeline
from rig import Outside, Rig, as_base64, wait_for
from voice_rig import PERSON, models_or_skip

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
DEADLINE_S = 600
PLUGIN = f"{RunRecorder.__module__}::{RunRecorder.__name__}"
DETECTIONS = ("vision_msgs/msg/Detection2DArray", "edge_inference/msg/DetectionArray")
pytestmark = needs_mcap


def decode_all(file: Path) -> dict[str, list[tuple[str, Any]]]:
    """Return type and message of every message by topic, as others decode them."""
    decoder = RosDecoder()
    found: dict[str, list[tuple[str, Any]]] = {}
    for schema, channel, message in read_by_index(file):
        assert (schema.encoding, channel.message_encoding) == ("ros2msg", "cdr")
        item = decoder.decode(schema.name, schema.data.decode(), message.data)
        found.setdefault(channel.topic, []).append((schema.name, item))
    return found


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "run", *arguments],
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


def summary_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return json.loads(done.stdout.splitlines()[-1])["summary"]


# In a container --------------------------------------------------------------------------------


class Recording:
    """A recorder in a rig, and what it said."""

    def __init__(self, rig: Rig, file: Path, with_images: bool = True) -> None:
        self.file = file
        self.problems: list[str] = []
        self.recorder = McapRecorder(file, self.problems.append)
        self.node = rig.load(PLUGIN)
        self._rig = rig
        rig.call(lambda: self.node.start(self.recorder, with_images))

    def close(self) -> dict[str, list[tuple[str, Any]]]:
        self._rig.call(self.node.stop)
        assert self.recorder.close().problem == ""
        return decode_all(self.file)


@pytest.fixture
def recording(rig: Rig, tmp_path: Path) -> Iterator[Recording]:
    recording = Recording(rig, tmp_path / "run.mcap")
    yield recording
    recording.recorder.close()


def test_everything_that_a_pipeline_publishes(rig: Rig, recording: Recording) -> None:
    pipeline = Pipeline(rig)
    timings = rig.tap("/ai/stage_timing")
    results = [pipeline.next(pipeline.detections) for _ in range(3)]
    timings.wait(9)
    found = recording.close()
    assert recording.problems == []
    types = {topic: items[0][0] for topic, items in found.items() if topic != "/diagnostics"}
    assert types.pop("/ai/detections") in DETECTIONS
    types.pop("/ai/label_info", "")  # where vision_msgs is installed
    types.pop("/ai/workload", "")  # it comes periodically
    assert types == {
        "/image/compressed": "sensor_msgs/msg/CompressedImage",
        "/ai/detections/annotations": "foxglove_msgs/msg/ImageAnnotations",
        "/ai/stage_timing": "edge_inference/msg/StageTiming",
        "/ai/inference_state": "edge_inference/msg/InferenceState",
        "/ai/inference_result": "std_msgs/msg/Float32",
    }
    assert [len(item.detections) for _, item in found["/ai/detections"]] == [
        len(result) for result in results
    ]
    for (_, drawn), result in zip(found["/ai/detections/annotations"], results, strict=True):
        corners = [(box.points[0].x, box.points[0].y) for box in drawn.points]
        assert corners == [(x1, y1) for x1, y1, _, _ in result.boxes.tolist()]
        assert drawn.texts[0].text.startswith("person ")
    stages = Counter(item.stage for _, item in found["/ai/stage_timing"])
    assert stages == {"preprocess": 3, "inference": 3, "decode": 3}
    (_, image) = found["/image/compressed"][0]
    pixels = cv2.imdecode(np.asarray(image.data, np.uint8), cv2.IMREAD_COLOR)
    assert (image.format, image.header.frame_id) == ("jpeg", "cam")
    assert np.abs(pixels.astype(int) - pipeline.image).mean() < 5


def test_times_are_those_of_arrival_and_capture(rig: Rig, recording: Recording) -> None:
    pipeline = Pipeline(rig)
    before_ns = time.time_ns()
    result = pipeline.next(pipeline.detections)
    recording.close()
    messages = [m for _, c, m in read_by_index(recording.file) if c.topic == "/ai/detections"]
    (message,) = messages
    assert message.publish_time == result.stamp_ns
    assert before_ns <= message.publish_time < message.log_time <= time.time_ns()


def test_images_only_on_request(rig: Rig, tmp_path: Path) -> None:
    recording = Recording(rig, tmp_path / "run.mcap", with_images=False)
    pipeline = Pipeline(rig)
    pipeline.next(pipeline.detections)
    found = recording.close()
    assert "/ai/detections" in found
    assert not [topic for topic in found if "image" in topic]


def test_after_the_end_nothing_is_tapped(rig: Rig, recording: Recording) -> None:
    pipeline = Pipeline(rig)
    pipeline.next(pipeline.detections)
    recording.close()
    size = recording.file.stat().st_size
    pipeline.next(pipeline.detections)
    rig.load("Latency")
    assert recording.file.stat().st_size == size


def test_a_full_disk_stops_the_recording_and_not_the_pipeline(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcap_recorder, "create_file", lambda file: SmallDisk())
    recording = Recording(rig, tmp_path / "run.mcap")
    pipeline = Pipeline(rig)
    pipeline.next(pipeline.detections)
    wait_for(lambda: recording.problems, "a sentence about the disk")
    assert len(pipeline.next(pipeline.detections)) > 0
    assert "No space left on device" in recording.recorder.close().problem


def test_images_of_another_process(rig: Rig, outside: Outside, recording: Recording) -> None:
    errors: list[object] = []
    rig.call(lambda: recording.node.subscribe_to_images("/front/image", False, errors.append))
    publish = outside.speak_to_one_that_follows("/front/image", "sensor_msgs/Image")
    rig.wait_for_publishers(recording.node, "/front/image")
    publish(width=8, height=4, encoding="bgr8", step=24, data=as_base64(bytes(96)))
    wait_for(lambda: read_contents(recording.file).counts["/front/image/compressed"], "an image")
    found = recording.close()
    ((name, image),) = found["/front/image/compressed"]
    assert name == "sensor_msgs/msg/CompressedImage"
    assert cv2.imdecode(np.asarray(image.data, np.uint8), cv2.IMREAD_COLOR).shape == (4, 8, 3)
    assert errors == []


def test_every_adapter_has_a_definition_that_others_understand() -> None:
    typesys = importlib.import_module("rosbags.typesys")
    definitions = RosDefinitions(installed_prefixes())
    adapters = make_adapters()
    assert len(adapters) > 20
    for adapter in adapters:
        message_type = adapter.message_type
        name = f"{message_type.__module__.partition('.')[0]}/msg/{message_type.__name__}"
        types = typesys.get_types_from_msg(definitions.find(name).text, name)
        assert set(message_type.get_fields_and_field_types()) == {
            field for field, _ in types[name][1]
        }


def test_depth_in_an_image_topic_is_said_once(rig: Rig, recording: Recording) -> None:
    depth = Frame(np.zeros(16, np.uint8), 2, 2, "32FC9", 8)
    add = recording.node._add_image_topic("/depth")
    add(depth)
    add(depth)
    wait_for(lambda: recording.problems, "a sentence about the image")
    recording.close()
    (problem,) = recording.problems
    assert problem.startswith("/depth/compressed: an object cannot be recorded: ")


# From the command line -------------------------------------------------------------------------


@pytest.mark.usefixtures("alone")
def test_a_run_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "run.mcap"
    done = run(
        "perception", "--source", str(ASTRONAUT), "--mcap", str(file), "--mcap-images", "--json"
    )
    assert (done.returncode, done.stderr) == (0, "")
    recording = summary_of(done)["recording"]
    contents = read_contents(file)
    assert recording == {
        "file": str(file),
        "messages": contents.counts.total(),
        "topics": len(contents.counts),
        "bytes": file.stat().st_size,
        "dropped": 0,
        "failed": 0,
        "problem": "",
    }
    found = decode_all(file)
    for topic in (
        "/camera/image_raw/compressed",
        "/ai/overlay/compressed",
        "/ai/detections",
        "/ai/detections/annotations",
        "/ai/inference_state",
    ):
        assert topic in found
    assert len(found["/ai/detections"]) == len(found["/camera/image_raw/compressed"]) == 1
    assert {"/ai/tensor", "/ai/raw_output"} & set(found) == set()


def test_a_run_on_the_images_of_another_process(outside: Outside, tmp_path: Path) -> None:
    file = tmp_path / "run.mcap"
    image = {"width": 64, "height": 48, "encoding": "rgb8", "step": 192}
    options = ["--frames", "3", "--mcap", str(file), "--mcap-images", "--json"]
    process = start("perception", "--source", "/front/image", *options)
    try:
        publish = outside.speak("/front/image", "sensor_msgs/Image")
        for stamp in itertools.count(1):
            publish(**image, header={"stamp": {"sec": stamp}}, data=as_base64(bytes(64 * 48 * 3)))
            try:
                process.wait(0.1)
                break
            except subprocess.TimeoutExpired:
                assert stamp < 10 * DEADLINE_S
        out, _ = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 0
    assert summary_of(subprocess.CompletedProcess([], 0, out))["recording"]["problem"] == ""
    found = decode_all(file)
    assert len(found["/front/image/compressed"]) >= 3
    assert [topic for topic in found if topic.endswith("/overlay/compressed")]


@pytest.mark.usefixtures("alone")
def test_a_recording_is_said_in_the_table(tmp_path: Path) -> None:
    file = tmp_path / "run.mcap"
    done = run("perception", "--source", str(ASTRONAUT), "--mcap", str(file))
    assert done.returncode == 0, done.stderr
    assert f"topics in {file} (0.0 MB)" in done.stdout


@pytest.mark.usefixtures("alone")
def test_a_killed_run_is_recovered(tmp_path: Path) -> None:
    broken, fixed = tmp_path / "broken.mcap", tmp_path / "fixed.mcap"
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(2000):
        (folder / f"{index:04d}.jpg").symlink_to(ASTRONAUT)
    process = start("perception", "--source", str(folder), "--mcap", str(broken))
    try:
        wait_for(
            lambda: (
                process.poll() is not None
                or (
                    broken.exists()
                    and broken.stat().st_size > 8
                    and read_contents(broken).counts["/ai/detections"] > 3
                )
            ),
            "detections in the file",
            DEADLINE_S,
        )
    finally:
        process.kill()
        process.communicate()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "recording", "recover", str(broken), str(fixed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "it was not closed" in done.stdout
    assert len(decode_all(fixed)["/ai/detections"]) > 3


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--mcap-images"], 2, "--mcap-images is for --mcap"),
        (["--mcap", "none/run.mcap"], 1, "--mcap none/run.mcap: its folder does not exist"),
        (["--mcap", "old.mcap"], 1, "--mcap old.mcap: expected a new file, but it exists"),
        (["--mcap", "."], 1, "got a folder"),
        (["--mcap", "new.mcap", "--backend", "zap"], 1, "unknown backend 'zap'"),
    ],
)
def test_a_recording_that_cannot_be_made(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    create_file(tmp_path / "old.mcap").close()
    named = [str(tmp_path / each) if each.endswith(".mcap") else each for each in arguments]
    done = run("perception", "--source", str(ASTRONAUT), *named, "--json")
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr.replace(f"{tmp_path}/", "")
    assert done.stderr.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["old.mcap"]


@pytest.mark.usefixtures("alone")
def test_a_pipeline_that_does_not_load_leaves_no_file(tmp_path: Path) -> None:
    parameters = tmp_path / "bad.yaml"
    parameters.write_text("/**:\n  ros__parameters:\n    queue_depth: -1\n")
    arguments = ["--params-file", str(parameters), "--mcap", str(tmp_path / "run.mcap")]
    done = run("perception", "--source", str(ASTRONAUT), *arguments)
    assert done.returncode == 1
    assert "queue_depth" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["bad.yaml"]


@pytest.mark.usefixtures("alone")
def test_a_voice_run(tmp_path: Path) -> None:
    models_or_skip()
    file = tmp_path / "voice.mcap"
    mode = ["--mode", "free"]
    done = run("voice", "--source", str(PERSON), *mode, "--mcap", str(file), "--json")
    assert done.stderr == ""
    found = decode_all(file)
    assert summary_of(done)["recording"]["topics"] == len(found)
    assert found["/ai/transcript"][-1][0] == "edge_inference/msg/Transcript"
    for topic in ("/ai/intent", "/ai/action_plan", "/ai/command_feedback", "/ai/cmd_vel"):
        assert topic in found
    assert {"/ai/audio", "/ai/speech", "/ai/mixed_speech"} & set(found) == set()
    assert max(item.linear.x for _, item in found["/ai/cmd_vel"]) > 0
