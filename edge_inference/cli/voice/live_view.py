"""A live view of a voice run on a terminal: level, transcript, intent, plan and velocity."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edge_inference.cli.voice.expectations import SentenceResult
from edge_inference.cli.voice.live_state import VoiceLiveState
from edge_inference.cli.voice.output import VoiceOutput, VoiceSummary
from edge_inference.cli.voice.utterance_tracker import Utterance, format_intents
from edge_inference.cli.voice.velocity_record import format_velocity
from edge_inference.core.text_line import one_line

_REDRAW_S = 0.1
#: The bar begins at the level of a silent room, and turns yellow near clipping.
_QUIETEST_DBFS, _LOUD_DBFS = -60.0, -6.0
_BAR_WIDTH = 24


class VoiceLiveView(VoiceOutput):
    """Lines as without a terminal, and below them an area that is redrawn in place."""

    def __init__(self, stream: TextIO, source: str) -> None:
        self._console = Console(file=stream)
        self._source = source
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._drawn_s = 0.0

    def utterance(self, utterance: Utterance) -> None:
        """Write it above the live area."""
        self._print(Text(utterance.describe()))

    def checked(self, checked: SentenceResult) -> None:
        """Write it above the live area."""
        head, *rows = checked.lines()
        verdict = "bold red" if checked.wrong else "green"
        texts = [Text(head, style="bold"), *map(Text, rows[:-1]), Text(rows[-1], style=verdict)]
        self._print(Group(*texts, Text()))

    def progress(self, read_state: Callable[[], VoiceLiveState]) -> None:
        """Redraw the live area if it is due."""
        now = time.monotonic()
        if now - self._drawn_s < _REDRAW_S:
            return
        self._drawn_s = now
        self._live.start()
        self._live.update(self._drawing(read_state()), refresh=True)

    def problem(self, text: str) -> None:
        """Write it above the live area."""
        self._print(Text(f"edge-inference: {one_line(text)}", style="red"))

    def finish(self, summary: VoiceSummary | None) -> None:
        """Remove the live area and write the summary."""
        self._live.stop()
        if summary is not None:
            self._print(Text("\n".join(summary.lines())))

    def _print(self, what: RenderableType) -> None:
        self._console.print(what, soft_wrap=True, highlight=False)

    def _drawing(self, now: VoiceLiveState) -> RenderableType:
        """Return a fixed number of lines, cut to the width of the terminal: nothing jumps."""
        rows = Table.grid(padding=(0, 2, 0, 0), expand=True)
        rows.add_column(no_wrap=True, style="dim")
        rows.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        rows.add_row("source", Text(self._source, style="bold"))
        rows.add_row("level", _level_bar(now.level_dbfs))
        rows.add_row("speech", Text("yes", style="bold green") if now.is_speech else Text("no"))
        rows.add_row("partial", Text(now.partial))
        for name, text in _stage_rows(now.latest):
            rows.add_row(name, Text(text))
        style = "bold yellow" if any(now.velocity) else ""
        rows.add_row("velocity", Text(format_velocity(now.velocity), style=style))
        # Short, because the terminal writes ^C after it, and that must fit on the line.
        return Group(rows, Text("Ctrl-C ends", style="dim"))


def _level_bar(level_dbfs: float | None) -> RenderableType:
    if level_dbfs is None:
        return Text("no audio", style="dim")
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=_BAR_WIDTH)
    grid.add_column(no_wrap=True)
    above = max(0.0, min(-_QUIETEST_DBFS, level_dbfs - _QUIETEST_DBFS))
    style = "yellow" if level_dbfs > _LOUD_DBFS else "green"
    bar = ProgressBar(-_QUIETEST_DBFS, above, complete_style=style, finished_style="red")
    grid.add_row(bar, Text(f"{level_dbfs:.0f} dBFS"))
    return grid


def _stage_rows(latest: Utterance | None) -> list[tuple[str, str]]:
    """Return the stages of the newest utterance as far as they are known."""
    text, intent, plan, times = "", "", "", ""
    if latest is not None:
        actual = latest.as_json()
        text = f'"{actual["text"]}" {actual["confidence"]:.2f}' if actual["text"] else latest.reason
        intent = format_intents(actual["intents"])
        plan = ", then ".join(actual["steps"]) or (latest.reason if actual["text"] else "")
        words = [f"{name} {ms:.0f}" for name, ms in latest.after_ms.items()]
        times = f"{', '.join(words)} ms after the last word" if words else ""
    return [("text", text), ("intent", intent), ("plan", plan), ("stages", times)]
