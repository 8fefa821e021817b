"""A simulated pipeline of three stages on one clock, with faults at given places.

It computes each moment from the rules of a queue with one worker, independently of the attribution.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import Hold, ProcessStatistics

STAGES = ("preprocess", "inference", "decode")
USUAL_MS = {"preprocess": 3.0, "inference": 15.0, "decode": 2.0}
PERIOD_MS = 33.0
CLOCK_ID = 7
START_NS = 5_000_000_000_000
EPOCH_NS = 1_700_000_000_000_000_000
PID = 4321


@dataclass
class Extra:
    """What a fault adds to one frame in one stage, in milliseconds."""

    cpu: float = 0.0
    blocked: float = 0.0
    run_queue: float = 0.0
    publish: float = 0.0
    #: Waiting for a core while publishing.
    publish_queue: float = 0.0
    way: float = 0.0
    receive: float = 0.0
    faults: int = 0
    lost: int = 0
    dropped: str = ""
    clock_ms: float = 0.0


@dataclass
class Pipeline:
    """The records of a run."""

    timings: list[StageTiming] = field(default_factory=list)
    #: The moment of each frame on the steady clock.
    frames_ns: list[int] = field(default_factory=list)

    def run(
        self,
        fault: Callable[[int, str], Extra] = lambda frame, stage: Extra(),
        frames: int = 120,
        seed: int = 1,
        period_ms: float = PERIOD_MS,
        early_ms: Callable[[int], float] = lambda frame: 0.0,
    ) -> list[StageTiming]:
        """Simulate; a stage that is busy keeps the newest frame only.

        The source gives each frame ``early_ms`` before its turn.
        """
        noise = random.Random(seed)
        self.frames_ns = [
            START_NS + ns(index * period_ms - early_ms(index)) for index in range(frames)
        ]
        arrivals = list(enumerate(self.frames_ns))
        for stage in STAGES:
            arrivals = self._run_stage(stage, arrivals, fault, noise)
        return self.timings

    def _run_stage(
        self,
        stage: str,
        arrivals: list[tuple[int, int]],
        fault: Callable[[int, str], Extra],
        noise: random.Random,
    ) -> list[tuple[int, int]]:
        extras = {index: fault(index, stage) for index, _ in arrivals}
        arrivals = sorted(
            ((index, at + ns(extras[index].way)) for index, at in arrivals),
            key=lambda each: each[1],
        )
        free_ns, going_on = 0, []
        for position, (index, arrived_ns) in enumerate(arrivals):
            extra = extras[index]
            started_ns = max(arrived_ns, free_ns) + 50_000
            later = arrivals[position + 1][1] if position + 1 < len(arrivals) else None
            if later is not None and later < started_ns:
                self._record(stage, index, arrived_ns, later, later, extra, "superseded")
                continue
            cpu = USUAL_MS[stage] * noise.uniform(0.95, 1.08) + extra.cpu
            waits = extra.run_queue + extra.blocked
            ended_ns = started_ns + ns(cpu + waits + noise.uniform(0.0, 0.05))
            if extra.dropped:
                self._record(stage, index, arrived_ns, ended_ns, ended_ns, extra, extra.dropped)
                free_ns = ended_ns
                continue
            self._record(stage, index, arrived_ns, started_ns, ended_ns, extra, cpu_ms=cpu)
            free_ns = ended_ns + ns(extra.publish + extra.publish_queue) + 30_000
            # The next stage of the process gets the frame last.
            going_on.append((index, free_ns - 10_000))
        return going_on

    def _record(
        self,
        stage: str,
        index: int,
        arrived_ns: int,
        started_ns: int,
        ended_ns: int,
        extra: Extra,
        dropped: str = "",
        cpu_ms: float | None = None,
    ) -> None:
        captured_ns = self.frames_ns[index] - 1_000_000
        self.timings.append(
            StageTiming(
                stage=stage,
                node=f"/ai/{stage}",
                queue_ms=(started_ns - arrived_ns) / 1e6,
                process_ms=None if dropped else (ended_ns - started_ns) / 1e6,
                age_ms=(ended_ns - captured_ns) / 1e6 + extra.clock_ms,
                dropped=dropped,
                stamp_ns=EPOCH_NS + captured_ns - START_NS,
                frame_id="camera",
                ended_ns=ended_ns,
                clock_id=CLOCK_ID,
                publish_ms=None if dropped else 0.03 + extra.publish + extra.publish_queue,
                receive_ms=extra.receive or None,
                lost=extra.lost,
                cpu_ms=cpu_ms,
                run_queue_ms=None if dropped else extra.run_queue,
                page_faults=extra.faults,
                publish_run_queue_ms=extra.publish_queue or None,
            )
        )


def third(frame: int) -> bool:
    return frame % 3 == 0


def at(stage: str, affected: Callable[[int], bool] = third, **values: float) -> list[StageTiming]:
    """Run with a fault in one stage for some frames."""
    return Pipeline().run(
        lambda frame, name: Extra(**values) if name == stage and affected(frame) else Extra()  # type: ignore[arg-type]
    )


def ns(ms: float) -> int:
    return round(ms * 1e6)


def statistics(holds: list[Hold], frames: int = 120, major_faults: int = 0) -> ProcessStatistics:
    """One message for the whole run."""
    return ProcessStatistics(
        nodes=tuple(f"/ai/{stage}" for stage in STAGES),
        pid=PID,
        clock_id=CLOCK_ID,
        begin_ns=START_NS,
        end_ns=START_NS + ns(frames * PERIOD_MS),
        cpu_ms=500.0,
        memory_mib=100.0,
        minor_faults=0,
        major_faults=major_faults,
        holds=tuple(holds),
    )


def holds_in(
    timings: list[StageTiming], stage: str, wait_ms: float, affected: Callable[[int], bool]
) -> list[Hold]:
    """Return holds from the start of processing of the affected frames on."""
    return [
        Hold(timing.started_ns + 100_000, wait_ms, 0.0, wait_ms)
        for index, timing in enumerate(t for t in timings if t.stage == stage and not t.dropped)
        if affected(index)
    ]
