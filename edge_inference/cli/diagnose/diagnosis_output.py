"""A diagnosis as text for people, and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TextIO

import numpy as np

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.text_line import one_line
from edge_inference.observe.attribution.cause import CauseFinding, Diagnosis
from edge_inference.observe.attribution.frame_ways import FrameStep, join_frames
from edge_inference.observe.attribution.observation import Observation

_WIDTH, _INDENT = 96, "            "
_WORST_FRAMES = 3


def write_text(
    diagnosis: Diagnosis, observation: Observation, namespace: str, stream: TextIO
) -> None:
    """Write the causes, worst first, and the timelines of the worst frames."""
    lines = [f"{diagnosis.frames} frames of {namespace} in {diagnosis.window_s:.1f} s"]
    ages = _ages_ms(observation.timings)
    if ages:
        p50, p95 = np.percentile(ages, (50, 95))
        lines[0] += f"; from capture to the end of a frame p50 {p50:.1f} ms, p95 {p95:.1f} ms"
    if not diagnosis.findings:
        lines += ["", "nothing held the frames up"]
    for rank, finding in enumerate(diagnosis.findings, 1):
        lines += ["", *_finding_lines(rank, finding)]
    worst = _worst_frames(diagnosis, observation)
    if worst:
        lines += ["", "worst frames (ms):"]
        lines += [f"  {_timeline(steps)}; held up {held:.1f}" for steps, held in worst]
    if diagnosis.unknown:
        lines += ["", "not known:"]
        lines += [f"  {text}" for text in diagnosis.unknown]
    stream.write("".join(f"{one_line(line) if line.strip() else ''}\n" for line in lines))


def write_json(
    diagnosis: Diagnosis, observation: Observation, namespace: str, stream: TextIO
) -> None:
    """Write an object for each cause, worst first, and last a summary."""
    for finding in diagnosis.findings:
        stream.write(json.dumps(_rounded({**asdict(finding), "cause": finding.cause.value})) + "\n")
    summary = {
        "namespace": namespace,
        "frames": diagnosis.frames,
        "window_s": diagnosis.window_s,
        "causes": [finding.cause.value for finding in diagnosis.findings],
        "summary": diagnosis.summary,
        "unknown": list(diagnosis.unknown),
        "worst_frames": [
            {"stamp_ns": steps[0].timing.stamp_ns, "held_ms": held, "stages": _stages(steps)}
            for steps, held in _worst_frames(diagnosis, observation)
        ],
    }
    stream.write(json.dumps(_rounded(summary)) + "\n")


def _finding_lines(rank: int, finding: CauseFinding) -> list[str]:
    name = finding.cause.value.replace("_", " ")
    head = f"{rank:2}. {finding.ms:6.1f} ms a frame: {name}, {finding.subject}"
    hint = finding.hint + (f" ({finding.parameter})" if finding.parameter else "")
    texts = (finding.evidence, f"to do: {hint}")
    return [head, *(line for text in texts for line in _wrap(one_line(text)))]


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _ages_ms(timings: Sequence[StageTiming]) -> list[float]:
    """Return the age of each frame at the end of the last stage that reported it."""
    ages: dict[tuple[str, int], float] = {}
    for timing in timings:
        if timing.age_ms is not None and not timing.dropped:
            key = timing.frame_id, timing.stamp_ns
            ages[key] = max(ages.get(key, 0.0), timing.age_ms + (timing.publish_ms or 0.0))
    return list(ages.values())


def _worst_frames(
    diagnosis: Diagnosis, observation: Observation
) -> list[tuple[list[FrameStep], float]]:
    worst = sorted(diagnosis.held.items(), key=lambda each: each[1], reverse=True)[:_WORST_FRAMES]
    # The order of the stages is that of all frames.
    steps = join_frames(observation.timings) if worst else []
    return [([step for step in steps if step.frame == frame], ms) for frame, ms in worst]


def _timeline(steps: Sequence[FrameStep]) -> str:
    parts = []
    for step in steps:
        timing = step.timing
        way = "" if step.way_ms is None else f"{step.way_ms:.1f} to "
        text = f"{way}{timing.stage}: queue {timing.queue_ms:.1f}"
        if timing.dropped:
            text += f", dropped ({timing.dropped})"
        else:
            text += f", process {timing.process_ms or 0.0:.1f}"
        if timing.publish_ms:
            text += f", publish {timing.publish_ms:.1f}"
        parts.append(text)
    return " | ".join(parts)


def _stages(steps: Sequence[FrameStep]) -> list[dict[str, Any]]:
    return [
        {
            "stage": step.timing.stage,
            "node": step.timing.node,
            "transport_ms": step.way_ms,
            "queue_ms": step.timing.queue_ms,
            "process_ms": step.timing.process_ms,
            "publish_ms": step.timing.publish_ms,
            "dropped": step.timing.dropped,
        }
        for step in steps
    ]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
