"""Reads images from a recorded bag without ROS: rosbag2 folders, .mcap and .db3 files."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from edge_inference.core.bounded_file import is_regular_file
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.runtime.memory_limit import memory_hint
from edge_inference.core.yaml_file import load_yaml
from edge_inference.errors import ConfigError, SourceError

METADATA = "metadata.yaml"
SUFFIXES = (".mcap", ".db3")

# Files that SQLite opens next to its database.
_SQLITE_SUFFIXES = ("-journal", "-wal", "-shm")

#: Limit for a bag whose files are compressed as a whole: hours of images.
MAX_UNPACKED_BYTES = 64 << 30
_CHUNK_BYTES = 1 << 20

_IMAGE = "sensor_msgs/msg/Image"
_COMPRESSED = "sensor_msgs/msg/CompressedImage"


def is_bag(path: Path) -> bool:
    """Tell whether a path is a recorded bag. Raises SourceError for a bag without its metadata."""
    if not path.is_dir():
        if not (path.is_file() and path.suffix.lower() in SUFFIXES):
            return False
        _check_regular_files(path.with_name(path.name + ending) for ending in _SQLITE_SUFFIXES)
        return True
    entries = list(path.iterdir())
    files = [file for file in entries if file.suffix.lower() in SUFFIXES]
    if (path / METADATA).is_file():
        try:
            load_yaml(path / METADATA)  # rosbags has no limit on size and depth
        except ConfigError as error:
            raise SourceError(str(error)) from error
        # The metadata may name any of these files, whatever its suffix.
        _check_regular_files(entry for entry in entries if entry in files or not entry.is_dir())
        return True
    if files:
        raise SourceError(
            f"{path}: a recorded bag without {METADATA}; name its file, or rebuild the metadata "
            f"with: ros2 bag reindex {path}"
        )
    return False


def _check_regular_files(entries: Iterable[Path]) -> None:
    """Raise SourceError for anything but a regular file: a reader would block on a pipe."""
    for entry in entries:
        if os.path.lexists(entry) and not is_regular_file(entry):
            raise SourceError(
                f"{entry}: expected a regular file of a recorded bag; record the bag again"
            )


def _check_disk_space(path: Path) -> None:
    """Raise SourceError for compressed bag files that do not fit on the disk once unpacked.

    The reader unpacks all files of the metadata into the folder for temporary files.
    """
    if not path.is_dir():
        return
    info = load_yaml(path / METADATA).plain().get("rosbag2_bagfile_information")
    if not isinstance(info, dict) or str(info.get("compression_mode")).lower() != "file":
        return
    open_compressed, damaged = _import_zstd()
    folder = Path(tempfile.gettempdir())
    left = available = min(shutil.disk_usage(folder).free, MAX_UNPACKED_BYTES)
    names = info.get("relative_file_paths")
    for name in names if isinstance(names, list) else ():
        file = path / PurePath(str(name)).name
        try:
            with file.open("rb") as packed, open_compressed(packed, "rb") as stream:
                while left >= 0 and (chunk := stream.read(_CHUNK_BYTES)):
                    left -= len(chunk)
        except (OSError, EOFError, damaged) as error:
            raise SourceError(
                f"{file}: cannot be decompressed ({error}); record the bag again"
            ) from error
        if left < 0:
            raise SourceError(
                f"{file}: the recorded bag unpacks to more than {available} bytes, the limit or "
                f"the free space in {folder}; name another folder with $TMPDIR, or record less"
            )


def _import_zstd() -> tuple[Callable[..., Any], type[Exception]]:
    """Return the open function and the error class of the zstd module that rosbags uses."""
    zstd = getattr(importlib.import_module("rosbags.rosbag2.reader"), "zstd", None)
    zstd = zstd or importlib.import_module("zstandard")
    return zstd.open, zstd.ZstdError


def bag_images(
    path: Path, topic: str, choose: Callable[[int], Sequence[int]]
) -> Iterator[Frame | CompressedFrame]:
    """Yield images of one topic. ``choose`` gets the number of messages and returns indices.

    With an empty ``topic`` the bag must have one topic with images. Stamp and frame_id are those
    of the message. Raises SourceError for a bag that cannot be read or has no such topic, and
    if the package rosbags is missing.
    """
    highlevel, typesys = _import_rosbags()
    _check_disk_space(path)
    types = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
    try:
        with highlevel.AnyReader([path], default_typestore=types) as reader:
            connections = _connections(reader, topic, path)
            indices = set(choose(sum(entry.msgcount for entry in connections)))
            messages = reader.messages(connections=connections)
            for index, (connection, _, data) in enumerate(messages):
                if index in indices:
                    yield _frame(reader.deserialize(data, connection.msgtype), connection.msgtype)
    except SourceError:
        raise
    except MemoryError as error:
        raise SourceError(
            f"{path}: a message or chunk of the recorded bag unpacks to more memory than is "
            f"available: {memory_hint()}"
        ) from error
    except Exception as error:  # the readers raise many types for a damaged file
        raise SourceError(
            f"{path}: the recorded bag cannot be read ({error or type(error).__name__}); "
            "check it with: ros2 bag info"
        ) from error


def _connections(reader: Any, topic: str, path: Path) -> list[Any]:
    images = [entry for entry in reader.connections if entry.msgtype in (_IMAGE, _COMPRESSED)]
    topics = sorted({entry.topic for entry in images})
    if not topics:
        others = ", ".join(sorted({entry.topic for entry in reader.connections})) or "none"
        raise SourceError(f"{path}: no topic with images in this bag; its topics: {others}")
    if not topic and len(topics) > 1:
        raise SourceError(f"{path}: several topics with images, name one: {', '.join(topics)}")
    chosen = topic or topics[0]
    found = [entry for entry in images if entry.topic == chosen]
    if not found:
        raise SourceError(f"{path}: no images on {topic!r} in this bag; on {', '.join(topics)}")
    if not sum(entry.msgcount for entry in found):
        raise SourceError(f"{path}: the topic {chosen!r} has no message in this bag")
    return found


def _frame(message: Any, kind: str) -> Frame | CompressedFrame:
    stamp = message.header.stamp
    stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
    data = np.asarray(message.data, dtype=np.uint8)
    if kind == _COMPRESSED:
        return CompressedFrame(data, message.format, stamp_ns, message.header.frame_id)
    return Frame(
        data,
        message.width,
        message.height,
        message.encoding,
        message.step,
        bool(message.is_bigendian),
        stamp_ns,
        message.header.frame_id,
    )


def _import_rosbags() -> tuple[Any, Any]:
    try:
        return (
            importlib.import_module("rosbags.highlevel"),
            importlib.import_module("rosbags.typesys"),
        )
    except ImportError as error:
        raise SourceError(
            f"recorded bags need the package rosbags, which cannot be imported ({error}); "
            "install it with: pip install rosbags"
        ) from error
