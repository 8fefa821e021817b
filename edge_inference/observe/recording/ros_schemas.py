"""Definitions of ROS message types as texts, with the types that they use, as MCAP files need them.

The layout is that of rosbag2: the definition, then each further one after a line of ``=`` and its
name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.bounded_file import read_bytes
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
    """Reads definitions from the share folders of packages.

    ``find_share`` returns the folder of a package; it may raise LookupError. The parts of a type's
    name are package, ``msg`` and name.
    """

    def __init__(self, find_share: Callable[[str], str]) -> None:
        self._find_share = find_share

    def find(self, name: str) -> RosSchema:
        """Return the definition of a type with all that it uses; raises InputError without one."""
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
        try:
            file = Path(self._find_share(package)) / "msg" / f"{type_name}.msg"
            texts[name] = read_bytes(file, _MAX_BYTES).decode("utf-8", errors="replace")
        except (LookupError, OSError) as error:
            raise InputError(
                f"message type {name}: expected its definition in the share folder of its package, "
                f"got none ({error}); source the workspace that has it"
            ) from error
        for used in used_types(texts[name]):
            self._collect(used if "/" in used else f"{package}/{used}", texts)


def used_types(definition: str) -> list[str]:
    """Return the message types of the fields in a definition, as they are named there."""
    found = []
    for line in definition.splitlines():
        match = _TYPE.match(line.partition("#")[0].strip())
        if match and not _BUILT_IN.fullmatch(match[0]):
            found.append(match[0].replace("/msg/", "/"))
    return list(dict.fromkeys(found))
