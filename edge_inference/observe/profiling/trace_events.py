"""A trace in Chrome's trace event format, which chrome://tracing and Perfetto read.

The format: "Trace Event Format" of the Chromium project, JSON object format. Times are in
microseconds. Slices of one row must not overlap, so a row becomes several where they would.
"""

from __future__ import annotations

import itertools
from typing import Any

import edge_inference

#: Times come from figures with rounding; slices may overlap by so much, and are then shortened.
_ROUNDING_NS = 1000


class TraceEvents:
    """Collects events. ``origin_ns`` is the moment 0 of the trace, on the clock of all times."""

    def __init__(self, origin_ns: int, **facts: Any) -> None:
        self._origin_ns = origin_ns
        self._events: list[dict[str, Any]] = []
        self._facts = facts
        self._rows: dict[tuple[int, str], list[_Row]] = {}
        #: Begin and end of the last slice of each thread.
        self._around: dict[int, tuple[int, int]] = {}
        self._thread_numbers = itertools.count(1)
        self._ids = itertools.count(1)

    def process(self, pid: int, name: str, order: int = 0) -> None:
        """Name a process."""
        self._metadata("process_name", pid, 0, name=name)
        self._metadata("process_sort_index", pid, 0, sort_index=order)

    def slice(
        self, pid: int, row: str, name: str, begin_ns: int, end_ns: int, category: str, **args: Any
    ) -> int:
        """Add a duration on a row of a process; return the number of its thread (``tid``).

        Call it in the order of the beginnings.
        """
        chosen = self._row(pid, row, begin_ns)
        begin_ns = max(begin_ns, chosen.free_ns)
        end_ns = max(begin_ns, end_ns)
        chosen.free_ns = end_ns
        self._around[chosen.tid] = begin_ns, end_ns
        self._complete(pid, chosen.tid, name, begin_ns, end_ns, category, args)
        return chosen.tid

    def nested_slice(
        self, pid: int, tid: int, name: str, begin_ns: int, end_ns: int, category: str, **args: Any
    ) -> None:
        """Add a duration inside of the last one that :meth:`slice` returned ``tid`` for."""
        first_ns, last_ns = self._around[tid]
        begin_ns = min(max(begin_ns, first_ns), last_ns)
        end_ns = min(max(begin_ns, end_ns), last_ns)
        self._complete(pid, tid, name, begin_ns, end_ns, category, args)

    def row(self, pid: int, row: str) -> int:
        """Return the thread number of the first row with this name."""
        return self._row(pid, row, None).tid

    def wait(
        self, pid: int, tid: int, name: str, begin_ns: int, end_ns: int, category: str, **args: Any
    ) -> None:
        """Add a duration that may overlap others of its thread, as of items in a queue."""
        number = f"{next(self._ids):#x}"
        for phase, moment_ns, given in (("b", begin_ns, args), ("e", max(begin_ns, end_ns), {})):
            self._add(
                phase, pid, tid, name=name, cat=category, id=number, ts=self._us(moment_ns),
                args=given,
            )  # fmt: skip

    def flow(self, name: str, places: list[tuple[int, int, int]], category: str) -> None:
        """Join slices by arrows; each place is pid, tid and a moment inside of the slice."""
        if len(places) < 2:
            return
        number = next(self._ids)
        last = len(places) - 1
        for position, (pid, tid, moment_ns) in enumerate(places):
            phase = "s" if position == 0 else "f" if position == last else "t"
            # Without it an arrow ends at the next slice instead of the one around it.
            ending = {"bp": "e"} if phase != "s" else {}
            self._add(
                phase, pid, tid, name=name, cat=category, id=number, ts=self._us(moment_ns),
                **ending,
            )  # fmt: skip

    def counter(self, pid: int, name: str, moment_ns: int, **values: float) -> None:
        """Add values of a counter; they hold until the next ones."""
        self._add("C", pid, 0, name=name, ts=self._us(moment_ns), args=values)

    def instant(
        self, pid: int, tid: int, name: str, moment_ns: int, category: str, **args: Any
    ) -> None:
        """Add a moment."""
        self._add("i", pid, tid, name=name, cat=category, ts=self._us(moment_ns), s="t", args=args)

    def as_json(self) -> dict[str, Any]:
        """Return the trace as an object for JSON."""
        return {
            "traceEvents": self._events,
            "displayTimeUnit": "ms",
            "otherData": {
                "producer": f"edge-inference {edge_inference.__version__}",
                "origin_ns": self._origin_ns,
                **self._facts,
            },
        }

    def __len__(self) -> int:
        return len(self._events)

    def _row(self, pid: int, name: str, begin_ns: int | None) -> _Row:
        rows = self._rows.setdefault((pid, name), [])
        for row in rows:
            if begin_ns is None or row.free_ns <= begin_ns + _ROUNDING_NS:
                return row
        row = _Row(next(self._thread_numbers))
        rows.append(row)
        title = name if len(rows) == 1 else f"{name} ({len(rows)})"
        self._metadata("thread_name", pid, row.tid, name=title)
        self._metadata("thread_sort_index", pid, row.tid, sort_index=row.tid)
        return row

    def _complete(
        self, pid: int, tid: int, name: str, begin_ns: int, end_ns: int, category: str,
        args: dict[str, Any],
    ) -> None:  # fmt: skip
        begin_us = self._us(begin_ns)
        self._add(
            "X", pid, tid, name=name, cat=category, ts=begin_us,
            dur=round(self._us(end_ns) - begin_us, 3), args=args,
        )  # fmt: skip

    def _metadata(self, kind: str, pid: int, tid: int, /, **args: Any) -> None:
        self._add("M", pid, tid, name=kind, args=args)

    def _add(self, phase: str, pid: int, tid: int, **fields: Any) -> None:
        self._events.append({"ph": phase, "pid": pid, "tid": tid, **fields})

    def _us(self, moment_ns: int) -> float:
        return (moment_ns - self._origin_ns) / 1000


class _Row:
    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.free_ns = -(1 << 63)
