"""The Fast DDS profile in the environment of this process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.bounded_file import read_text
from edge_inference.observe.doctor.system_view import SystemView

#: The older name is still read; the newer one wins.
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
#: The segment of config/fastdds.xml.
SHIPPED_SEGMENT_BYTES = 67_108_864
#: What Fast DDS takes without a profile.
DEFAULT_SEGMENT_BYTES = 512 << 10
_SEGMENT = re.compile(r"<segment_size>\s*(\d+)\s*</segment_size>")


@dataclass(frozen=True)
class MiddlewareProfile:
    """``variable`` and ``file`` are empty without a profile.

    ``segment_bytes`` is the largest shared memory segment in it, None if it names none.
    ``problem`` says why it cannot be read.
    """

    variable: str = ""
    file: str = ""
    segment_bytes: int | None = None
    problem: str = ""


def find_profile(view: SystemView) -> MiddlewareProfile:
    """Return the profile that a process with this environment uses."""
    for variable in PROFILE_VARIABLES:
        file = view.environment.get(variable, "")
        if file:
            try:
                text = read_text(Path(file))
            except OSError as error:
                return MiddlewareProfile(variable, file, problem=error.strerror or str(error))
            sizes = [int(size) for size in _SEGMENT.findall(text)]
            return MiddlewareProfile(variable, file, max(sizes, default=None))
    return MiddlewareProfile()
