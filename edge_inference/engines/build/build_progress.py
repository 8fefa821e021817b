"""How far a build is: TensorRT's nested phases made one number that only grows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# A tenth of a per cent: a bar needs no more, and builds have thousands of steps.
_FINEST = 0.001


@dataclass(frozen=True)
class BuildProgress:
    """A phase in words, and the part of the whole that is done, from 0 to 1.

    ``fraction`` is None where TensorRT does not tell how far it is.
    """

    phase: str
    fraction: float | None


Report = Callable[[BuildProgress], None]


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0
    finished_within: int = 0  # phases inside the current step


class PhaseTree:
    """Phases within steps of other phases. Thread-safe: TensorRT reports from several threads.

    The fraction lies from ``start`` to ``end``.
    """

    def __init__(self, report: Report, start: float, end: float) -> None:
        self._report = report
        self._start, self._end = start, end
        self._phases: dict[str, _Phase] = {}
        self._fraction = start
        self._told = BuildProgress("", None)
        self._lock = threading.Lock()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Enter a phase of so many steps, within the current step of its parent."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))
            self._tell(name)

    def step(self, name: str, step: int) -> None:
        """Note that a step of a phase, counted from 0, is done."""
        with self._lock:
            phase = self._phases.get(name)
            if phase is not None:
                phase.done = min(max(phase.done, step + 1), phase.steps)
                phase.finished_within = 0
                self._tell(self._told.phase)

    def finish(self, name: str) -> None:
        """Leave a phase."""
        with self._lock:
            phase = self._phases.pop(name, None)
            if phase is None:
                return
            parent = self._phases.get(phase.parent or "")
            if parent is not None:
                parent.finished_within += 1
            self._tell(phase.parent or name)

    def _tell(self, phase: str) -> None:
        roots = [name for name, found in self._phases.items() if found.parent not in self._phases]
        done = max((self._done(name) for name in roots), default=0.0)
        grown = max(self._fraction, self._start + (self._end - self._start) * done)
        if phase == self._told.phase and grown - (self._told.fraction or 0.0) < _FINEST:
            return
        self._fraction = grown
        self._told = BuildProgress(phase, grown)
        self._report(self._told)

    def _done(self, name: str) -> float:
        """Return the part of a phase that is done.

        How many phases a step holds is not told: each takes half of what is left of it.
        """
        phase = self._phases[name]
        left = 0.5**phase.finished_within
        for child, found in self._phases.items():
            if found.parent == name:
                left *= 1.0 - 0.5 * self._done(child)
        return min((phase.done + 1.0 - left) / phase.steps, 1.0)


def make_monitor(trt: Any, tree: PhaseTree, stop: threading.Event) -> Any:
    """Return TensorRT's progress monitor, or None where this version has none.

    ``stop`` ends the build at its next step.
    """
    base: Any = getattr(trt, "IProgressMonitor", None)
    if base is None:
        return None

    class Monitor(base):  # type: ignore[misc]
        """Passes TensorRT's calls on."""

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
