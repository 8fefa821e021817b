"""Images are published as frames; unreadable ones are reported, and the rest is published."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_inference.core.images.media import Media
from edge_inference.errors import SourceError
from edge_inference.nodes.perception import media_source
from rig import DEADLINE_S, Rig, wait_for


def make_images(folder: Path, count: int) -> str:
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((4, 8, 3), index, np.uint8))
    return str(folder)


def levels(frames) -> list[int]:
    return [int(frame.data[0]) for frame in frames]


def run(rig: Rig, source: str, **parameters):
    """Play a source to its end; return the node and the frames."""
    frames = rig.tap("/camera/image_raw")
    parameters.setdefault("pace", "as_fast_as_possible")
    node = rig.load("MediaSource", source=source, **parameters)
    assert node.finished.wait(DEADLINE_S)
    return node, frames


def test_a_folder_to_its_end(rig: Rig, tmp_path: Path) -> None:
    before = rig.container.node.get_clock().now().nanoseconds
    node, frames = run(rig, make_images(tmp_path, 3), frame_id="eye")
    assert levels(frames) == [0, 1, 2]
    assert [(f.width, f.height, f.encoding, f.step, f.frame_id) for f in frames] == [
        (8, 4, "bgr8", 24, "eye")
    ] * 3
    stamps = [frame.stamp_ns for frame in frames]
    assert before < stamps[0] < stamps[1] < stamps[2] <= node.now_ns()
    assert frames[1].origin == str(tmp_path / "1.png")
    assert not any(frame.data.flags.writeable for frame in frames)
    assert node.health.status(0).values["processed"] == "3"


def test_a_corrupt_file_among_good_ones(
    rig: Rig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = make_images(tmp_path, 3)
    (tmp_path / "1.png").write_bytes(b"no image")
    node, frames = run(rig, source)
    assert levels(frames) == [0, 2]
    assert node.health.drop_counts() == {"source": 1}
    assert capfd.readouterr().err.count("1.png: not an image that OpenCV can read") == 1


@pytest.mark.parametrize("loop", [True, False])
def test_nothing_but_corrupt_files_ends(rig: Rig, tmp_path: Path, loop: bool) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    node, frames = run(rig, str(tmp_path), loop=loop)
    assert frames == []
    assert node.health.drop_counts() == {"source": 1}


def test_a_loop_without_a_readable_image_ends(rig: Rig, tmp_path: Path) -> None:
    """Files that turn bad while they are looped over must not become a busy loop of errors."""
    source = make_images(tmp_path, 1)
    frames = rig.tap("/camera/image_raw")
    node = rig.load("MediaSource", source=source, loop=True, rate=50.0)
    frames.wait(3)
    (tmp_path / "0.png").write_bytes(b"no image")
    assert node.finished.wait(DEADLINE_S)
    assert node.health.drop_counts()["source"] <= 2


def test_loop_and_limit(rig: Rig, tmp_path: Path) -> None:
    _, frames = run(rig, make_images(tmp_path, 2), loop=True, limit=5)
    assert levels(frames) == [0, 1, 0, 1, 0]


def test_limit_alone(rig: Rig, tmp_path: Path) -> None:
    _, frames = run(rig, make_images(tmp_path, 4), limit=2)
    assert levels(frames) == [0, 1]


def test_activating_again_starts_over(rig: Rig, tmp_path: Path) -> None:
    node, frames = run(rig, make_images(tmp_path, 2))
    rig.call(node.trigger_deactivate)
    rig.call(node.trigger_activate)
    assert node.finished.wait(DEADLINE_S)
    assert levels(frames) == [0, 1, 0, 1]


def test_a_video(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 100, (32, 16))
    for _ in range(4):
        writer.write(np.zeros((16, 32, 3), np.uint8))
    writer.release()
    _, frames = run(rig, str(file), pace="real_time")
    assert len(frames) == 4


def test_the_rate_holds_images_back(rig: Rig, tmp_path: Path) -> None:
    _, frames = run(rig, make_images(tmp_path, 6), pace="real_time", rate=50.0)
    assert len(frames) == 6
    # One period that the machine was late by may be caught up.
    assert frames[-1].stamp_ns - frames[0].stamp_ns >= 4 * 20_000_000 * 0.95


def test_a_source_that_is_stopped_while_it_waits(rig: Rig, tmp_path: Path) -> None:
    frames = rig.tap("/camera/image_raw")
    node = rig.load("MediaSource", source=make_images(tmp_path, 2), rate=0.001)
    frames.wait()
    rig.call(node.trigger_deactivate)
    assert node.finished.is_set()
    assert len(frames) == 1


def test_a_missing_source_fails_configuring(rig: Rig) -> None:
    component = rig.load_component("MediaSource", source="/no/such.jpg")
    assert component.failure == "did not configure"
    message = component.node.health.status(0).message
    assert message.startswith("'/no/such.jpg': no such file or folder; expected an image")


class FakeCamera(Media):
    """Gives an image, then is gone; opened again it fails once, then works for good."""

    is_live = True
    opened = 0

    def __init__(self, source: str) -> None:
        type(self).opened += 1
        self.origin = "/dev/video9"
        self.left = 1 if type(self).opened == 1 else 10**9
        if type(self).opened == 2:
            raise SourceError(
                "camera /dev/video9 cannot be opened; check that it is still connected"
            )

    def read(self):
        self.left -= 1
        if self.left < 0:
            raise SourceError(
                "camera /dev/video9 sends no more images; check that it is still connected"
            )
        return np.zeros((2, 2, 3), np.uint8)

    def close(self) -> None:
        pass


def test_a_camera_that_disappears_and_comes_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FakeCamera, "opened", 0)
    monkeypatch.setattr(media_source, "open_media", FakeCamera)
    monkeypatch.setattr(media_source, "_RETRY_S", 0.01)
    frames = rig.tap("/camera/image_raw")
    node = rig.load("MediaSource", source="/dev/video9", limit=20)
    frames.wait(20)
    assert node.finished.wait(DEADLINE_S)
    assert node.health.drop_counts() == {"source": 2}
    assert node.health.status(0).values["last error"].startswith("camera /dev/video9 cannot")
    assert (
        capfd.readouterr().err.count("check that it is still connected") == 1
    )  # one reason, within 5 s


def test_a_failing_reader_is_reported(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(FakeCamera):
        def read(self):
            raise ZeroDivisionError("a driver's bug")

    monkeypatch.setattr(media_source, "open_media", Odd)
    monkeypatch.setattr(Odd, "opened", 5)
    node = rig.load("MediaSource", source="0")
    assert node.finished.wait(DEADLINE_S)
    wait_for(lambda: node.health.status(0).message == "ZeroDivisionError: a driver's bug", "it")
