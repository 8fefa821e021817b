"""What ``--source`` means: images to read, a camera, or somebody else's topic."""

from __future__ import annotations

import enum
import re
from pathlib import Path

# Stricter than ROS on purpose: the text may be a mistyped path as well.
_TOPIC = re.compile(r"(?!.*__)(/[A-Za-z_]\w*)+", re.ASCII)


class SourceKind(enum.Enum):
    """Who brings the images, and whether they wait for us."""

    FILES = "files"
    DEVICE = "device"
    TOPIC = "topic"


def source_kind(source: str) -> SourceKind:
    """Tell a topic from a device from everything else, which is files.

    A topic starts with a slash, has a topic's characters, and is no path that
    exists; a device is a number or lies in /dev.
    """
    if source.isdecimal() or source.startswith("/dev/"):
        return SourceKind.DEVICE
    return SourceKind.TOPIC if is_topic_name(source) and not _exists(source) else SourceKind.FILES


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # longer than any file's name can be, or in a folder that we may not enter
        return False


def is_topic_name(text: str) -> bool:
    """Tell whether a text can be an absolute topic name."""
    return _TOPIC.fullmatch(text) is not None
