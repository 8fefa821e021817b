"""Diagnoses a window: ranks what held its frames up by milliseconds."""

from __future__ import annotations

import bisect
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.platform_state import PlatformReport
from edge_inference.core.reading import Role
from edge_inference.core.runtime.capture_stamps import STAMP_IN_FUTURE, STAMP_IN_PAST
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.observe.attribution.cause import Cause, CauseFinding, Diagnosis, FrameKey
from edge_inference.observe.attribution.charging import Charging, way_name
from edge_inference.observe.attribution.clock_shifts import (
    MIN_SHIFT_MS,
    SYSTEM_CLOCK,
    node_clock_shifts,
    simulated_rates,
    stamp_shifts,
)
from edge_inference.observe.attribution.evidence import ChargeSum, EvidenceWriter
from edge_inference.observe.attribution.frame_ways import FrameStep, join_frames
from edge_inference.observe.attribution.observation import (
    Baseline,
    Observation,
    stage_normals,
    way_normals,
)
from edge_inference.observe.attribution.process_holds import ProcessWindow, process_windows
from edge_inference.observe.attribution.remedies import find_remedy
from edge_inference.observe.timeline_collector import LAST_STAGES

# A cause counts if it takes so much of a frame on average.
_MIN_MEAN_MS, _MIN_SHARE = 0.5, 0.03
#: Slower computing counts from this share of the usual CPU time of a stage: others that use the
#: caches, or the second thread of a core, other virtual machines too, slow it down by less.
_MIN_SLOWER_SHARE = 1 / 3
#: Consequences of a busy stage, whose causes are charged with the waiting time.
_CONSEQUENCES = {"superseded"}
#: Not a fault.
_EXPECTED_DROPS = {"stopped", "robot_speaking"}
#: Faults between the stamp and the clock of the node, of which either may be wrong.
_OF_A_CLOCK = {STAMP_IN_FUTURE, STAMP_IN_PAST}
#: A report of the platform holds for this long.
_REPORT_NS = 3_000_000_000
#: Number of nodes that a sentence names.
_MAX_NAMES = 10
#: Where more of the frames do not go on, they do not need to.
_MAX_MISSING = 0.7

_Sums = dict[tuple[Cause, str], ChargeSum]


def diagnose(observation: Observation, baseline: Baseline | None = None) -> Diagnosis:
    """Say what held the frames of a window up, the worst first.

    What is normal for each stage comes from ``baseline``, else from the least disturbed frames of
    the window itself; a disturbance of all frames is then only found if it is never normal, such
    as a wait for a core.
    """
    timings = list(observation.timings)
    steps = _shifted_steps(timings)
    if not steps:
        return Diagnosis((), 0, 0.0, _unknown(observation, steps))
    plain = [step for step, _ in steps]
    own = Baseline(stage_normals(timings), way_normals(plain))
    if baseline is not None:
        own = Baseline({**own.stages, **baseline.stages}, {**own.ways, **baseline.ways})
    processes = process_windows(observation.statistics)
    charging = Charging(own, processes, _throttle_times(observation.reports))
    sums: _Sums = defaultdict(ChargeSum)
    for step, shares in charging.charge(plain):
        for (cause, subject), ms in shares.items():
            sums[cause, subject].add(step.frame, step.timing.node, ms)
    # The window may begin and end between two stages of a frame; stamps may all be equal.
    frames = max(
        len({step.frame for step in plain}),
        *Counter(step.timing.node for step in plain).values(),
    )
    period_ms = _period_ms(plain)
    _add_clocks(steps, observation.statistics, period_ms, sums)
    _add_clock_steps(observation.statistics, sums)
    _add_drops(plain, observation.reports, processes, period_ms, sums)
    _add_missing(plain, period_ms, sums)
    usual_ms = sum(normal.process.ms for normal in own.stages.values())
    limit_ms = max(_MIN_MEAN_MS, _MIN_SHARE * usual_ms)
    writer = EvidenceWriter(observation, plain, own, processes, frames, period_ms)
    kept = {}
    for (cause, subject), each in sums.items():
        mean_ms, least_ms = each.total_ms / frames, limit_ms
        if cause is Cause.SLOW_PROCESSING and (stage := own.stages.get(subject)) is not None:
            least_ms = max(limit_ms, _MIN_SLOWER_SHARE * stage.cpu.ms)
        # A clock that moves makes ages wrong, however few frames were on their way.
        if cause is Cause.CLOCK or mean_ms >= least_ms:
            kept[cause, subject] = each
    kept = _join_busy_cores(kept, {step.timing.node: step.timing.clock_id for step in plain})
    findings = [
        _finding(cause, subject, each, frames, writer) for (cause, subject), each in kept.items()
    ]
    held: Counter[FrameKey] = Counter()
    for each in kept.values():
        held.update(each.by_frame)
    ended = [step.timing.ended_ns for step in plain]
    return Diagnosis(
        tuple(sorted(findings, key=lambda finding: finding.ms, reverse=True)),
        frames,
        (max(ended) - min(ended)) / 1e9,
        _unknown(observation, steps),
        dict(held),
    )


def _join_busy_cores(
    sums: Mapping[tuple[Cause, str], ChargeSum], machines: Mapping[str, int]
) -> dict[tuple[Cause, str], ChargeSum]:
    """Join the waits of a machine's stages for a core to one cause, of the stage that waited most.

    The load of a machine holds all of its stages up.
    """
    joined = {key: each for key, each in sums.items() if key[0] is not Cause.BUSY_CORE}
    waits: dict[int, list[tuple[str, ChargeSum]]] = defaultdict(list)
    for (cause, node), each in sums.items():
        if cause is Cause.BUSY_CORE:
            waits[machines.get(node, 0)].append((node, each))
    for of_machine in waits.values():
        node = max(of_machine, key=lambda each: each[1].total_ms)[0]
        total = ChargeSum()
        for _, each in of_machine:
            total.update(each)
        joined[Cause.BUSY_CORE, node] = total
    return joined


def _shifted_steps(timings: Sequence[StageTiming]) -> list[tuple[FrameStep, str]]:
    """Return the steps of all frames, each with the clock that moved; empty for none."""
    node_shifts = node_clock_shifts(timings)
    steps = [
        dataclasses.replace(step, shift_ms=node_shifts[id(step.timing)].ms)
        if id(step.timing) in node_shifts
        else step
        for step in join_frames(timings)
    ]
    source_shifts = stamp_shifts(steps)
    shifted = []
    for step in steps:
        shift, source = node_shifts.get(id(step.timing)), source_shifts.get(id(step.timing))
        if source is not None:
            # The clock of a source on the same machine moves with that of the node.
            step = dataclasses.replace(step, shift_ms=step.shift_ms + source.ms)
        moved = shift or source
        shifted.append((step, "" if moved is None else moved.subject))
    return shifted


def _finding(
    cause: Cause, subject: str, charges: ChargeSum, frames: int, writer: EvidenceWriter
) -> CauseFinding:
    reason = ""
    if charges.details:
        reason = charges.details.most_common(1)[0][0]
    nodes = tuple(node for node, _ in charges.by_node.most_common())
    stage = writer.stage_of(subject) or (writer.stage_of(nodes[0]) if nodes else "")
    hint, parameter = find_remedy(cause, stage, reason)
    return CauseFinding(
        cause=cause,
        subject=subject,
        ms=charges.total_ms / frames,
        evidence=writer.write(cause, subject, charges),
        hint=hint,
        parameter=parameter,
        frames=len(charges.by_frame),
        worst_ms=charges.worst_ms,
        nodes=nodes,
    )


def _throttle_times(reports: Sequence[PlatformReport]) -> Callable[[int], bool]:
    """Return a function that tells whether the machine throttled at a moment."""
    ordered = sorted(reports, key=lambda report: report.now_ns)
    moments = [report.now_ns for report in ordered]

    def is_throttled(now_ns: int) -> bool:
        # Throttling was found between the report before and this one.
        index = bisect.bisect_left(moments, now_ns)
        near = ordered[max(0, index - 1) : index + 1]
        return any(
            _throttles(report) for report in near if abs(report.now_ns - now_ns) < _REPORT_NS
        )

    return is_throttled


def _throttles(report: PlatformReport) -> bool:
    return bool(report.throttling) or any(
        reading.value is not None
        and reading.throttle is not None
        and reading.value >= reading.throttle
        for reading in report.state.by_role(Role.CONTROL)
    )


def _period_ms(steps: Sequence[FrameStep]) -> float:
    """Return the mean time between two frames, also lost ones, of the stage with most of them."""
    arrivals: dict[str, list[int]] = defaultdict(list)
    lost: Counter[str] = Counter()
    for step in steps:
        arrivals[step.timing.node].append(step.timing.arrived_ns)
        lost[step.timing.node] += step.timing.lost
    node, times = max(arrivals.items(), key=lambda each: len(each[1]))
    if len(times) < 2:
        return 0.0
    return (max(times) - min(times)) / 1e6 / (len(times) - 1 + lost[node])


def _add_clocks(
    steps: Sequence[tuple[FrameStep, str]],
    statistics: Sequence[ProcessStatistics],
    period_ms: float,
    sums: _Sums,
) -> None:
    # Frames whose stamp was plausible for some node of a machine.
    valid = {
        (step.frame, step.timing.clock_id) for step, _ in steps if step.timing.age_ms is not None
    }
    stepped_ns = min(
        (each.begin_ns for each in statistics if abs(each.clock_step_ms) > MIN_SHIFT_MS),
        default=None,
    )
    for step, moved in steps:
        timing = step.timing
        if moved:
            charges = sums[Cause.CLOCK, moved]
            # The shift of a clock that several stages use counts once for a frame.
            if step.frame not in charges.by_frame:
                charges.add(step.frame, timing.node, abs(step.shift_ms))
            charges.details[f"ages wrong by {step.shift_ms:.0f} ms"] += 1
        if timing.clock_fault:
            subject = f"stamps of {timing.frame_id or 'the source'}"
            if timing.clock_fault in _OF_A_CLOCK:
                if (step.frame, timing.clock_id) in valid:
                    subject = timing.node
                elif stepped_ns is not None and timing.ended_ns >= stepped_ns:
                    subject = SYSTEM_CLOCK
            # The age of the frame is unknown, so it is as late as if it was missing.
            charges = sums[Cause.CLOCK, subject]
            if step.frame not in charges.by_frame:
                charges.add(step.frame, timing.node, period_ms)
            charges.details[timing.clock_fault] += 1


def _add_clock_steps(statistics: Sequence[ProcessStatistics], sums: _Sums) -> None:
    for each in statistics:
        if abs(each.clock_step_ms) > MIN_SHIFT_MS:
            charges = sums[Cause.CLOCK, SYSTEM_CLOCK]
            charges.details[f"moved by {each.clock_step_ms:.0f} ms"] += 1


def _add_drops(
    steps: Sequence[FrameStep],
    reports: Sequence[PlatformReport],
    processes: Mapping[str, ProcessWindow],
    period_ms: float,
    sums: _Sums,
) -> None:
    is_limited = any(report.level is not DirectiveLevel.FULL for report in reports)
    arrived_ns: dict[str, int] = {}
    for step in sorted(steps, key=lambda each: each.timing.arrived_ns):
        timing = step.timing
        before_ns = arrived_ns.get(timing.node, timing.arrived_ns)
        arrived_ns[timing.node] = timing.arrived_ns
        process = processes.get(timing.node)
        if process is not None and step.before is None and not timing.lost:
            # With the process its source stood still, and made no frames.
            held = process.held(before_ns, timing.arrived_ns)
            missing_ms = (timing.arrived_ns - before_ns) / 1e6 - period_ms
            if held.stopped_ms > 0.0 and missing_ms > period_ms / 2:
                charges = sums[Cause.PROCESS_STOPPED, process.name]
                charges.add(step.frame, timing.node, min(held.stopped_ms, missing_ms))
        if timing.lost:
            # Messages overflow the queue of a process that does not receive.
            receiver = process and process.kept_from_receiving(
                before_ns, timing.arrived_ns, period_ms
            )
            charges = sums[receiver or (Cause.LOST_MESSAGES, way_name(step))]
            charges.add(step.frame, timing.node, timing.lost * period_ms)
            charges.details["messages lost"] += timing.lost
        if not timing.dropped or timing.dropped in _CONSEQUENCES | _EXPECTED_DROPS:
            continue
        by_manager = timing.dropped == "rate_limited" and is_limited
        key = (Cause.THROTTLING, "machine") if by_manager else (Cause.DROPS, timing.node)
        sums[key].add(step.frame, timing.node, period_ms)
        sums[key].details[timing.dropped] += 1


def _add_missing(steps: Sequence[FrameStep], period_ms: float, sums: _Sums) -> None:
    """Charge the frames that left a stage and arrived nowhere, where others went on.

    After a last stage none is missing: the overlay takes those that somebody is to see.
    """
    left: dict[str, list[FrameStep]] = defaultdict(list)
    targets: dict[str, Counter[str]] = defaultdict(Counter)
    followed: set[int] = set()
    last_ns: dict[str, int] = {}
    lost: Counter[str] = Counter()
    for step in steps:
        if not step.timing.dropped:
            left[step.timing.node].append(step)
        if step.before is not None and step.before.stage not in LAST_STAGES:
            origin = step.before.node
            followed.add(id(step.before))
            targets[origin][step.timing.node] += 1
            last_ns[origin] = max(last_ns.get(origin, 0), step.timing.arrived_ns)
            lost[origin] += step.timing.lost
    for origin, counts in targets.items():
        # Later frames may still be on their way.
        complete = [each for each in left[origin] if each.timing.published_ns < last_ns[origin]]
        missing = [each for each in complete if id(each.timing) not in followed]
        if len(missing) > _MAX_MISSING * len(complete) or len(missing) <= lost[origin]:
            continue
        target = counts.most_common(1)[0][0]
        charges = sums[Cause.DROPS, f"{origin} to {target}"]
        for step in missing:
            charges.add(step.frame, target, period_ms)
            charges.details["not arrived"] += 1


def _unknown(observation: Observation, steps: Sequence[tuple[FrameStep, str]]) -> tuple[str, ...]:
    """Say what cannot be told from this observation."""
    unknown = []
    if not observation.timings:
        return ("everything: no stage published timings",)
    without_times = sum(not timing.ended_ns for timing in observation.timings)
    if without_times:
        unknown.append(f"{without_times} timings without ended_ns: they are not counted")
    watched = {node for each in observation.statistics for node in each.nodes}
    nodes = {step.timing.node for step, _ in steps}
    if missing := sorted(nodes - watched):
        unknown.append(
            f"interpreter lock, stops and executor of {_listed(missing)}: no process_statistics; "
            "add edge_inference::ProcessMonitor to the container"
        )
    if any(step.timing.cpu_ms is None and not step.timing.dropped for step, _ in steps):
        unknown.append("computing apart from waiting: some timings have no cpu_ms")
    for rate in simulated_rates(observation.timings):
        unknown.append(
            f"steps of the clock, and ages in real time: the nodes' clock runs at {rate:.0%} of it "
            "(use_sim_time)"
        )
    if not observation.reports:
        unknown.append("throttling: no platform_state; run the pipeline with thermal:=ramp")
    return tuple(unknown)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{', '.join(names[:_MAX_NAMES])}{more}"
