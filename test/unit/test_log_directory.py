"""A ROS log directory that is missing or not writable is reported with a hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.composition.log_directory import find_log_problem


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "{}"}, "{}/.ros/log"),
        ({"HOME": "{}", "ROS_HOME": "{}/home"}, "{}/home/log"),
        ({"HOME": "{}", "ROS_HOME": "{}/home", "ROS_LOG_DIR": "{}/logs"}, "{}/logs"),
        ({"HOME": "{}", "ROS_LOG_DIR": "~/logs"}, "{}/logs"),
        ({"ROS_LOG_DIR": "{}/logs"}, "{}/logs"),
    ],
)
def test_same_directory_as_ros(tmp_path: Path, environ: dict[str, str], expected: str) -> None:
    given = {name: value.format(tmp_path) for name, value in environ.items()}
    assert find_log_problem(given) is None
    (tmp_path / "taken").write_text("no folder")
    broken = {name: value.replace("{}", f"{tmp_path}/taken") for name, value in environ.items()}
    said = find_log_problem(broken)
    assert said is not None and "$ROS_LOG_DIR" in said and "Not a directory" in said
    assert expected.format(tmp_path / "taken") in said


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"ROS_LOG_DIR": "~/logs"}])
def test_missing_home_is_reported(environ: dict[str, str]) -> None:
    said = find_log_problem(environ)
    assert said is not None and "$HOME is not set" in said and "$ROS_LOG_DIR" in said
