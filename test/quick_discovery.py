"""A Fast DDS profile with which the ROS processes of the tests discover each other in a second."""

from __future__ import annotations

import os
from pathlib import Path

PROFILE = Path(__file__).with_name("quick_discovery.xml")
#: The variables from which Fast DDS reads the profile's path; Kilted warns about the old one.
VARIABLE, OLD_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"
_OLD_DISTROS = ("humble", "iron", "jazzy")


def put_in_environment() -> None:
    """Set the profile for this process and its children. Call this before any ROS context opens."""
    is_old = os.environ.get("ROS_DISTRO") in _OLD_DISTROS
    os.environ[OLD_VARIABLE if is_old else VARIABLE] = str(PROFILE)
