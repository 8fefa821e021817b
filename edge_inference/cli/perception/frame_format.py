"""The frames of a run as JSON."""

from __future__ import annotations

from typing import Any

from edge_inference.cli.perception.frame_tracker import STAGES, FrameRecord
from edge_inference.cli.sessions.latency_format import rounded, timeline_to_json
from edge_inference.core.results import kind_of


def record_to_json(record: FrameRecord) -> dict[str, Any]:
    """Return one frame as an object of the output of ``--json``."""
    return {
        "source": record.source,
        "frame": record.number,
        "stamp": record.stamp_ns,
        "model": record.result.model,
        "results": kind_of(record.result).to_json(record.result),
        "ms": {
            stage: rounded(record.process_ms[stage])
            for stage in STAGES
            if stage in record.process_ms
        },
        "age_ms": rounded(record.age_ms),
        **timeline_to_json(record.timeline),
    }
