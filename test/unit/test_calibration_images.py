"""Images for calibration: files, folders, a video, recorded bags, and invalid sources."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.images.encodings import to_bgr
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.errors import SourceError
from edge_inference.optimize.images import bag_images as bag_reader
from edge_inference.optimize.images.calibration_images import calibration_images, pick_evenly

WIDTH, HEIGHT = 32, 24

WriteBag = Callable[..., Path]


def make_image(shade: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((HEIGHT, WIDTH, 3), shade, np.uint8)


def shades(found: Any) -> list[int]:
    return [int(np.median(to_bgr(frame))) for frame in found]


@given(count=st.integers(0, 500), limit=st.integers(1, 500))
def test_indices_are_spread_evenly(count: int, limit: int) -> None:
    places = pick_evenly(count, limit)
    assert len(places) == min(count, limit)
    assert sorted(set(places)) == places
    assert all(0 <= place < count for place in places)
    if 1 < limit <= count:
        assert (places[0], places[-1]) == (0, count - 1)
        assert max(np.diff(places)) <= min(np.diff(places)) + 1


def test_one_image(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), make_image(7))
    (found,) = calibration_images(tmp_path / "a.png")
    assert shades([found]) == [7]
    assert found.origin == str(tmp_path / "a.png")  # type: ignore[union-attr]


def test_a_folder_includes_its_subfolders(tmp_path: Path) -> None:
    for place, name in enumerate(["a.png", "b/c.PNG", "b/d/e.bmp", ".hidden/f.png", "b/.g.png"]):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cv2.imencode(file.suffix.lower(), make_image(place))[1].tobytes())
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    assert shades(calibration_images(str(tmp_path))) == [0, 1, 2]
    assert shades(calibration_images(tmp_path, limit=2)) == [0, 2]
    assert shades(calibration_images(tmp_path, limit=1)) == [1]


def test_a_broken_image_is_skipped_and_reported(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "b.png"), make_image(5))
    (tmp_path / "a.png").write_bytes(b"broken")
    skipped: list[str] = []
    assert shades(calibration_images(tmp_path, skipped=skipped.append)) == [5]
    assert len(skipped) == 1
    assert "a.png" in skipped[0]


def test_images_are_read_one_by_one(tmp_path: Path) -> None:
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), make_image(3))
    found = calibration_images(tmp_path)
    next(found)
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "c.png").unlink()
    assert list(found) == []


def test_a_video(tmp_path: Path) -> None:
    file = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
    for place in range(9):
        writer.write(make_image(20 * place))
    writer.release()
    found = shades(calibration_images(file, limit=3))
    assert found == pytest.approx([0, 80, 160], abs=4)
    assert len(shades(calibration_images(file))) == 9


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "none", "no such file or folder"),
        (lambda folder: folder, "no images in this folder or its subfolders"),
        (lambda folder: made(folder / "a.png", b""), r"none of 1 image\(s\) can be read"),
        (
            lambda folder: made(folder / "a.mp4", b"no video"),
            "cannot be opened|can read no image",
        ),
        (lambda folder: made(folder / "a.db3", b"x").parent, "without metadata.yaml"),
        (lambda folder: Path("/dev/null"), "neither a file nor a folder"),
        (lambda folder: Path("~nobody-at-all/images"), "no such user"),
    ],
)
def test_an_invalid_source_is_refused(
    make: Callable[[Path], Path], says: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=says):
        list(calibration_images(make(tmp_path)))


def made(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def test_an_invalid_limit_or_topic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="at least 1 image, got 0"):
        calibration_images(tmp_path, limit=0)
    with pytest.raises(SourceError, match="expected a recorded bag for the topic '/camera'"):
        calibration_images(tmp_path, "/camera")


def test_a_bag_without_its_reader_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rosbags.highlevel", None)
    with pytest.raises(SourceError, match="pip install rosbags"):
        list(calibration_images(made(tmp_path / "a.mcap", b"")))


@pytest.fixture(params=["mcap", "sqlite3"])
def write_bag(request: pytest.FixtureRequest, tmp_path: Path) -> WriteBag:
    """Return a function that records messages: (topic, kind, fields)."""
    rosbag2 = pytest.importorskip("rosbags.rosbag2", reason="recorded bags need rosbags")
    typesys = pytest.importorskip("rosbags.typesys")
    store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
    plugin = {
        "mcap": rosbag2.StoragePlugin.MCAP,
        "sqlite3": rosbag2.StoragePlugin.SQLITE3,
    }[request.param]

    def write(messages: Sequence[tuple[str, str, dict[str, Any]]]) -> Path:
        bag = tmp_path / "bag"
        with rosbag2.Writer(bag, version=9, storage_plugin=plugin) as writer:
            connections: dict[str, Any] = {}
            for place, (topic, kind, fields) in enumerate(messages):
                name = f"sensor_msgs/msg/{kind}"
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, name, typestore=store)
                time = store.types["builtin_interfaces/msg/Time"](sec=5, nanosec=place)
                header = store.types["std_msgs/msg/Header"](stamp=time, frame_id="camera")
                message = store.types[name](header=header, **fields)
                data = store.serialize_cdr(message, name)
                writer.write(connections[topic], 1_000_000 + place, data)
        return bag

    return write


def packed_as_files(bag: Path) -> Path:
    """Compress the files of a bag as the recorder does with compression_mode file."""
    zstd = pytest.importorskip("rosbags.rosbag2.reader").zstd
    about = yaml.safe_load((bag / "metadata.yaml").read_text())
    inner = about["rosbag2_bagfile_information"]
    names = inner["relative_file_paths"]
    for name in names:
        (bag / f"{name}.zstd").write_bytes(zstd.compress((bag / name).read_bytes()))
        (bag / name).unlink()
    inner["relative_file_paths"] = [f"{name}.zstd" for name in names]
    inner["compression_mode"], inner["compression_format"] = "FILE", "zstd"
    (bag / "metadata.yaml").write_text(yaml.safe_dump(about))
    return bag


def raw(shade: int, **changed: Any) -> dict[str, Any]:
    image = make_image(shade)
    return {
        "height": HEIGHT,
        "width": WIDTH,
        "encoding": "rgb8",
        "is_bigendian": 0,
        "step": WIDTH * 3,
        "data": image.reshape(-1),
        **changed,
    }


def jpeg(shade: int) -> dict[str, Any]:
    return {"format": "jpeg", "data": cv2.imencode(".jpg", make_image(shade))[1].reshape(-1)}


def test_a_recorded_topic(write_bag: WriteBag) -> None:
    bag = write_bag([("/camera", "Image", raw(10 * place)) for place in range(9)])
    found = list(calibration_images(bag, limit=3))
    assert shades(found) == [0, 40, 80]
    first, _, last = found
    assert isinstance(first, Frame)
    assert (first.encoding, first.width, first.height) == ("rgb8", WIDTH, HEIGHT)
    assert (last.stamp_ns, last.frame_id) == (5_000_000_008, "camera")
    file = next(entry for entry in bag.iterdir() if entry.suffix in (".mcap", ".db3"))
    assert shades(calibration_images(file, limit=3)) == [0, 40, 80]


def test_compressed_images_stay_compressed(write_bag: WriteBag) -> None:
    bag = write_bag([("/camera/compressed", "CompressedImage", jpeg(90))])
    (found,) = calibration_images(bag)
    assert isinstance(found, CompressedFrame)
    assert shades([found]) == [90]


def test_a_topic_out_of_several_must_be_named(write_bag: WriteBag) -> None:
    bag = write_bag([("/left", "Image", raw(1)), ("/right", "CompressedImage", jpeg(50))])
    with pytest.raises(SourceError, match="several topics with images, name one: /left, /right"):
        list(calibration_images(bag))
    assert shades(calibration_images(bag, "/right")) == [50]
    with pytest.raises(SourceError, match="no images on '/front' in this bag; on /left, /right"):
        list(calibration_images(bag, "/front"))


def test_a_bag_without_images_names_its_topics(write_bag: WriteBag) -> None:
    bag = write_bag([("/heat", "Temperature", {"variance": 0.0, "temperature": 20.0})])
    with pytest.raises(SourceError, match="no topic with images in this bag; its topics: /heat"):
        list(calibration_images(bag))


def test_a_broken_image_of_a_bag_is_skipped_and_reported(write_bag: WriteBag) -> None:
    broken = raw(1, step=1)
    bag = write_bag([("/camera", "Image", fields) for fields in (broken, raw(2), broken)])
    skipped: list[str] = []
    assert shades(calibration_images(bag, skipped=skipped.append)) == [2]
    assert len(skipped) == 2


def test_a_bag_of_broken_images_says_why(write_bag: WriteBag) -> None:
    bag = write_bag([("/camera", "Image", raw(1, encoding="made up"))])
    with pytest.raises(SourceError, match=r"no image of this bag can be read.*made up"):
        list(calibration_images(bag))


def test_a_damaged_bag_is_refused(write_bag: WriteBag) -> None:
    bag = write_bag([("/camera", "Image", raw(place)) for place in range(3)])
    file = next(entry for entry in bag.iterdir() if entry.suffix in (".mcap", ".db3"))
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(SourceError, match="the recorded bag cannot be read"):
        list(calibration_images(bag))


def test_a_bag_of_compressed_files_is_read(write_bag: WriteBag) -> None:
    bag = packed_as_files(write_bag([("/camera", "Image", raw(10 * n)) for n in range(3)]))
    assert shades(calibration_images(bag)) == [0, 10, 20]


@pytest.mark.parametrize("is_named_twice", [False, True])
def test_a_bag_that_unpacks_beyond_the_limit_is_refused(
    write_bag: WriteBag,
    monkeypatch: pytest.MonkeyPatch,
    is_named_twice: bool,
) -> None:
    whole = write_bag([("/camera", "Image", raw(1))])
    size = next(entry for entry in whole.iterdir() if entry.suffix in (".mcap", ".db3")).stat()
    bag = packed_as_files(whole)
    if is_named_twice:
        about = yaml.safe_load((bag / "metadata.yaml").read_text())
        about["rosbag2_bagfile_information"]["relative_file_paths"] *= 2
        (bag / "metadata.yaml").write_text(yaml.safe_dump(about))
    monkeypatch.setattr(bag_reader, "MAX_UNPACKED_BYTES", size.st_size)
    if not is_named_twice:
        assert len(list(calibration_images(bag))) == 1
        monkeypatch.setattr(bag_reader, "MAX_UNPACKED_BYTES", size.st_size - 1)
    with pytest.raises(SourceError, match=r"unpacks to more than \d+ bytes.*TMPDIR"):
        list(calibration_images(bag))


def test_a_bag_that_would_fill_the_disk_is_refused(
    write_bag: WriteBag, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = packed_as_files(write_bag([("/camera", "Image", raw(1))]))
    real = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: real._replace(free=100))
    with pytest.raises(SourceError, match="more than 100 bytes"):
        list(calibration_images(bag))


def test_a_damaged_compressed_file_is_named(write_bag: WriteBag) -> None:
    bag = packed_as_files(write_bag([("/camera", "Image", raw(1))]))
    file = next(entry for entry in bag.iterdir() if entry.suffix == ".zstd")
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(SourceError, match=r"\.zstd: cannot be decompressed"):
        list(calibration_images(bag))


def test_a_chunk_that_needs_too_much_memory_is_reported(
    write_bag: WriteBag, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = write_bag([("/camera", "Image", raw(1))])

    def fail(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(bag_reader, "_connections", fail)
    with pytest.raises(SourceError, match="unpacks to more memory than is available"):
        list(calibration_images(bag))
