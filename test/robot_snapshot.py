"""Snapshots of a robot that has everything, and of one of which nothing is known."""

from __future__ import annotations

from edge_inference.core.reading import Quantity
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

FIGURES = Percentiles(mean=21.0, p50=20.0, p90=24.0, p95=25.0, p99=40.0, max=50.0)
DECISION = Decision(1_700_000_000.0, "engine", "/ai/inference", "int8 on ort: 78 °C")


def make_stage(stage: str, node: str, figures: Percentiles = FIGURES) -> StageRow:
    """Return a stage that has processed a thousand frames."""
    return StageRow(
        stage=stage,
        node=node,
        rate_hz=29.5,
        count=1000,
        process=figures,
        queue=figures,
        transport=figures,
        age=figures,
        device=figures,
        drops={"superseded": 7, "too_old": 2},
        deadline_misses=3,
        clock_faults={"stamp_zero": 1},
        silent_s=0.1,
    )


def make_reading(quantity: Quantity, value: float | None = 0.5, name: str = "") -> ReadingRow:
    """Return a reading of a sensor."""
    return ReadingRow(
        name=name or f"chip/{quantity.value}",
        quantity=quantity.value,
        value=value,
        unit=quantity.unit,
        text="text for people",
        status="ok" if value is not None else "stale",
        role="none",
    )


def make_platform(readings: tuple[ReadingRow, ...]) -> PlatformRow:
    """Return a machine that is hot."""
    return PlatformRow(
        board="jetson_orin",
        mode="MAXN",
        level="reduced",
        reason="78 °C",
        headroom=0.9,
        power_w=14.5,
        hottest_c=78.25,
        hottest_name="zone/tj-thermal",
        cpu_share=0.4,
        gpu_share=0.8,
        memory_share=0.5,
        throttling=("clocks",),
        problem="",
        readings=readings,
        source="/ai/platform_state",
        age_s=0.2,
    )


def full_snapshot() -> Snapshot:
    """Return a snapshot in which every field is known."""
    engine = EngineRow(
        node="/ai/inference",
        model="nanodet",
        backend="ort",
        precision="int8",
        engine='ONNX Runtime 1.23 "CPU"',
        preparing="trt int8",
        progress=0.25,
        problem="",
        batch=1,
        rate_hz=15.0,
        demand_hz=30.0,
        max_rate_hz=15.0,
        precision_ceiling="int8",
        level="reduced",
        reason="78 °C",
    )
    return Snapshot(
        at_s=1_700_000_001.5,
        namespace="/ai",
        namespaces=("/ai",),
        window_s=10.0,
        deadline_ms=100.0,
        stages=tuple(make_stage(n, f"/ai/{n}") for n in ("preprocess", "inference", "decode")),
        ends=(EndRow("decode", "/ai/decode", 990, FIGURES, FIGURES, 4),),
        processes=(ProcessRow(4711, ("/ai/inference", "/ai/decode"), 0.8, 256.0, 12.0, 5.0, 0.3),),
        engines=(engine,),
        platform=make_platform(tuple(map(make_reading, Quantity))),
        targets=(
            TargetRow("vision", "rate_hz ≥ 20", "PASS", "29.5 Hz", 29.5, 20.0, True),
            TargetRow("vision", "age_ms p99 ≤ 50", "FAIL", "61 ms", 61.0, 50.0, False),
            TargetRow("vision", "power_w ≤ 15", "NOT MEASURED", "no sensor", None, 15.0, True),
        ),
        health=(HealthRow("/ai/inference", "warn", "hot", 0.5),),
        voice=VoiceRow(transcript="stop", is_final=True, at_s=1_700_000_000.0),
        results=(ResultRow("/ai/detections", "detections", "nanodet", ("1 bike",), 0.05),),
        decisions=(DECISION,),
    )


def empty_snapshot() -> Snapshot:
    """Return a snapshot while no pipeline runs."""
    return Snapshot(at_s=1_700_000_000.0, namespace="", status="no pipeline runs: start one")
