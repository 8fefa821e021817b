"""A robot for tests of the dashboard's page: every part of a snapshot has values, and they move."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

import cv2
import numpy as np

from edge_inference.core.runtime.latency import Percentiles
from edge_inference.errors import InputError
from edge_inference.observe.monitor.history import History
from edge_inference.observe.monitor.parameter_row import ParameterRow
from edge_inference.observe.monitor.snapshot import (
    Decision,
    EndRow,
    EngineRow,
    HealthRow,
    PlatformRow,
    ProcessRow,
    ReadingRow,
    ResultRow,
    Snapshot,
    StageRow,
    TargetRow,
    VoiceRow,
)

HOSTILE = "<img src=x onerror=\"document.title='bad'\"><b>bold</b>"
STAGES = ("preprocess", "inference", "decode", "overlay")
UNKNOWN = Percentiles()
REFUSAL = "confidence: expected a number from 0 to 1, got 2.0"
PARAMETERS = (
    ParameterRow("confidence", "double", 0.4, 0.0, 1.0, (), "lowest score reported", False),
    ParameterRow("max_objects", "integer", 100, 1.0, 1000.0, (), "most objects in a result", False),
    ParameterRow("enabled", "bool", True, None, None, (), "whether results are published", False),
    ParameterRow("policy", "string", "latest", None, None, ("latest", "queue"), HOSTILE, False),
    ParameterRow("classes", "string[]", ("person", "dog"), None, None, (), "only these", False),
    ParameterRow("model", "string", "nanodet", None, None, (), "the model", True),
)


def percentiles(p50: float) -> Percentiles:
    return Percentiles(p50 * 1.05, p50, p50 * 1.2, p50 * 1.3, p50 * 1.6, p50 * 2)


class ScriptedParameters:
    """The same parameters for each stage; ``changes`` are those that were set."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str, object]] = []
        self._rows = {row.name: row for row in PARAMETERS}

    def read(self, node: str) -> Sequence[ParameterRow]:
        if node not in (f"/ai/{stage}" for stage in STAGES):
            raise InputError(f"{node}: does not answer")
        return tuple(self._rows.values())

    def change(self, node: str, name: str, value: Any) -> str:
        if name == "confidence" and value == 2:
            return REFUSAL
        self.changes.append((node, name, value))
        self._rows[name] = replace(self._rows[name], value=value)
        return ""


class ScriptedRobot:
    """What a dashboard shows; ``change`` replaces parts of the next snapshots.

    ``viewers`` are those who watch the images.
    """

    def __init__(self) -> None:
        self.history = History()
        self.viewers: list[Callable[[bytes, int], None]] = []
        self.parameters = ScriptedParameters()
        self._started_s = time.time()
        self._parts: dict[str, object] = {}
        self._steps = itertools.count(1)
        self._step = 0
        self._lock = Lock()

    def change(self, **parts: object) -> None:
        self._parts = parts

    def fill_history(self, seconds: int) -> None:
        """Let so many seconds pass at once, until now."""
        now_s = time.time()
        for second in range(seconds, 0, -1):
            self.history.append(self._make(second % 60, now_s - second))

    def snapshot(self) -> Snapshot:
        """Return the next step of the script; history and viewers get it too."""
        with self._lock:
            self._step = next(self._steps)
            made = self._make(self._step, time.time())
            self.history.append(made)
        for show in [*self.viewers]:
            show(draw_image(self._step), time.time_ns())
        return replace(made, **self._parts)  # type: ignore[arg-type]

    def watch_image(self, callback: Callable[[bytes, int], None]) -> Callable[[], None]:
        self.viewers.append(callback)
        return lambda: self.viewers.remove(callback)

    def _make(self, step: int, at_s: float) -> Snapshot:
        wave = 1 + 0.1 * np.sin(step / 5).item() + 0.01 * (step % 7)
        return Snapshot(
            at_s=at_s,
            namespace="/ai",
            namespaces=("/ai",),
            window_s=10.0,
            deadline_ms=50.0,
            stages=tuple(make_stage(name, step, wave) for name in STAGES),
            ends=(EndRow("decode", "/ai/decode", step, percentiles(31 * wave), percentiles(9), 2),),
            processes=(
                ProcessRow(4711, ("/ai/decode", "/ai/inference"), 0.6 * wave, 210.0, 3.1, 0.4, 1),
                ProcessRow(4712, ("/ai/overlay",), 0.2 * wave, 90.0, 0.0, 0.1, 1.0),
            ),
            engines=(
                EngineRow(
                    "/ai/inference", "nanodet", "trt", "int8", "TensorRT 10.3 on Orin", "trt fp16",
                    step % 100 / 100, "fp16 failed its self-check", 1, 24.5 * wave, 25.0, 20.0,
                    "int8", "reduced", "tj-thermal is at 78 °C",
                ),
            ),
            platform=make_platform(step, wave),
            targets=(
                TargetRow("drive", "p99 from end to end", "PASS", "", 41.5, 50.0, True),
                TargetRow("drive", "results per second", "FAIL", "", 18.2, 20.0, True),
                TargetRow("drive", "power", "INCONCLUSIVE", "too few samples (4)", 14, 15.0, False),
                TargetRow("drive", "GPU memory", "NOT MEASURED", "no sensor", None, 2.0, False),
            ),
            health=(
                HealthRow("/ai/decode", "ok", f"frames {step}", 0.4),
                HealthRow("/ai/inference", "warn", "fp16 failed its self-check", 0.4),
                HealthRow(HOSTILE, "error", HOSTILE, 0.4),
            ),
            voice=VoiceRow(
                "go forward two meters", True, ("move: distance 2 m",), ("move: distance 2 m",),
                "moving", "", "", at_s - 7.0,
            ),
            results=(
                ResultRow("/ai/detections", "detections", "nanodet", ("bicycle", HOSTILE), 0.1),
            ),
            decisions=(
                Decision(self._started_s - 90, "limit", "/ai/inference", "at most 20 Hz: 78 °C"),
                Decision(self._started_s, "engine", "/ai/inference", HOSTILE),
                *(
                    Decision(self._started_s + each, "level", "/ai/inference", f"step {each}")
                    for each in range(0, step, 10)
                ),
            ),
        )  # fmt: skip


def make_stage(name: str, step: int, wave: float) -> StageRow:
    p50 = {"inference": 21.0, "overlay": 4.0}.get(name, 1.3) * wave
    return StageRow(
        stage=name,
        node=f"/ai/{name}",
        rate_hz=24.5 * wave,
        count=step,
        process=percentiles(p50),
        queue=percentiles(0.4 * wave),
        transport=percentiles(0.2),
        age=percentiles(p50 + 4),
        device=percentiles(18) if name == "inference" else UNKNOWN,
        drops={"superseded": step, "too_old": 3} if name == "inference" else {},
        deadline_misses=0,
        clock_faults={"stamp_in_future": 2} if name == "preprocess" else {},
        silent_s=0.1,
    )


def make_platform(step: int, wave: float) -> PlatformRow:
    hot = 70 * wave
    return PlatformRow(
        board="Jetson AGX Orin",
        mode="MAXN",
        level="reduced",
        reason="tj-thermal is near its limit",
        headroom=0.8,
        power_w=20 * wave,
        hottest_c=hot,
        hottest_name="tj-thermal",
        cpu_share=0.4 * wave,
        gpu_share=0.7 * wave,
        memory_share=0.5,
        throttling=("over-current: VDD_GPU",),
        problem="",
        readings=(
            temperature("tj-thermal", hot, "control", 95.0),
            temperature("cpu-thermal", hot - 5, "none", None),
            ReadingRow("gpu-thermal", "temperature", None, "Cel", "powered off", "gated", "none"),
            ReadingRow("VDD_GPU", "power", 9 * wave, "W", f"{9 * wave:.2f} W", "ok", "none"),
        ),
        source="/ai/platform_state",
        age_s=0.5,
    )


def temperature(name: str, celsius: float, role: str, limit: float | None) -> ReadingRow:
    text = f"{celsius:.1f} °C"
    return ReadingRow(name, "temperature", celsius, "Cel", text, "ok", role, limit)


def draw_image(step: int) -> bytes:
    image = np.full((270, 480, 3), (60, 90, 40), np.uint8)
    cv2.rectangle(image, (40 + step % 100, 60), (240 + step % 100, 220), (80, 220, 255), 3)
    cv2.putText(image, f"bicycle {step}", (44 + step % 100, 52), 0, 0.6, (80, 220, 255), 2)
    done, data = cv2.imencode(".jpg", image)
    assert done
    return data.tobytes()
