"""The kinds of ``--source``: files, a camera, or the topic of another node."""

from __future__ import annotations

import enum
import re
from pathlib import Path

# Stricter than ROS on purpose: the text may also be a mistyped path.
_TOPIC = re.compile(r"(?!.*__)(/[A-Za-z_]\w*)+", re.ASCII)


class SourceKind(enum.Enum):
    """Where the images come from, and whether they can wait."""

    FILES = "files"
    DEVICE = "device"
    TOPIC = "topic"


def source_kind(source: str) -> SourceKind:
    """Return the kind of a source: a topic, a device, or otherwise files.

    A topic begins with a slash, has only characters of a topic name, and is not an existing
    path; a device is a number or a path in /dev.
    """
    if source.isdecimal() or source.startswith("/dev/"):
        return SourceKind.DEVICE
    return SourceKind.TOPIC if is_topic_name(source) and not _exists(source) else SourceKind.FILES


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # longer than a file name can be, or in a folder without permission
        return False


def is_topic_name(text: str) -> bool:
    """Tell whether a text can be an absolute topic name."""
    return _TOPIC.fullmatch(text) is not None
