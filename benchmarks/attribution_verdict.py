"""Judges diagnoses: which causes and places are right for a fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.attribution_faults import OUTPUTS
from benchmarks.attribution_trials import Outcome, Window
from edge_inference.observe.attribution.cause import Cause, CauseFinding, Diagnosis
from edge_inference.observe.attribution.diagnosis import diagnose
from edge_inference.observe.attribution.observation import Observation

#: The right cause of each kind of fault.
CAUSES = {
    "blocked": Cause.WAITING,
    "slow": Cause.SLOW_PROCESSING,
    "page faults": Cause.PAGE_FAULTS,
    "drop": Cause.DROPS,
    "slow subscriber": Cause.SLOW_SUBSCRIBER,
    "outside reader": Cause.SLOW_SUBSCRIBER,
    "clock": Cause.CLOCK,
    "stamps": Cause.CLOCK,
    "lock, running": Cause.INTERPRETER_LOCK,
    "lock, asleep": Cause.INTERPRETER_LOCK,
    "busy core": Cause.BUSY_CORE,
    "stopped": Cause.PROCESS_STOPPED,
    "throttling": Cause.THROTTLING,
    "burst": Cause.QUEUEING,
    "slow callback": Cause.SLOW_CALLBACK,
    "overload": Cause.QUEUEING,
    "lost": Cause.LOST_MESSAGES,
}
#: Where the place of the fault is a stage; else it is its process.
_AT_STAGE = {"blocked", "slow", "page faults", "drop", "slow subscriber", "outside reader", "clock"}
_WITH_EVENTS = {
    "blocked",
    "slow",
    "page faults",
    "slow subscriber",
    "slow callback",
    "lock, running",
    "lock, asleep",
    "stopped",
}
#: Faults whose place is the whole pipeline or the machine.
_ANYWHERE = {"throttling", "stamps", "burst", "overload", "lost"}


@dataclass(frozen=True)
class Verdict:
    """The rank of the right cause, from 1; None where it was not found.

    ``place_rank`` is that of the right cause at the right place.
    """

    outcome: Outcome
    diagnosis: Diagnosis
    rank: int | None
    place_rank: int | None

    @property
    def found(self) -> str:
        """The cause that was ranked first, as text."""
        findings = self.diagnosis.findings
        return findings[0].cause.value if findings else "nothing"

    @property
    def event_ms(self) -> float | None:
        """The length of an event of the fault; None where the fault has no such length."""
        fault = self.outcome.trial.fault
        return fault.ms if fault.kind in _WITH_EVENTS else None

    @property
    def found_stage(self) -> str:
        """The stage of the first finding; empty where it is none."""
        findings = self.diagnosis.findings
        return findings[0].subject.rpartition("/")[2] if findings else ""


def observe(window: Window) -> Observation:
    """Return what a diagnosis is made of."""
    return Observation(window.recorded.timings, window.recorded.statistics, window.reports)


def judge(outcome: Outcome) -> Verdict:
    """Diagnose the window with the fault, and rank the right cause."""
    diagnosis = diagnose(observe(outcome.faulty))
    wanted = CAUSES[outcome.trial.fault.kind]
    right = [number for number, each in _ranked(diagnosis.findings) if each.cause is wanted]
    placed = [
        number
        for number, each in _ranked(diagnosis.findings)
        if each.cause is wanted and _is_at_place(outcome, each)
    ]
    return Verdict(outcome, diagnosis, right[0] if right else None, placed[0] if placed else None)


def share_within(verdicts: Sequence[Verdict], rank: int) -> float:
    """Return the share in which the right cause and place are within a rank."""
    within = [each.place_rank is not None and each.place_rank <= rank for each in verdicts]
    return sum(within) / len(within) if within else float("nan")


def format_matrix(verdicts: Iterable[Verdict]) -> list[str]:
    """Return the confusion matrix: a line for each kind of fault, with what was ranked first."""
    rows: dict[str, Counter[str]] = {}
    for each in verdicts:
        rows.setdefault(each.outcome.trial.fault.kind, Counter())[_label(each)] += 1
    lines = []
    for kind, found in sorted(rows.items()):
        right = found["right"]
        others = ", ".join(f"{name} {n}" for name, n in found.most_common() if name != "right")
        lines.append(f"  {kind:16} {right:3} of {found.total():3} right   {others}".rstrip())
    return lines


def describe(verdict: Verdict) -> str:
    """Return a line about a wrong verdict: injected, expected, got."""
    findings = "; ".join(
        f"{each.cause.value} of {each.subject} {each.ms:.1f} ms ({each.evidence})"
        for each in verdict.diagnosis.findings[:3]
    )
    outcome = verdict.outcome
    load = "with hogs" if outcome.has_hogs else f"others {outcome.faulty.load.others:.0%}"
    return (
        f"{outcome.trial.name}, {load}: expected {CAUSES[outcome.trial.fault.kind].value}, "
        f"got {findings or 'nothing'}"
    )


def _label(verdict: Verdict) -> str:
    if verdict.place_rank == 1:
        return "right"
    return f"{verdict.found} of another place" if verdict.rank == 1 else verdict.found


def _ranked(findings: Sequence[CauseFinding]) -> list[tuple[int, CauseFinding]]:
    return list(enumerate(findings, 1))


def _is_at_place(outcome: Outcome, finding: CauseFinding) -> bool:
    fault = outcome.trial.fault
    if fault.kind in _ANYWHERE:
        return True
    if fault.kind in _AT_STAGE:
        place = f"/ai/{fault.stage}"
        return finding.subject.endswith(place) or finding.subject == OUTPUTS[fault.stage]
    nodes = {f"/ai/{stage}" for stage in outcome.process}
    return finding.subject in nodes or not nodes.isdisjoint(finding.nodes)
