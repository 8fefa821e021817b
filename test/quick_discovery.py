"""Lets ROS processes of the tests find each other within a second, mostly at once."""

from __future__ import annotations

import os
from pathlib import Path

PROFILE = Path(__file__).with_name("quick_discovery.xml")
#: Where Fast DDS reads the file's name; Kilted's warns of the older one.
VARIABLE, OLD_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"
_OLD_DISTROS = ("humble", "iron", "jazzy")


def put_in_environment() -> None:
    """Choose the profile for this process and its children; call this before any ROS context."""
    is_old = os.environ.get("ROS_DISTRO") in _OLD_DISTROS
    os.environ[OLD_VARIABLE if is_old else VARIABLE] = str(PROFILE)
