"""Snapshots for the tests of the terminal monitor."""

from __future__ import annotations

import dataclasses
import io
import time

from rich.console import Console
from rich.text import Text

from edge_inference.cli.top.top_pages import TopPlace, TopScreen, TopView, compose_screen
from edge_inference.cli.top.trends import Trends
from edge_inference.core.runtime.latency import Percentiles
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

NOON_S = time.mktime((2026, 12, 1, 12, 3, 11, 0, 0, -1))


def spread(ms: float) -> Percentiles:
    return Percentiles(ms, ms, ms * 1.3, ms * 1.5, ms * 2, ms * 3)


def stage(name: str, ms: float, **changes: object) -> StageRow:
    row = StageRow(
        stage=name,
        node=f"/ai/{name}",
        rate_hz=24.9,
        count=1450,
        process=spread(ms),
        queue=spread(0.3),
        transport=spread(0.2),
        age=spread(40.0),
        device=Percentiles(),
        drops={},
        deadline_misses=0,
        clock_faults={},
        silent_s=0.1,
    )
    return dataclasses.replace(row, **changes)  # type: ignore[arg-type]


def reading(name: str, text: str, **changes: object) -> ReadingRow:
    row = ReadingRow(name, "temperature", 71.5, "Cel", text, "ok", "none")
    return dataclasses.replace(row, **changes)  # type: ignore[arg-type]


STAGES = (
    stage("decode", 1.1),
    stage("inference", 21.0, drops={"superseded": 12, "too_old": 3, "invalid": 0}),
    stage("preprocess", 1.3, clock_faults={"stamp_in_past": 4}),
    stage("overlay", 4.0, silent_s=7.0),
)
ENDS = (EndRow("decode", "/ai/decode", 1450, spread(26.2), spread(27.0), 12),)
ENGINES = (
    EngineRow(
        node="/ai/inference",
        model="nanodet",
        backend="trt",
        precision="int8",
        engine="nanodet int8 on trt",
        preparing="fp16 on trt",
        progress=0.43,
        problem="",
        batch=1,
        rate_hz=24.9,
        demand_hz=25.0,
        max_rate_hz=12.5,
        precision_ceiling="int8",
        level="reduced",
        reason="zone/tj-thermal is at 78 °C",
    ),
)
PLATFORM = PlatformRow(
    board="jetson_orin",
    mode="25W",
    level="reduced",
    reason="zone/tj-thermal is at 78 °C",
    headroom=0.93,
    power_w=11.2,
    hottest_c=78.1,
    hottest_name="zone/tj-thermal",
    cpu_share=0.43,
    gpu_share=0.92,
    memory_share=0.34,
    throttling=(),
    problem="",
    readings=(
        reading("zone/tj-thermal", "78.1 °C", role="control", limit=85.0),
        reading("rail/VDD_IN", "11.20 W", role="total_power"),
        reading("zone/cv0-thermal", "the unit is off", value=None, status="gated"),
        *(reading(f"zone/{number}", "41.0 °C") for number in range(40)),
    ),
    source="/ai/platform_state",
    age_s=0.2,
)
TARGETS = (
    TargetRow("camera", "rate of decode >= 20 /s", "PASS", "24.9", 24.9, 20.0, True),
    TargetRow("camera", "end to end p99 <= 50 ms", "FAIL", "52.4", 52.4, 50.0, True),
    TargetRow("camera", "power <= 15 W", "NOT MEASURED", "no sensor", None, 15.0, False),
)
DECISIONS = (
    Decision(NOON_S - 90_000, "pipeline", "/ai", "found"),
    Decision(NOON_S - 60, "level", "/ai/inference", "reduced: zone/tj-thermal is at 78 °C"),
    Decision(NOON_S - 30, "health", "/ai/decode", "ok"),
    Decision(NOON_S - 1, "engine", "/ai/inference", "int8 on trt since 12:03: 78 °C"),
)
FULL = Snapshot(
    at_s=NOON_S,
    namespace="/ai",
    namespaces=("/ai",),
    window_s=5.0,
    deadline_ms=50.0,
    stages=STAGES,
    ends=ENDS,
    processes=(
        ProcessRow(4711, ("/ai/preprocess", "/ai/inference"), 1.12, 340.0, 12.5, 3.0, 0.4),
        ProcessRow(4712, ("/ai/platform_manager",), 0.02, 1540.0, 0.0, 0.0, 0.4),
    ),
    engines=ENGINES,
    platform=PLATFORM,
    targets=TARGETS,
    health=(
        HealthRow("/ai/inference", "warn", "12 of 1450 frames dropped", 0.4),
        HealthRow("/ai/decode", "ok", "1450 frames", 0.4),
    ),
    voice=VoiceRow(
        transcript="go forward half a metre",
        is_final=True,
        intents=("move direction forward",),
        plan=("move 0.5 m",),
        state="executing",
        said="ok",
        at_s=NOON_S - 3,
    ),
    results=(
        ResultRow("/ai/detections", "detections", "nanodet", ("person 0.91", "cup 0.5"), 0.1),
    ),
    decisions=DECISIONS,
)
EMPTY = Snapshot(
    at_s=NOON_S, namespace="", status="no pipeline runs: start one, or check the domain"
)
#: Everything is there, and nothing is known of it.
BARE = dataclasses.replace(
    FULL,
    deadline_ms=None,
    stages=tuple(
        dataclasses.replace(
            row, process=Percentiles(), queue=Percentiles(), transport=Percentiles()
        )
        for row in STAGES
    ),
    ends=(EndRow("decode", "/ai/decode", 0, Percentiles(), Percentiles(), 0),),
    engines=(EngineRow("/ai/inference", "", "", "", "", "", None, ""),),
    platform=dataclasses.replace(
        PLATFORM,
        mode="",
        level="",
        reason="",
        headroom=None,
        power_w=None,
        hottest_c=None,
        cpu_share=None,
        gpu_share=None,
        memory_share=None,
        readings=(),
    ),
)
TRENDS = Trends(
    latency={"/ai/decode": tuple(26.0 + index % 5 for index in range(20))},
    cpu=tuple(index / 20 for index in range(20)),
    gpu=(float("nan"),) * 20,
    temperature=tuple(70.0 + index / 2 for index in range(20)),
)
VIEW = TopView(FULL, TRENDS, ((NOON_S - 5, "a message of a library"),), 252.0)


def show(
    view: TopView, place: TopPlace | None = None, width: int = 80, height: int = 24, **options: bool
) -> tuple[list[str], TopScreen]:
    """Return what rich writes for a screen, line by line, without colors; and the screen."""
    screen = compose_screen(view, place or TopPlace(), width, height, **options)
    console = Console(width=width, record=True, color_system=None, file=io.StringIO())
    console.print(Text("\n").join(screen.lines), soft_wrap=True)
    return console.export_text().split("\n")[:-1], screen
