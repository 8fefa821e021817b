"""The checks of the doctor: functions from a machine to findings, and how they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from edge_inference.observe.doctor.finding import Finding, FindingLevel
from edge_inference.observe.doctor.machine_activity import Activity
from edge_inference.observe.doctor.system_view import SystemView, UnknownStateError


@dataclass(frozen=True)
class DoctorCheck:
    """``examine`` yields the findings of one ``area`` and ``name``.

    It raises OSError or UnknownStateError where the machine does not say, and ValueError for a
    file with unexpected content.
    """

    area: str
    name: str
    examine: Callable[[DoctorCheck, SystemView, Activity], Iterable[Finding]]

    def ok(self, value: str) -> Finding:
        """Return a finding that is as it should be."""
        return Finding(self.area, self.name, FindingLevel.OK, value)

    def note(self, value: str, reason: str, advice: str = "", command: str = "") -> Finding:
        """Return a finding that is good to know."""
        return Finding(self.area, self.name, FindingLevel.NOTE, value, reason, advice, command)

    def warning(self, value: str, reason: str, advice: str, command: str = "") -> Finding:
        """Return a finding that slows the machine down, or spoils figures."""
        return Finding(self.area, self.name, FindingLevel.WARNING, value, reason, advice, command)

    def problem(self, value: str, reason: str, advice: str, command: str = "") -> Finding:
        """Return a finding that must be mended."""
        return Finding(self.area, self.name, FindingLevel.PROBLEM, value, reason, advice, command)

    def unknown(self, reason: str) -> Finding:
        """Return what the machine does not say."""
        return Finding(self.area, self.name, FindingLevel.UNKNOWN, "unknown", reason)


def run_checks(
    checks: Sequence[DoctorCheck], view: SystemView, activity: Activity
) -> Iterator[Finding]:
    """Yield the findings of all checks, in their order; an unreadable file is an UNKNOWN one."""
    for check in checks:
        try:
            yield from check.examine(check, view, activity)
        except OSError as error:
            file = error.filename or "a file of the system"
            yield check.unknown(f"{file}: {error.strerror or error}")
        except (UnknownStateError, ValueError) as error:
            yield check.unknown(str(error))
