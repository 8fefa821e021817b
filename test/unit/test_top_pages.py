"""The pages of the terminal monitor on terminals of all sizes."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from rich.cells import cell_len

from edge_inference.cli.top.figure_text import UNKNOWN
from edge_inference.cli.top.top_pages import PAGES, TopPlace, TopView, compose_text
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.observe.monitor.snapshot import Decision, Snapshot, VoiceRow
from top_kit import BARE, EMPTY, FULL, NOON_S, STAGES, VIEW, reading, show, stage

SIZES = [(80, 24), (120, 40), (200, 60)]
ODD_SIZES = [(1, 1), (20, 6), (129, 24), (130, 9)]
PLACES = [TopPlace(page) for page in range(len(PAGES))] + [
    TopPlace(shows_help=True),
    TopPlace(3, offset=5, is_paused=True),
]
HOSTILE = "\x1b[2J\x1b]0;owned\x07evil\nline\r\x9b31m\u202e[bold]"
MANY = dataclasses.replace(
    FULL,
    stages=tuple(stage(f"stage_{number}" * 3, 1.0) for number in range(256)),
    decisions=tuple(Decision(NOON_S - n, "level", "/ai/x", f"change {n}") for n in range(500)),
)


def hostile() -> Snapshot:
    """Return a snapshot in which every text comes from an attacker."""

    def spoil(value: object) -> object:
        if isinstance(value, str):
            return HOSTILE
        if isinstance(value, tuple):
            return tuple(map(spoil, value))
        if isinstance(value, dict):
            return dict.fromkeys([HOSTILE], 3)
        if dataclasses.is_dataclass(value) and not isinstance(value, Percentiles):
            names = [each.name for each in dataclasses.fields(value)]
            return dataclasses.replace(
                value, **{name: spoil(getattr(value, name)) for name in names}
            )
        return value

    spoiled = spoil(FULL)
    assert isinstance(spoiled, Snapshot)
    return spoiled


@pytest.mark.parametrize(("width", "height"), SIZES + ODD_SIZES)
@pytest.mark.parametrize("snapshot", [FULL, EMPTY, BARE, MANY, hostile()])
def test_every_line_fits(snapshot: Snapshot, width: int, height: int) -> None:
    view = dataclasses.replace(VIEW, snapshot=snapshot)
    for place, is_ascii in zip(PLACES, itertools.cycle((False, True)), strict=False):
        lines, screen = show(view, place, width, height, is_ascii=is_ascii)
        assert len(screen.lines) == len(lines) == height
        assert max(map(cell_len, lines)) <= width
        assert all(line.isprintable() for line in lines)
        assert not is_ascii or all(line.isascii() for line in lines)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_overview_has_everything_of_importance(width: int, height: int) -> None:
    lines, _ = show(VIEW, None, width, height)
    text = "\n".join(lines)
    for words in ("/ai", "jetson_orin", "25W", "observed 4:12", "12:03:11"):  # the header
        assert words in lines[0]
    for words in ("26.2", "24.9", "over 50 ms"):  # end to end
        assert words in text
    for name in ("preprocess", "inference", "decode", "overlay", "superseded 12, too_old 3"):
        assert name in text
    assert "/ai/" not in "\n".join(line for line in lines if "machine" not in line)
    for words in ("nanodet", "int8", "reduced", "preparing fp16 on trt 43%", "78 °C"):
        assert words in text
    for words in ("CPU", "43%", "GPU", "92%", "memory", "34%", "78.1 °C of 85", "11.2 W"):
        assert words in text
    assert "targets: 1 FAIL, 1 NOT MEASURED, 1 PASS" in text
    assert "● FAIL" in text
    assert "q quit" in lines[-1]


def test_a_large_terminal_shows_all_of_it() -> None:
    lines, _ = show(VIEW, None, 200, 60)
    text = "\n".join(lines)
    for words in (
        "4711",
        "112%",
        "1.5 GiB",
        "go forward half a metre",
        "move 0.5 m",
        "int8 on trt since 12:03: 78 °C",
        "12 of 1450 frames dropped",
        "person 0.91; cup 0.5",
        "a message of a library",
        "(optional)",
    ):
        assert words in text
    assert all("sensor " in line for line in lines if "more" in line)
    assert not any("OK " in line for line in lines)


def test_stages_are_in_the_order_of_the_frames() -> None:
    lines, _ = show(VIEW, TopPlace(1))
    names = [line.split()[0] for line in lines if line.split()]
    first = names.index("stage,")
    assert names[first + 1 : first + 5] == ["preprocess", "inference", "decode", "overlay"]


def test_what_is_not_shown_is_counted() -> None:
    text = "\n".join(show(dataclasses.replace(VIEW, snapshot=MANY), None, 80, 24)[0])
    assert "+2" in text and "more" in text
    lines = compose_text(dataclasses.replace(VIEW, snapshot=MANY), 120, 40)
    assert any("+216 more" in line.plain for line in lines)
    assert any("+460 more" in line.plain for line in lines)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_unknown_is_a_dash_and_never_0(width: int, height: int) -> None:
    view = TopView(BARE)
    for page in range(3):
        lines, _ = show(view, TopPlace(page), width, height)
        for line in lines:
            if line.startswith(("preprocess ", "decode ", "inference ")):
                assert UNKNOWN in line
                assert " 0.0" not in line
    text = "\n".join(show(view, None, width, height)[0])
    assert f"GPU    [{' ' * 4}" in text
    assert "0%" not in text and "0.0 W" not in text


def test_without_a_deadline_nobody_is_late() -> None:
    lines, _ = show(TopView(dataclasses.replace(FULL, deadline_ms=None)), None, 120, 40)
    row = lines[lines.index(next(line for line in lines if line.startswith("end to end"))) + 1]
    assert UNKNOWN in row
    assert "12" not in row


def test_why_no_pipeline_is_observed() -> None:
    text = "\n".join(show(TopView(EMPTY), None, 30, 10)[0])
    assert "no pipeline runs: start one," in text
    assert "or check the domain" in text
    assert "domain" in "\n".join(line.plain for line in compose_text(TopView(EMPTY), 80))


def test_a_status_without_end_leaves_room_for_the_page() -> None:
    endless = dataclasses.replace(FULL, status="word " * 500)
    lines, _ = show(TopView(endless))
    assert "…" in lines[3]
    assert "q quit" in lines[-1]
    assert any("preprocess" in line for line in lines)


def test_a_page_is_scrolled() -> None:
    first, screen = show(VIEW, TopPlace(2))
    assert screen.max_offset > 0
    assert "1-" in first[-1] and " of " in first[-1]
    second, _ = show(VIEW, TopPlace(2, offset=1))
    assert first[2:-1] == second[1:-2]
    last, _ = show(VIEW, TopPlace(2, offset=10**6))
    assert last[-2].strip()
    assert "zone/39" in "\n".join(last)


def test_hostile_texts_are_shown_as_they_are_and_do_nothing() -> None:
    lines, _ = show(TopView(hostile()), TopPlace(3), 200, 60)
    assert "\\x1b[2J" in "\n".join(lines)
    assert "[bold]" in "\n".join(lines)
    assert "\x1b" not in "\n".join(lines)


def test_wide_characters_do_not_break_the_columns() -> None:
    wide = dataclasses.replace(
        FULL,
        voice=VoiceRow(transcript="前に進んで" * 40, is_final=True),
        stages=(stage("検出器", 3.0), *STAGES),
    )
    for width, height in SIZES:
        lines, _ = show(TopView(wide), None, width, height)
        assert max(map(cell_len, lines)) <= width
    lines, _ = show(TopView(wide), TopPlace(1))
    first = next(place for place, line in enumerate(lines) if line.startswith("stage, ms")) + 1
    ends = {cell_len(line[: line.index("24.9")]) for line in lines[first : first + 5]}
    assert len(ends) == 1


def test_silent_stages_and_old_decisions_are_told() -> None:
    text = "\n".join(show(VIEW, TopPlace(1), 120, 60)[0])
    assert "silent for 7 s" in text
    assert "  clock faults 4\n" in "\n".join(map(str.rstrip, text.splitlines()))
    assert "preprocess: clock faults stamp_in_past 4" in text
    log = "\n".join(show(VIEW, TopPlace(3), 120, 60)[0])
    assert "12:03:10 engine" in log
    assert "12:02:41 health    decode: ok" in log
    assert "12:02:41" not in "\n".join(show(VIEW, None, 200, 60)[0])
    assert "2026-11-30 11:03:11 pipeline" in log
    assert log.index("12:03:10 engine") < log.index("2026-11-30")


def test_sensors_that_have_no_value_say_why() -> None:
    text = "\n".join(show(VIEW, TopPlace(2), 120, 60)[0])
    assert "the unit is off" in text
    assert "gated" in text
    cold = dataclasses.replace(FULL.platform, readings=(reading("a", "", value=None),))  # type: ignore[type-var]
    view = TopView(dataclasses.replace(FULL, platform=cold))
    row = next(line for line in show(view, TopPlace(2))[0] if line.startswith("a "))
    assert UNKNOWN in row


def test_without_keys_none_are_offered() -> None:
    lines, _ = show(VIEW, has_keys=False)
    assert lines[-1].strip() == "Ctrl-C ends"


def test_pause_and_help_are_shown() -> None:
    assert "PAUSED" in show(VIEW, TopPlace(is_paused=True))[0][0]
    text = "\n".join(show(VIEW, TopPlace(shows_help=True))[0])
    assert "quit" in text and "the stage's part of the time" in text
    assert text.count("…") == 0
