"""Runs scenarios one after the other, each run in a process of its own.

A crash of one run leaves the others, and the memory of a process is that of its pipeline.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from edge_inference.cli.arguments import REPORTING_GRACE_S
from edge_inference.cli.signals import Interrupt
from edge_inference.cli.validate.scenario_process import RunRequest
from edge_inference.core.runtime.child_process import python_command, python_environment
from edge_inference.core.text_line import one_line
from edge_inference.observe.statistics.intervals import Interval
from edge_inference.observe.targets.target_file import Scenario

_CODE = "from edge_inference.cli.validate.scenario_process import main; sys.exit(main())"
_POLL_S = 0.1
#: Time that the process of a run has to end after its answer, or after a signal to report.
_END_S = 10.0

#: Shows the phase of a run and its completed fraction.
ShowPhase = Callable[[str, float | None], None]


@dataclass
class RunOutcome:
    """What one run found for each target of its scenarios; ``failure`` says why it found nothing.

    A found text is the reason why one target has no value.
    """

    scenarios: tuple[Scenario, ...]
    found: dict[str, list[Interval | str]] = field(default_factory=dict)
    measured_s: float | None = None
    failure: str = ""

    def of(self, scenario: Scenario) -> list[Interval | str]:
        """Return what was found for the targets of a scenario."""
        return self.found.get(scenario.name) or [self.failure] * len(scenario.targets)


def group_by_run(scenarios: Sequence[Scenario]) -> list[tuple[Scenario, ...]]:
    """Return the scenarios that are measured in the same run, in order of their first."""
    groups: dict[Any, list[Scenario]] = {}
    for scenario in scenarios:
        groups.setdefault(scenario.run_key, []).append(scenario)
    return [tuple(group) for group in groups.values()]


def run_scenarios(
    scenarios: tuple[Scenario, ...],
    show: ShowPhase,
    on_message: Callable[[str], None],
    interrupted: Interrupt,
) -> RunOutcome:
    """Run the pipeline of scenarios that share a run, and return what was measured.

    After a signal the run ends early, and what it has measured by then is returned.
    """
    outcome = RunOutcome(scenarios)
    if interrupted.is_set():
        outcome.failure = "interrupted before it was run"
        return outcome
    first = scenarios[0]
    request = RunRequest(
        targets={each.name: each.targets for each in scenarios},
        pipeline=first.pipeline,
        source=first.source,
        seconds=first.seconds,
        warmup_s=first.warmup_s,
        arguments=first.arguments,
    )
    with _Child(request) as child:
        while (answer := child.next_answer()) is not None:
            if interrupted.is_set() and child.is_overdue():
                break
            if "phase" in answer:
                show(answer["phase"], answer["fraction"])
            if "message" in answer:
                on_message(answer["message"])
            if "failure" in answer:
                outcome.failure = answer["failure"]
            if "found" in answer:
                outcome.measured_s = answer["measured_s"]
                outcome.found = {
                    name: [_from_json(each) for each in found]
                    for name, found in answer["found"].items()
                }
                break
        if not outcome.found and not outcome.failure:
            outcome.failure = "interrupted" if interrupted.is_set() else child.why_it_ended()
    return outcome


def _from_json(found: Any) -> Interval | str:
    return found if isinstance(found, str) else Interval(**found)


class _Child:
    """The process of one run; a context manager that ends it."""

    def __init__(self, request: RunRequest) -> None:
        self._process = subprocess.Popen(
            python_command(_CODE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",  # a vendor's library may write any bytes
            env=python_environment(),
            start_new_session=True,  # Ctrl-C reaches the parent only, which decides
        )
        self._end_s: float | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._stderr_lines: deque[str] = deque(maxlen=5)
        self._readers = [
            threading.Thread(target=read, daemon=True) for read in (self._read, self._read_stderr)
        ]
        for reader in self._readers:
            reader.start()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it ended at once; why_it_ended tells
            self._process.stdin.write(request.to_json() + "\n")
            self._process.stdin.flush()

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()  # the process ends itself
        self._wait_or_kill()
        for reader in self._readers:
            reader.join()

    def next_answer(self) -> dict[str, Any] | None:
        """Return the next answer, an empty one if none comes soon, None after the last."""
        try:
            line = self._answers.get(timeout=_POLL_S)
        except queue.Empty:
            return {}
        return None if line is None else dict(json.loads(line))

    def is_overdue(self) -> bool:
        """End the measurement early, at the first call; tell whether the process ignores that."""
        if self._end_s is None:
            self._end_s = time.monotonic() + REPORTING_GRACE_S
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)
        return time.monotonic() > self._end_s

    def why_it_ended(self) -> str:
        """Describe the end of a process that gave no result."""
        self._wait_or_kill()
        code = self._process.returncode
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        last = f": {one_line(self._stderr_lines[-1])}" if self._stderr_lines else ""
        return f"the process of the pipeline {how}{last}"

    def _wait_or_kill(self) -> None:
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        self._stderr_lines.extend(filter(None, map(str.strip, self._process.stderr)))
