"""Definitions of ROS message types as texts, with the types that they use, as MCAP files need them.

The layout is that of rosbag2: the definition, then each further one after a line of ``=`` and its
name.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.bounded_file import is_regular_file, read_bytes
from edge_inference.errors import InputError

#: How MCAP calls this form of definitions, and the encoding of their messages.
SCHEMA_ENCODING, MESSAGE_ENCODING = "ros2msg", "cdr"
#: Between the definition of a type and those of the types that it uses.
SEPARATOR = "=" * 80
_MAX_BYTES = 1 << 20
_BUILT_IN = re.compile(r"bool|byte|char|w?string|float(32|64)|u?int(8|16|32|64)")
_TYPE = re.compile(r"[A-Za-z][\w/]*")


@dataclass(frozen=True)
class RosSchema:
    """A message type, such as sensor_msgs/msg/Image, with its definition."""

    name: str
    text: str


class RosDefinitions:
    """Reads definitions from the packages that are installed under some prefixes."""

    def __init__(self, prefixes: Sequence[str]) -> None:
        self._prefixes = prefixes

    def find(self, name: str) -> RosSchema:
        """Return the definition of a type, such as std_msgs/msg/Header, with all that it uses.

        Raises InputError where it, or one of those, is not installed.
        """
        package, _, type_name = name.split("/")
        texts: dict[str, str] = {}
        self._collect(f"{package}/{type_name}", texts)
        (root, *others) = texts.items()
        parts = [root[1], *(f"{SEPARATOR}\nMSG: {each}\n{text}" for each, text in others)]
        return RosSchema(name, "\n".join(parts))

    def _collect(self, name: str, texts: dict[str, str]) -> None:
        """Add the definition of a type, and of those that it uses, unless it is there."""
        if name in texts:
            return
        package, _, type_name = name.partition("/")
        place = Path("share") / package / "msg" / f"{type_name}.msg"
        files = [prefix / place for prefix in map(Path, self._prefixes)]
        file = next(filter(is_regular_file, files), None)
        if file is None:
            raise InputError(
                f"message type {name}: expected {place} in one of {', '.join(self._prefixes)}; "
                "source the workspace that has it"
            )
        texts[name] = _read_definition(file)
        for used in used_types(texts[name]):
            self._collect(used if "/" in used else f"{package}/{used}", texts)


def installed_prefixes() -> list[str]:
    """Return where ROS 2 is installed: the sourced prefixes, then that of wheels."""
    return [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]


def _read_definition(file: Path) -> str:
    try:
        return read_bytes(file, _MAX_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error


def used_types(definition: str) -> list[str]:
    """Return the message types of the fields in a definition, as they are named there."""
    found = []
    for line in definition.splitlines():
        match = _TYPE.match(line.partition("#")[0].strip())
        if match and not _BUILT_IN.fullmatch(match[0]):
            found.append(match[0].replace("/msg/", "/"))
    return list(dict.fromkeys(found))
