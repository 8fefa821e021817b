"""Figures, bars, columns and sections of the terminal monitor."""

from __future__ import annotations

import dataclasses
import math

import pytest
from rich.text import Text

from edge_inference.cli.top import figure_text
from edge_inference.cli.top.figure_text import UNKNOWN
from edge_inference.cli.top.page_section import PageSection, beside, fit_sections, list_sections
from edge_inference.cli.top.stage_order import time_shares
from edge_inference.cli.top.text_columns import TextColumn, make_columns
from edge_inference.cli.top.text_graphics import bar, fit_line, sparkline
from edge_inference.cli.top.trends import BUCKET_S, Trends, read_trends
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.observe.monitor.history import History
from edge_inference.observe.monitor.snapshot import EndRow
from top_kit import ENDS, FULL, NOON_S, spread, stage

NAN = math.nan


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (figure_text.milliseconds(None), UNKNOWN),
        (figure_text.milliseconds(NAN), UNKNOWN),
        (figure_text.milliseconds(0.0), "0.0"),
        (figure_text.milliseconds(1234.56), "1235"),
        (figure_text.percent(None), UNKNOWN),
        (figure_text.percent(math.inf), UNKNOWN),
        (figure_text.percent(1.12), "112%"),
        (figure_text.mebibytes(None), UNKNOWN),
        (figure_text.mebibytes(340.4), "340 MiB"),
        (figure_text.mebibytes(1536.0), "1.5 GiB"),
        (figure_text.quantity(None, "W"), UNKNOWN),
        (figure_text.quantity(78.06, "°C"), "78.1 °C"),
        (figure_text.count(None), UNKNOWN),
        (figure_text.duration(-1.0), "0:00"),
        (figure_text.duration(252.9), "4:12"),
        (figure_text.duration(3852.0), "1:04:12"),
        (figure_text.counts({"b": 2, "a": 2, "c": 0, "d": 9}), "d 9, a 2, b 2"),
        (figure_text.clock_time(NOON_S, NOON_S), "12:03:11"),
        (figure_text.clock_time(NOON_S - 86_400, NOON_S), "2026-11-30 12:03:11"),
        (figure_text.clock_time(NOON_S - 13 * 3600, NOON_S), "2026-11-30 23:03:11"),
        (figure_text.clock_time(1e300, NOON_S), UNKNOWN),
        (figure_text.clock_time(NAN, NOON_S), UNKNOWN),
    ],
)
def test_figures(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize(
    ("share", "width", "expected"),
    [
        (None, 3, "   "),
        (NAN, 3, "   "),
        (0.0, 3, "   "),
        (-1.0, 3, "   "),
        (0.5, 3, "█▌ "),
        (1.0, 3, "███"),
        (7.0, 3, "███"),
        (0.5, 0, ""),
    ],
)
def test_bars(share: float | None, width: int, expected: str) -> None:
    assert bar(share, width) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), "    "),
        ((NAN, None), "    "),
        ((5.0,), "   ▁"),
        ((0.0, 1.0), "  ▁█"),
        ((9.0, 0.0, 1.0, NAN, 0.5), "▁█ ▅"),
    ],
)
def test_sparklines(values: tuple[float, ...], expected: str) -> None:
    assert sparkline(values, 4) == expected


def test_a_scale_of_a_sparkline() -> None:
    assert sparkline((0.5, 2.0, -1.0), 3, 0.0, 1.0) == "▅█▁"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("plain", 9, "plain"),
        ("too long", 5, "too …"),
        ("x", 1, "x"),
        ("xy", 1, "…"),
        ("\x1b[31mred\nnext", 40, "\\x1b[31mred next"),
        ("日本語", 4, "日 …"),
    ],
)
def test_a_line_fits(text: str, width: int, expected: str) -> None:
    assert fit_line(Text(text), width).plain == expected


def test_ascii_lines_have_the_same_width() -> None:
    line = fit_line(Text(f"● 78 °C {UNKNOWN} █▌ ▁█ 日 é …"), 40, is_ascii=True)
    assert line.plain == "* 78 'C - #: _# ?? ? ~"


def columns(*cells: str) -> list[TextColumn]:
    return [
        TextColumn("name", [cells[0]], is_number=False, min_width=6),
        TextColumn("a", [cells[1]], rank=1),
        TextColumn("b", [cells[2]], rank=2),
        TextColumn("remark", [cells[3]], rank=1, is_number=False, min_width=6),
    ]


@pytest.mark.parametrize(
    ("width", "header", "row"),
    [
        (40, "name          a   b  remark", "preprocess  1.0  22  a long remark"),
        (30, "name          a   b  remark", "preprocess  1.0  22  a long r…"),
        (23, "name      a   b  remark", "prepr…  1.0  22  a lon…"),
        (22, "name        a  remark", "preproc…  1.0  a long…"),
        (12, "name       a", "prepro…  1.0"),
        (8, "name", "preproc…"),
        (1, "…", "…"),
    ],
)
def test_columns_go_where_the_width_is_short(width: int, header: str, row: str) -> None:
    found = make_columns(columns("preprocess", "1.0", "22", "a long remark"), width)
    assert (found[0].plain, [each.plain for each in found[1]]) == (header, [row])


def section(name: str, rows: int, rank: int, min_rows: int = 1) -> PageSection:
    return PageSection(Text(name), [Text(f"{name}{n}") for n in range(rows)], rank, min_rows)


@pytest.mark.parametrize(
    ("height", "expected"),
    [
        (0, []),
        (1, []),
        (2, ["b     +1 more", "b0"]),
        (4, ["a     +2 more", "a0", "b     +1 more", "b0"]),
        (6, ["a     +1 more", "a0", "a1", "b", "b0", "b1"]),
        (7, ["a", "a0", "a1", "a2", "b", "b0", "b1"]),
        (8, ["a", "a0", "a1", "a2", "", "b", "b0", "b1"]),
    ],
)
def test_sections_share_the_height(height: int, expected: list[str]) -> None:
    lines = fit_sections([section("a", 3, 1), section("b", 2, 0)], height, 13)
    assert [line.plain for line in lines] == expected


@pytest.mark.parametrize(
    ("height", "shown"),
    [
        (4, "a a0 b b0"),
        (7, "a a0 a1 a2 b b0 b1"),
        (10, "a a0 a1 a2 b b0 b1"),
        (11, "a a0 a1 a2 f f0 b b0 b1"),
        (12, "a a0 a1 a2 f f0 f1 b b0 b1"),
    ],
)
def test_a_filler_gets_what_is_left(height: int, shown: str) -> None:
    filler = dataclasses.replace(section("f", 9, 0), is_filler=True)
    lines = fit_sections([section("a", 3, 1), filler, section("b", 2, 0)], height, 13)
    assert [line.plain.split()[0] for line in lines if line.plain] == shown.split()


def test_many_rows_leave_a_blank_line_between_sections() -> None:
    lines = fit_sections([section("a", 50, 1), section("b", 2, 0)], 20, 13)
    assert [line.plain for line in lines[-4:]] == ["", "b", "b0", "b1"]
    assert len(lines) == 20


def test_sections_without_a_limit() -> None:
    lines = list_sections([section("a", 3, 1), section("b", 1, 0)], 13, 2)
    assert [line.plain for line in lines] == ["a     +1 more", "a0", "a1", "", "b", "b0"]
    assert list_sections([], 13) == []


def test_two_columns_of_lines() -> None:
    lines = beside([Text("a"), Text("bb")], [Text("x"), Text("y"), Text("z")], 3)
    assert [line.plain for line in lines] == ["a   │ x", "bb  │ y", "    │ z"]


def test_the_share_of_a_stage() -> None:
    rows = [stage("preprocess", 1.5), stage("inference", 5.5), stage("overlay", 9.5)]
    assert time_shares(rows, ENDS) == pytest.approx([0.25, 0.75, None])
    assert time_shares(rows, ()) == [None] * 3
    overlay = EndRow("overlay", "/ai/overlay", 9, spread(130.0), spread(1.0), 0)
    # The overlay is after the decoder: its way is longer.
    assert time_shares(rows, (overlay, *ENDS)) == pytest.approx([0.25, 0.75, 10.0 / 18.0])
    rows[0] = dataclasses.replace(rows[0], queue=Percentiles())
    assert time_shares(rows, ENDS) == [None] * 3
    assert time_shares([stage("planner", 1.0)], ENDS) == [None]
    assert time_shares([stage("decode", 0.0, queue=spread(0.0), transport=spread(0.0))], ENDS) == [
        None
    ]


def test_trends_are_means_of_buckets() -> None:
    history = History()
    assert read_trends(history, ENDS) == Trends()
    begin_s = NOON_S // BUCKET_S * BUCKET_S
    platform = FULL.platform
    assert platform is not None
    for second in range(7):
        gpu = None if second < 5 else 0.5
        row = dataclasses.replace(platform, cpu_share=second / 10, gpu_share=gpu)
        history.append(dataclasses.replace(FULL, at_s=begin_s + second, platform=row))
    trends = read_trends(history, ENDS)
    assert trends.cpu[-2:] == pytest.approx((0.2, 0.55))
    assert math.isnan(trends.cpu[-3])
    assert math.isnan(trends.gpu[-2]) and trends.gpu[-1] == 0.5
    assert trends.latency["/ai/decode"][-1] == pytest.approx(26.2)
    assert read_trends(history, ()).latency == {}
