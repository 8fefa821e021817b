"""Progress on a stream: what is written, and how often."""

from __future__ import annotations

import io
import json

import pytest

from edge_inference.cli.progress import (
    ProgressBar,
    ProgressDisplay,
    ProgressJsonLines,
    ProgressLines,
    show_progress,
)


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_are_periodic_and_never_repeated() -> None:
    stream, clock = io.StringIO(), Clock()
    display = ProgressLines("building x", stream, 2.0, clock)
    for now, phase, fraction in [
        (0.0, "reading", None),
        (1.9, "building", 0.1),
        (2.0, "building", 0.254),
        (9.0, "building", 0.254),
        (9.1, "building", 0.3),
    ]:
        clock.now = now
        display(phase, fraction)
    assert stream.getvalue().splitlines() == [
        "building x: reading",
        "building x: 25% building",
        "building x: 30% building",
    ]


def test_json_is_an_object_a_line() -> None:
    stream = io.StringIO()
    with ProgressJsonLines("building x", stream, 0.0) as display:
        display("tactics of 'ü'", 1 / 3)
        display("more", None)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first == {
        "progress": {"what": "building x", "phase": "tactics of 'ü'", "fraction": 0.333}
    }
    assert second["progress"]["fraction"] is None


def test_a_bar_shows_brackets_and_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with ProgressBar("building x", stream) as display:
        display("layer [bold]1[/bold]", None)
        display("layer [2]", 0.5)
        display("done", 1.0)
    shown = stream.getvalue()
    assert "building x" in shown
    assert shown.endswith("\x1b[2K") or "\x1b[2K" in shown.rpartition("done")[2]


@pytest.mark.parametrize(
    "make", [lambda s: ProgressBar("x", s), lambda s: ProgressLines("x", s, 2.0)]
)
def test_work_without_progress_shows_nothing(make: object) -> None:
    stream = Terminal()
    with make(stream):  # type: ignore[operator]
        pass
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("stream", "as_json", "kind"),
    [
        (io.StringIO(), False, ProgressLines),
        (io.StringIO(), True, ProgressJsonLines),
        (Terminal(), True, ProgressJsonLines),
    ],
)
def test_the_stream_decides(
    stream: io.StringIO, as_json: bool, kind: type[ProgressDisplay]
) -> None:
    assert type(show_progress("x", stream, as_json)) is kind


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert type(show_progress("x", Terminal())) is ProgressBar
