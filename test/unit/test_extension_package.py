"""The tests' own extension package is visible while its fixture is active, and only then."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

import installed_extension


def test_this_process_finds_it(extension_package: None) -> None:
    assert distribution("my_robot").version == "1.0.0"
    assert importlib.util.find_spec("my_robot") is not None


def test_nothing_of_it_is_left_afterwards(tmp_path: Path) -> None:
    fixture = installed_extension.installed(tmp_path)
    next(fixture)
    import my_robot

    assert sys.modules["my_robot"] is my_robot
    assert next(fixture, "ended") == "ended"
    assert "my_robot" not in sys.modules
    assert importlib.util.find_spec("my_robot") is None
    with pytest.raises(PackageNotFoundError):
        distribution("my_robot")
