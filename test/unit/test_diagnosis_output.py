"""A diagnosis as text and JSON, with records that cannot be true."""

from __future__ import annotations

import io
import json

from edge_inference.cli.diagnose.diagnosis_output import write_json, write_text
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.attribution.diagnosis import diagnose
from edge_inference.observe.attribution.observation import Observation

SECOND_NS = 1_000_000_000


def record(frame: int, ended_ns: int, waited_ms: float = 0.0) -> StageTiming:
    """Return a frame that was processed for 10 ms, and waited for a core meanwhile."""
    return StageTiming(
        "decode",
        "/ai/decode",
        queue_ms=0.0,
        process_ms=10.0 + waited_ms,
        age_ms=12.0 + waited_ms,
        stamp_ns=frame * SECOND_NS,
        ended_ns=ended_ns,
        clock_id=1,
        cpu_ms=10.0,
        run_queue_ms=waited_ms,
    )


def test_the_worst_frames_are_shown_beside_impossible_records() -> None:
    timings = [record(frame, frame * SECOND_NS) for frame in range(100, 130)]
    timings += [record(130, 130 * SECOND_NS, 400.0), record(131, 131 * SECOND_NS, 500.0)]
    # Of one of the worst frames there are records of another year.
    timings += [record(131, 10**17) for _ in range(5)]
    observation = Observation(tuple(timings))
    diagnosis = diagnose(observation)
    text, lines = io.StringIO(), io.StringIO()
    write_text(diagnosis, observation, "/ai", text)
    write_json(diagnosis, observation, "/ai", lines)
    assert "process 510.0; held up 500.0" in text.getvalue()
    worst = json.loads(lines.getvalue().splitlines()[-1])["worst_frames"]
    assert [each["stamp_ns"] for each in worst] == [131 * SECOND_NS, 130 * SECOND_NS]
