"""Asks EdgeLens, where it is installed, which stage was slow in a window.

EdgeLens gets the times of the same frames, through its recorder for times that others measured, the
load of the machine, and a deadline of 1.25 times the 95th percentile of the clean window before. It
knows no queues, processes and subscribers, so it is asked only about faults in the processing of a
stage.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.attribution_trials import Window
from edge_inference.core.runtime.latency import StageTiming

#: Faults that show in the time of a stage.
VISIBLE = ("blocked", "slow", "page faults")
_DEADLINE_FACTOR = 1.25
#: Our stages by the names that EdgeLens knows.
_NAMES = {"preprocess": "preprocess", "inference": "inference", "decode": "postprocess"}
_STAGES = {name: stage for stage, name in _NAMES.items()}
_STAGE_OF_TYPE = {
    "CPU_BOUND_PREPROCESS": "preprocess",
    "INFERENCE_ON_CPU": "inference",
    "GPU_BOUND": "inference",
}


def is_installed() -> bool:
    """Tell whether EdgeLens can be imported."""
    return importlib.util.find_spec("edgelens") is not None


def find_stage(clean: Window, faulty: Window) -> str:
    """Return the stage that EdgeLens names first; the type of its finding where it names none."""
    edgelens = importlib.import_module("edgelens")
    diagnose = importlib.import_module("edgelens.diagnose.engine").diagnose
    durations_ms = [(frame[-1][2] - frame[0][1]) / 1e6 for frame in _frames(clean.recorded.timings)]
    deadline_ms = float(np.percentile(durations_ms, 95)) * _DEADLINE_FACTOR
    with edgelens.trace(
        "perception", pack="vision", deadline_ms=deadline_ms, telemetry=False
    ) as tracer:
        for frame in _frames(faulty.recorded.timings):
            for name, started_ns, ended_ns in frame:
                tracer.record(name, started_ns, ended_ns)
    # Its own recorder would measure the load now instead of that in the window.
    tracer.result["telemetry"] = {
        "cpu_percent_mean": faulty.load.all * 100.0,
        "cpu_count": os.cpu_count(),
        "sample_count": len(faulty.recorded.timings),
    }
    finding: dict[str, Any] = diagnose(tracer.result)["primary"]
    if finding["type"] == "DEADLINE_MISSED":
        return _STAGES[finding["evidence"]["dominant_stage"]]
    return _STAGE_OF_TYPE.get(finding["type"], str(finding["type"]))


def _frames(timings: Sequence[StageTiming]) -> list[list[tuple[str, int, int]]]:
    """Return the stages of each complete frame, in order: name, begin and end."""
    by_frame: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
    for each in timings:
        if not each.dropped and each.stage in _NAMES:
            by_frame[each.stamp_ns].append((_NAMES[each.stage], each.started_ns, each.ended_ns))
    complete = [stages for stages in by_frame.values() if len(stages) == len(_NAMES)]
    return [sorted(stages, key=lambda stage: stage[1]) for stages in complete]
