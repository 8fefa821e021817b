"""Images, folders, videos and devices."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_inference.core.images import media
from edge_inference.core.images.media import open_media, sample_video
from edge_inference.errors import SourceError


def make_image(file: Path, value: int = 7, width: int = 8) -> Path:
    assert cv2.imwrite(str(file), np.full((4, width, 3), value, np.uint8))
    return file


def read_all(source: str | Path) -> list[np.ndarray]:
    opened = open_media(str(source))
    found = []
    while (image := opened.read()) is not None:
        found.append(image)
    opened.close()
    return found


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Five grey images that get brighter, at 10 Hz."""
    file = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 16))
    for index in range(5):
        writer.write(np.full((16, 32, 3), 40 * index, np.uint8))
    writer.release()
    return file


class FakeCapture:
    """A V4L2 device that gives two images and is then unplugged."""

    opened: list[object] = []

    def __init__(self, target: object, backend: int) -> None:
        self.opened.append(target)
        self.images = [np.zeros((2, 2, 3), np.uint8)] * 2

    def isOpened(self) -> bool:
        return True

    def read(self):
        return (True, self.images.pop()) if self.images else (False, None)

    def get(self, _: int) -> float:
        return 0.0

    def set(self, *_: object) -> bool:
        return True

    def release(self) -> None:
        pass


# What cannot be opened --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", "no such file|no images"),
        ("missing.jpg", "'missing.jpg': no such file or folder; expected an image"),
        ("/no/such/folder/", "no such file or folder"),
        ("/dev/video99", "camera /dev/video99 cannot be opened"),
        ("99", "camera /dev/video99 cannot be opened"),
        ("9" * 20, "no such file or folder"),
        ("²", "'²': no such file or folder"),
        ("a" * 5000, "cannot be read: File name too long"),
    ],
)
def test_a_missing_source(
    source: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=expected):
        open_media(source)


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(SourceError, match=r"no images in this folder; expected \.bmp, \.jpeg"):
        open_media(str(tmp_path))


def test_hidden_files_are_skipped(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    (tmp_path / "._a.png").write_bytes(b"what macOS leaves on drives")
    assert len(read_all(tmp_path)) == 1


def test_a_file_that_is_not_a_video(tmp_path: Path) -> None:
    file = tmp_path / "video.mp4"
    file.write_bytes(b"not a video")
    with pytest.raises(SourceError, match=r"video .*video\.mp4 cannot be opened"):
        open_media(str(file))


# Images ---------------------------------------------------------------------------------------


def test_one_image(tmp_path: Path) -> None:
    opened = open_media(str(make_image(tmp_path / "a.png")))
    assert not opened.is_live
    assert opened.rate_hz is None
    image = opened.read()
    assert image is not None
    assert (image.shape, image.dtype, int(image[0, 0, 0])) == ((4, 8, 3), np.uint8, 7)
    assert opened.origin == str(tmp_path / "a.png")
    assert opened.read() is None
    assert opened.read() is None
    opened.close()


def test_gray_and_transparent_files_are_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 8), 9, np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.full((4, 8, 4), 9, np.uint8))
    cv2.imwrite(str(tmp_path / "c.png"), np.full((4, 8), 9 * 257, np.uint16))
    for image in read_all(tmp_path):
        assert (image.shape, image.dtype, int(image[0, 0, 0])) == ((4, 8, 3), np.uint8, 9)


def test_a_folder_in_order_of_names_with_broken_files_in_it(tmp_path: Path) -> None:
    for index, name in enumerate(("c.JPG", "a.png", "d.bmp")):
        make_image(tmp_path / name, width=8 + index)
    (tmp_path / "b.jpg").write_bytes(b"not an image")
    (tmp_path / "bb.png").touch()
    (tmp_path / "readme.txt").touch()
    opened = open_media(str(tmp_path))
    assert opened.read().shape == (4, 9, 3)
    with pytest.raises(SourceError, match=r"b\.jpg: not an image that OpenCV can read"):
        opened.read()
    with pytest.raises(SourceError, match=r"bb\.png: not an image"):
        opened.read()
    assert opened.read().shape == (4, 8, 3)
    assert opened.read().shape == (4, 10, 3)
    assert opened.read() is None


def test_an_image_that_is_removed(tmp_path: Path) -> None:
    file = make_image(tmp_path / "a.png")
    opened = open_media(str(tmp_path))
    file.unlink()
    with pytest.raises(SourceError, match=r"a\.png: cannot be read: No such file"):
        opened.read()
    assert opened.read() is None


def test_an_image_with_more_pixels_than_opencv_accepts(tmp_path: Path) -> None:
    header = b"P6 99999 99999 255\n"
    (tmp_path / "huge.ppm").write_bytes(header + bytes(100))
    with pytest.raises(SourceError, match=r"huge\.ppm: not an image that OpenCV can read"):
        open_media(str(tmp_path / "huge.ppm")).read()


# Videos -----------------------------------------------------------------------------------------


def test_a_video(video: Path) -> None:
    opened = open_media(str(video))
    assert (opened.rate_hz, opened.is_live) == (10.0, False)
    opened.close()
    images = read_all(video)
    assert len(images) == 5
    assert [round(float(image.mean()), -1) for image in images] == [0, 40, 80, 120, 160]


def test_a_video_without_an_image_is_one_error_and_then_the_end(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_media(str(video))
    monkeypatch.setattr(opened, "_capture", FakeCapture(0, 0))
    opened._capture.images = []
    with pytest.raises(SourceError, match="OpenCV can read no image from it"):
        opened.read()
    assert opened.read() is None


def test_numbered_images_are_not_read_as_a_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV's reader of these files does not check their cost."""
    backends = []

    class Closed(FakeCapture):
        def __init__(self, target: object, backend: int) -> None:
            backends.append(backend)

        def isOpened(self) -> bool:
            return False

    monkeypatch.setattr(media.cv2, "VideoCapture", Closed)
    (tmp_path / "scan1.dat").write_bytes(b"\0\0\0\x18ftypisom")
    with pytest.raises(SourceError, match=r"video .*scan1\.dat cannot be opened"):
        open_media(str(tmp_path / "scan1.dat"))
    assert backends and not {cv2.CAP_ANY, cv2.CAP_IMAGES} & set(backends)


def test_the_sample_video() -> None:
    try:
        file = sample_video()
    except SourceError as error:
        assert "pip install" in str(error)
        pytest.skip("the sample video is not installed")
    opened = open_media("sample")
    assert opened.read() is not None
    opened.close()
    assert file.suffix == ".mp4"


# Devices ----------------------------------------------------------------------------------------


def test_devices_by_number_path_and_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media.cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(FakeCapture, "opened", [])
    (tmp_path / "by-id-usb-camera").symlink_to("/dev/video3")
    for source in ("2", "/dev/video2", str(tmp_path / "by-id-usb-camera")):
        opened = open_media(source)
        assert opened.is_live
        assert opened.rate_hz is None
    assert FakeCapture.opened == [2, 2, 3]


def test_a_camera_that_disappears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media.cv2, "VideoCapture", FakeCapture)
    opened = open_media("4")
    assert opened.origin == "/dev/video4"
    assert opened.read() is not None
    assert opened.read() is not None
    for _ in range(2):
        with pytest.raises(SourceError, match="camera /dev/video4 sends no more images"):
            opened.read()
