"""Invalid ROS arguments of a process give a one-line error."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.composition.process import open_container
from edge_inference.errors import ConfigError
from hostile_files import UNREADABLE_FILES, YAML_TEXTS


@pytest.mark.parametrize("option", ["--params-file", "--log-config-file"])
@pytest.mark.parametrize("kind", UNREADABLE_FILES)
def test_arguments_that_are_not_files(tmp_path: Path, option: str, kind: str) -> None:
    UNREADABLE_FILES[kind](tmp_path / "file")
    refused(option, tmp_path / "file")


@pytest.mark.parametrize("kind", ["brackets", "digits", "billion laughs", "values"])
def test_too_large_parameter_files(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text(YAML_TEXTS[kind])
    refused("--params-file", tmp_path / "file")


def refused(option: str, file: Path) -> None:
    arguments = ["--ros-args", "-r", "__ns:=/odd", option, str(file)]
    with pytest.raises(ConfigError) as caught, open_container("odd_host", arguments):
        pass
    assert str(caught.value).startswith(f"{option} {file}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--params-file"], "No file path provided"),
        (["--no-such-option"], "does not know these arguments: .*--no-such-option"),
        (["-r", "x"], "remap rule: '-r x'"),
        (["--log-level", "loud"], "not use a valid severity level"),
        (["-r", "\udcff"], "codec can't encode"),
    ],
)
def test_ros_errors_omit_the_source_place(arguments: list[str], message: str) -> None:
    with (
        pytest.raises(ConfigError, match=message) as caught,
        open_container("odd_host", ["--ros-args", *arguments]),
    ):
        pass
    assert ".c" not in str(caught.value) and "\n" not in str(caught.value)


def test_valid_parameter_file_is_used(tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text("/**:\n  ros__parameters:\n    model: nanodet\n")
    with open_container("odd_host", ["--ros-args", "--params-file", str(file)]) as container:
        values = container.node._parameter_overrides
    assert values["model"].value == "nanodet"
