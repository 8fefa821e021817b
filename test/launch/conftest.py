"""Fast discovery between the processes of the tests."""

from __future__ import annotations

import quick_discovery


def pytest_configure() -> None:
    """Set the environment before any ROS context."""
    quick_discovery.put_in_environment()
