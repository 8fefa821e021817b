"""A launch file starts a dashboard beside its nodes where the user asks for one."""

from __future__ import annotations

import pytest

from edge_inference.cli.command_line import make_parser
from edge_inference.errors import ConfigError
from launch_files import LaunchFile, Started, real_packages_are_installed

NAMES = ["perception", "voice", "robot"]


@pytest.fixture(params=NAMES)
def file(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> LaunchFile:
    double = not real_packages_are_installed()
    return LaunchFile(f"{request.param}.launch.py", monkeypatch, double=double)


def options(process: Started) -> dict[str, object]:
    """Return the options of the command line of a process, as the command itself reads them."""
    program, *words = process.cmd
    assert type(program).__name__ == "ExecutableInPackage"
    return vars(make_parser().parse_args(words))


def test_there_is_none_by_default(file: LaunchFile) -> None:
    assert file.declared()["dashboard"][0] == "false"
    nodes = file.start()
    assert file.processes == []
    assert len(file.start(dashboard="true")) == len(nodes)


@pytest.mark.parametrize("composed", ["true", "false"])
@pytest.mark.parametrize(
    ("namespace", "observed"), [("", "/ai"), ("robot1", "/robot1/ai"), ("/a/b/", "/a/b/ai")]
)
def test_it_observes_the_pipeline_of_the_launch(
    file: LaunchFile, composed: str, namespace: str, observed: str
) -> None:
    nodes = file.start(dashboard="true", composed=composed, namespace=namespace)
    (process,) = file.processes
    found = options(process)
    assert (found["command"], found["namespace"], found["port"]) == ("dashboard", observed, 8080)
    assert (found["host"], found["allow_changes"]) == ("127.0.0.1", False)
    assert process.additional_env == nodes[0].additional_env
    assert process.output == "screen"


def test_the_port(file: LaunchFile) -> None:
    file.start(dashboard="true", dashboard_port="9000")
    assert options(file.processes[0])["port"] == 9000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dashboard": "perhaps"}, "dashboard: expected true or false, got 'perhaps'"),
        ({"dashboard": "true", "dashboard_port": "http"}, "dashboard_port: expected a port"),
        ({"dashboard": "true", "dashboard_port": "65536"}, "dashboard_port: expected a port"),
    ],
)
def test_a_wrong_argument_is_refused(
    file: LaunchFile, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        file.start(**arguments)


def test_the_platform_manager_alone_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    file = LaunchFile("platform.launch.py", monkeypatch, double=not real_packages_are_installed())
    assert "dashboard" not in file.declared()
