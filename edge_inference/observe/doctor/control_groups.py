"""The files of the control groups that limit this process, in version 1 and version 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from edge_inference.observe.doctor.system_view import SystemView

_MOUNT = "sys/fs/cgroup"


def find_group_files(view: SystemView, controller: str, name: str) -> Iterator[str]:
    """Yield the paths of a file in the group of this process and in those around it.

    ``controller`` is that of version 1; empty for version 2. In a container, whose own group is
    the root of what it sees, that is one file.
    """
    groups = _find_groups(view)
    path = groups.get(controller)
    if path is None:
        return
    base = f"{_MOUNT}/{controller}" if controller else _MOUNT
    group = PurePosixPath(path.lstrip("/"))
    for each in (group, *group.parents):
        file = f"{base}/{each}/{name}" if each.parts else f"{base}/{name}"
        if view.exists(file):
            yield file


def _find_groups(view: SystemView) -> dict[str, str]:
    """Return the group of this process by controller; the key of version 2 is empty."""
    groups = {}
    for line in (view.find("proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number.isdecimal() and path.startswith("/"):
            groups.update(dict.fromkeys(controllers.split(","), path))
    return groups
