"""Requests to load a component, read without composition_interfaces."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.parameter import Parameter

from edge_inference.composition.load_services import make_node_arguments, read_autostart
from edge_inference.errors import ConfigError


def request(**given: Any) -> Any:
    fields = {"node_name": "", "node_namespace": "", "remap_rules": [], "log_level": 0, **given}
    return SimpleNamespace(**fields)


def extra(**values: Any) -> Any:
    messages = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    return request(extra_arguments=messages)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (extra(), True),
        (extra(autostart=False), False),
        (extra(autostart=True, use_intra_process_comms=True), True),
        (extra(forward_global_arguments=True, autostart=False), False),
    ],
)
def test_autostart_argument(asked: Any, expected: bool) -> None:
    assert read_autostart(asked) is expected


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (extra(autostart="false"), "autostart: expected true or false, got 'false'"),
        (extra(autostart=0), "autostart: expected true or false, got 0"),
        (extra(autostrat=False), "unknown extra argument 'autostrat'; did you mean 'autostart'"),
        (extra(lifecycle="off"), "unknown extra argument 'lifecycle'"),
    ],
)
def test_invalid_extra_arguments_are_refused(asked: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_autostart(asked)


@pytest.mark.parametrize(("level", "name"), [(10, "debug"), (50, "fatal")])
def test_log_levels(level: int, name: str) -> None:
    assert make_node_arguments(request(log_level=level))[-2:] == ["--log-level", name]
    assert "--log-level" not in make_node_arguments(request())


@pytest.mark.parametrize("level", [1, 15, 60, 255])
def test_unknown_log_level_is_refused(level: int) -> None:
    with pytest.raises(ConfigError, match=f"got {level}"):
        make_node_arguments(request(log_level=level))
