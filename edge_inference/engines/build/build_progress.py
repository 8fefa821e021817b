"""The progress of a build: one growing number from TensorRT's nested phases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# A progress bar needs no finer steps, and builds have thousands of them.
_MIN_STEP = 0.001


@dataclass(frozen=True)
class BuildProgress:
    """The name of the phase, and the finished fraction of the whole, from 0 to 1.

    ``fraction`` is None where TensorRT does not report its progress.
    """

    phase: str
    fraction: float | None


Report = Callable[[BuildProgress], None]


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0
    finished_children: int = 0  # finished phases inside the current step


class PhaseTree:
    """Phases inside steps of other phases. Thread-safe: TensorRT reports from several threads.

    The fraction runs from ``start`` to ``end``.
    """

    def __init__(self, report: Report, start: float, end: float) -> None:
        self._report = report
        self._start, self._end = start, end
        self._phases: dict[str, _Phase] = {}
        self._fraction = start
        self._reported = BuildProgress("", None)
        self._lock = threading.Lock()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Start a phase with a number of steps, inside the current step of its parent."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))
            self._report_phase(name)

    def step(self, name: str, step: int) -> None:
        """Finish a step of a phase, counted from 0."""
        with self._lock:
            phase = self._phases.get(name)
            if phase is not None:
                phase.done = min(max(phase.done, step + 1), phase.steps)
                phase.finished_children = 0
                self._report_phase(self._reported.phase)

    def finish(self, name: str) -> None:
        """Finish a phase."""
        with self._lock:
            phase = self._phases.pop(name, None)
            if phase is None:
                return
            parent = self._phases.get(phase.parent or "")
            if parent is not None:
                parent.finished_children += 1
            self._report_phase(phase.parent or name)

    def _report_phase(self, phase: str) -> None:
        roots = [name for name, found in self._phases.items() if found.parent not in self._phases]
        done = max((self._done(name) for name in roots), default=0.0)
        grown = max(self._fraction, self._start + (self._end - self._start) * done)
        if phase == self._reported.phase and grown - (self._reported.fraction or 0.0) < _MIN_STEP:
            return
        self._fraction = grown
        self._reported = BuildProgress(phase, grown)
        self._report(self._reported)

    def _done(self, name: str) -> float:
        """Return the finished fraction of a phase.

        TensorRT does not report the number of phases in a step: each one counts as half of the
        rest.
        """
        phase = self._phases[name]
        left = 0.5**phase.finished_children
        for child, found in self._phases.items():
            if found.parent == name:
                left *= 1.0 - 0.5 * self._done(child)
        return min((phase.done + 1.0 - left) / phase.steps, 1.0)


def make_monitor(trt: Any, tree: PhaseTree, stop: threading.Event) -> Any:
    """Return a progress monitor for TensorRT, or None where this version has none.

    Setting ``stop`` ends the build at its next step.
    """
    base: Any = getattr(trt, "IProgressMonitor", None)
    if base is None:
        return None

    class Monitor(base):  # type: ignore[misc]
        """Passes TensorRT's calls to the phase tree."""

        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            tree.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            tree.step(phase_name, step)
            return not stop.is_set()

        def phase_finish(self, phase_name: str) -> None:
            tree.finish(phase_name)

    return Monitor()
