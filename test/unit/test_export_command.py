"""``edge-inference export``: its options, its messages and its exit codes."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edge_inference.cli.command_line import run
from edge_inference.cli.exit_status import EXIT_FAILED, EXIT_USAGE
from edge_inference.cli.export import export_robot as module
from edge_inference.cli.export.export_options import listen_address, otlp_url
from edge_inference.observe.monitor.snapshot import Snapshot
from robot_snapshot import empty_snapshot, full_snapshot


@dataclass
class FakeRobot:
    """Gives one snapshot after another; the user ends the command at the last one."""

    snapshots: list[Snapshot]
    namespace: str | None = None

    @contextmanager
    def open(
        self, command: str, namespace: str, on_message: Callable[[str], None], *, verbose: bool
    ) -> Iterator[FakeRobot]:
        assert command == "export" and not verbose
        self.namespace = namespace
        yield self

    def snapshot(self) -> Snapshot:
        if len(self.snapshots) == 1:
            signal.raise_signal(signal.SIGINT)
            return self.snapshots[0]
        return self.snapshots.pop(0)


@pytest.fixture
def observe(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRobot]:
    def replace_robot(*snapshots: Snapshot) -> FakeRobot:
        robot = FakeRobot(list(snapshots))
        monkeypatch.setattr(module, "open_monitor", robot.open)
        return robot

    return replace_robot


def export(*words: str) -> int:
    return run(["export", "--period-s", "0.1", *words])


def test_lines_are_written_until_the_user_ends_it(
    observe: Callable[..., FakeRobot], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robot = observe(full_snapshot(), full_snapshot(), full_snapshot())
    file = tmp_path / "robot.jsonl"
    assert export("--json", str(file), "--namespace", "/ai") == 0
    assert robot.namespace == "/ai"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["namespace"] for line in lines] == ["/ai"] * 3
    assert capsys.readouterr().err == "edge-inference: the pipeline in /ai is observed\n"


def test_lines_are_written_until_the_time_is_over(
    observe: Callable[..., FakeRobot], tmp_path: Path
) -> None:
    observe(*[full_snapshot()] * 10_000)
    file = tmp_path / "robot.jsonl"
    assert export("--json", str(file), "--seconds", "0.1") == 0
    assert 1 <= len(file.read_text().splitlines()) < 10_000


def test_a_pipeline_that_goes_and_comes_back_is_said(
    observe: Callable[..., FakeRobot], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = empty_snapshot()
    observe(gone, gone, full_snapshot(), gone, full_snapshot())
    assert export("--json", str(tmp_path / "robot.jsonl")) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2] for line in said] == [
        gone.status,
        "the pipeline in /ai is observed",
        gone.status,
        "the pipeline in /ai is observed",
    ]


def test_a_silence_is_said_once(
    observe: Callable[..., FakeRobot], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silences = [f"nothing has come from /ai for {seconds} s" for seconds in (6, 7, 8)]
    observe(*(replace(full_snapshot(), status=silence) for silence in silences))
    assert export("--json", str(tmp_path / "robot.jsonl")) == 0
    assert capsys.readouterr().err == f"edge-inference: {silences[0]}\n"


def test_no_pipeline_within_the_time_is_a_failure(
    observe: Callable[..., FakeRobot], tmp_path: Path
) -> None:
    observe(*[empty_snapshot()] * 10_000)
    words = ("--json", str(tmp_path / "robot.jsonl"), "--seconds", "0.1")
    assert export(*words) == EXIT_FAILED


def test_a_full_disk_ends_nothing_and_is_a_failure_at_the_end(
    observe: Callable[..., FakeRobot], capsys: pytest.CaptureFixture[str]
) -> None:
    observe(full_snapshot(), full_snapshot(), full_snapshot())
    assert export("--json", "/dev/full") == EXIT_FAILED
    said = [line for line in capsys.readouterr().err.splitlines() if "No space left" in line]
    assert len(said) == 1


def test_something_must_be_exported(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export"]) == EXIT_USAGE
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "--prometheus" in said and "--json" in said


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        ("0", ("127.0.0.1", 0)),
        ("0.0.0.0:9464", ("0.0.0.0", 9464)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:9464", ("::1", 9464)),
    ],
)
def test_an_address_to_listen_on(text: str, address: tuple[str, int]) -> None:
    assert listen_address(text) == address


@pytest.mark.parametrize("text", ["", "x", "-1", "65536", ":9464", "host:", "host:x", "9464:", "٣"])
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a port such as 9464"):
        listen_address(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/metrics"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/metrics"),
        ("https://example.com/otlp/v1/metrics", "https://example.com/otlp/v1/metrics"),
    ],
)
def test_the_url_of_a_collector(text: str, url: str) -> None:
    assert otlp_url(text) == url


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1:4318", "grpc://a:4317", "http://", "http://a:x", "http://a:99999"]
)
def test_anything_else_is_no_url(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a URL such as"):
        otlp_url(text)
