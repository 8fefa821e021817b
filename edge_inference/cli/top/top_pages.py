"""The pages of the monitor: what a snapshot looks like on a terminal of some size."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.text import Text

from edge_inference.cli.top.control_sections import (
    decision_section,
    engine_section,
    health_section,
    message_section,
    target_section,
)
from edge_inference.cli.top.figure_text import UNKNOWN, clock_time, duration
from edge_inference.cli.top.machine_sections import (
    machine_section,
    process_section,
    sensor_section,
)
from edge_inference.cli.top.page_section import (
    BETWEEN,
    PageSection,
    beside,
    fit_sections,
    list_sections,
)
from edge_inference.cli.top.pipeline_sections import (
    drop_section,
    end_section,
    result_section,
    stage_section,
    voice_section,
    wait_section,
)
from edge_inference.cli.top.text_graphics import fit_line
from edge_inference.cli.top.trends import Trends
from edge_inference.core.text_line import one_line
from edge_inference.observe.monitor.snapshot import Snapshot

#: From this width on the overview has two columns; the right one has a share of it.
_TWO_COLUMNS, _RIGHT_SHARE, _MIN_RIGHT = 130, 0.4, 56
#: A narrower header has no room for the time of observation.
_NARROW = 50
_MAX_STATUS_LINES = 3
_HELP = (
    ("1 2 3 4, Tab", "the page: overview, stages, sensors, log"),
    ("j k, arrows", "scroll a line; PgUp, PgDn and Space a page; Home and End (g G)"),
    ("p", "pause: the figures stand still, and are still observed"),
    ("?, h", "this help"),
    ("q, Ctrl-C", "quit"),
    ("", ""),
    ("/s", "frames per second, of an engine inferences"),
    ("end to end", "from capture to the end of publishing, over the report's window"),
    ("late, over", "frames that took longer than the deadline, since the start"),
    ("queue", "median of the wait before a stage"),
    ("way", "from the end of the stage before, or from capture"),
    ("share", "the stage's part of the time of a frame, by the medians"),
    ("dropped", "frames that a stage did not process, since the start, by reason"),
    ("wanted", "inferences per second that the node is asked for"),
    ("lock", "for how long another thread held Python's lock"),
    ("waits", "for how long threads were ready to run and waited for a core"),
    (UNKNOWN, "not known"),
)


@dataclass(frozen=True)
class TopView:
    """What the monitor knows: a snapshot, what came before it, and since when it observes."""

    snapshot: Snapshot
    trends: Trends = field(default_factory=Trends)
    messages: tuple[tuple[float, str], ...] = ()
    observed_s: float = 0.0


@dataclass(frozen=True)
class TopPlace:
    """What the user looks at: a page and its first shown line."""

    page: int = 0
    offset: int = 0
    is_paused: bool = False
    shows_help: bool = False


@dataclass(frozen=True)
class TopScreen:
    """The lines of a terminal, the height of the page on it, and how far it can be scrolled."""

    lines: list[Text]
    page_height: int
    max_offset: int


def compose_screen(
    view: TopView,
    place: TopPlace,
    width: int,
    height: int,
    *,
    is_ascii: bool = False,
    has_keys: bool = True,
) -> TopScreen:
    """Return exactly ``height`` lines of at most ``width`` cells."""
    above = [_header(view, width, is_paused=place.is_paused), *_status(view.snapshot, width)]
    page_height = max(0, height - len(above) - 1)
    if place.shows_help or place.page:
        sections = [_help_section()] if place.shows_help else _SCROLLED[place.page - 1](view, width)
        lines = list_sections(sections, width)
    else:
        lines = _fit_overview(view, width, page_height)
    max_offset = max(0, len(lines) - page_height)
    offset = min(place.offset, max_offset)
    shown = lines[offset : offset + page_height]
    shown += [Text()] * (page_height - len(shown))
    position = f"{offset + 1}-{offset + page_height} of {len(lines)}" if max_offset else ""
    footer = _footer(place, position, width, has_keys=has_keys)
    lines = [fit_line(line, width, is_ascii) for line in (*above, *shown, footer)]
    return TopScreen(lines[:height], page_height, max_offset)


def compose_text(
    view: TopView, width: int, max_rows: int | None = None, *, is_ascii: bool = False
) -> list[Text]:
    """Return the overview, of each section ``max_rows``, for output that is not redrawn."""
    lines = [
        _header(view, width, is_paused=False),
        *_status(view.snapshot, width),
        Text(),
        *list_sections(_all_sections(view, width), width, max_rows),
    ]
    return [fit_line(line, width, is_ascii) for line in lines]


def _fit_overview(view: TopView, width: int, height: int) -> list[Text]:
    if width < _TWO_COLUMNS:
        return fit_sections(_all_sections(view, width), height, width)
    right_width = max(_MIN_RIGHT, round(width * _RIGHT_SHARE))
    left_width = width - right_width - BETWEEN
    columns = [
        [fit_line(line, each) for line in fit_sections(sections, height, each)]
        for sections, each in (
            (_left_sections(view, left_width), left_width),
            (_right_sections(view, right_width), right_width),
        )
    ]
    return beside(columns[0], columns[1], left_width)


def _all_sections(view: TopView, width: int) -> list[PageSection]:
    sections = [*_left_sections(view, width), *_right_sections(view, width)]
    return sorted(sections, key=lambda section: section.rank)


def _left_sections(view: TopView, width: int) -> list[PageSection]:
    snapshot = view.snapshot
    return [
        *end_section(snapshot, view.trends, width),
        *stage_section(snapshot, width),
        *engine_section(snapshot, width),
        *voice_section(snapshot),
        *decision_section(snapshot, is_complete=False),
        *result_section(snapshot),
        *wait_section(snapshot, width),
    ]


def _right_sections(view: TopView, width: int) -> list[PageSection]:
    snapshot = view.snapshot
    return [
        *machine_section(snapshot, view.trends, width),
        *process_section(snapshot, width),
        *target_section(snapshot, width),
        *health_section(snapshot, width, is_complete=False),
        *message_section(view.messages, snapshot.at_s),
        *sensor_section(snapshot, width),
    ]


def _stage_page(view: TopView, width: int) -> list[PageSection]:
    snapshot = view.snapshot
    return [
        *end_section(snapshot, view.trends, width),
        *stage_section(snapshot, width),
        *wait_section(snapshot, width),
        *drop_section(snapshot),
        *engine_section(snapshot, width),
        *target_section(snapshot, width),
        *result_section(snapshot),
    ]


def _sensor_page(view: TopView, width: int) -> list[PageSection]:
    snapshot = view.snapshot
    return [
        *machine_section(snapshot, view.trends, width),
        *process_section(snapshot, width),
        *sensor_section(snapshot, width),
    ]


def _log_page(view: TopView, width: int) -> list[PageSection]:
    snapshot = view.snapshot
    return [
        *message_section(view.messages, snapshot.at_s),
        *decision_section(snapshot, is_complete=True),
        *health_section(snapshot, width, is_complete=True),
        *voice_section(snapshot),
    ]


#: The names of the pages; the first one is fitted to the height, the others are scrolled.
PAGES = ("overview", "stages", "sensors", "log")
_SCROLLED = (_stage_page, _sensor_page, _log_page)


def _help_section() -> PageSection:
    rows = [Text.assemble((f"{key:<14}", "bold"), text) for key, text in _HELP]
    return PageSection(Text("help"), rows)


def _header(view: TopView, width: int, *, is_paused: bool) -> Text:
    snapshot, platform = view.snapshot, view.snapshot.platform
    left = Text.assemble((snapshot.namespace or "edge-inference top", "bold"))
    if platform is not None:
        left.append(f"  {platform.board}")
        left.append(f"  {platform.mode}" if platform.mode else "")
    right = Text()
    if is_paused:
        right.append("PAUSED", "bold reverse yellow").append("  ")
    if width >= _NARROW:
        right.append(f"observed {duration(view.observed_s)}  ", "dim")
    right.append(clock_time(snapshot.at_s, snapshot.at_s), "bold")
    return _spread(left, right, width)


def _status(snapshot: Snapshot, width: int) -> Sequence[Text]:
    """Return why no pipeline is observed, where none is."""
    lines = textwrap.wrap(one_line(snapshot.status), max(width, 20))
    if len(lines) > _MAX_STATUS_LINES:
        lines[_MAX_STATUS_LINES - 1] += " …"
    return [Text.assemble((line, "bold yellow")) for line in lines[:_MAX_STATUS_LINES]]


def _footer(place: TopPlace, position: str, width: int, *, has_keys: bool) -> Text:
    if not has_keys:
        return Text("Ctrl-C ends", "dim")
    footer = Text()
    for number, name in enumerate(PAGES):
        is_shown = number == place.page and not place.shows_help
        footer.append(f" {number + 1} {name} ", "reverse" if is_shown else "")
    footer.append("  p pause  ? help  q quit", "dim")
    return _spread(footer, Text(position, "dim"), width)


def _spread(left: Text, right: Text, width: int) -> Text:
    """Return a line with a part at each end; the left one is cut where both do not fit."""
    room = max(1, width - right.cell_len - 1)
    left = left.copy()
    left.truncate(room, overflow="ellipsis", pad=True)
    return left.append(" ").append_text(right)
