"""An hour of figures, by a clock of the test."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np

from edge_inference.core.runtime.latency import Percentiles
from edge_inference.observe.monitor.history import History
from edge_inference.observe.monitor.history_figures import find_figures
from edge_inference.observe.monitor.snapshot import (
    EndRow,
    EngineRow,
    PlatformRow,
    ProcessRow,
    ReadingRow,
    Snapshot,
    StageRow,
)

UNKNOWN = Percentiles()
START_S = 1_700_000_000.0


def stage(node: str, p50: float | None = 5.0, **values) -> StageRow:
    known = {
        "rate_hz": 30.0,
        "count": 1,
        "process": Percentiles(p50=p50, p95=6.0, p99=7.0),
        "queue": Percentiles(p99=1.0),
        "transport": UNKNOWN,
        "age": UNKNOWN,
        "device": UNKNOWN,
        "drops": {"superseded": 2, "too_old": 1},
        "deadline_misses": 0,
        "clock_faults": {},
        "silent_s": 0.0,
    }
    return StageRow(node.rpartition("/")[2], node, **{**known, **values})


def platform(**values) -> PlatformRow:
    known = dict.fromkeys(
        ("headroom", "power_w", "hottest_c", "cpu_share", "gpu_share", "memory_share")
    )
    texts = dict.fromkeys(("board", "mode", "level", "reason", "hottest_name", "problem"), "")
    rest = {"throttling": (), "readings": (), "source": "test", "age_s": 0.0}
    return PlatformRow(**{**known, **texts, **rest, **values})


def snapshot(at_s: float, *stages: StageRow, **values) -> Snapshot:
    return Snapshot(at_s, "/ai", stages=stages, **values)


def test_an_hour_and_what_is_older_goes() -> None:
    history = History()
    for second in range(4000):
        history.append(snapshot(START_S + second, stage("/ai/decode", float(second))))
    times, values = history.get(["process_p50_ms:/ai/decode"])
    assert len(times) == 3600
    np.testing.assert_array_equal(times, START_S + np.arange(400, 4000))
    np.testing.assert_array_equal(values["process_p50_ms:/ai/decode"], np.arange(400, 4000))
    times, values = history.get(["process_p50_ms:/ai/decode"], since_s=10.0)
    assert times.tolist() == [START_S + second for second in range(3989, 4000)]
    assert values["process_p50_ms:/ai/decode"].tolist() == list(range(3989, 4000))


def test_the_tables() -> None:
    percentiles = Percentiles(p50=1.0, p95=2.0, p99=3.0)
    found = snapshot(
        START_S,
        stage("/ai/decode"),
        ends=(EndRow("decode", "/ai/decode", 1, percentiles, UNKNOWN, 0),),
        processes=(ProcessRow(7, ("/ai/inference", "/ai/decode"), 0.5, 100.0, 3.0, 0.0, 0.0),),
        engines=(EngineRow("/ai/inference", "m", "ort", "fp32", "", "", None, "", rate_hz=29.0),),
        platform=platform(
            power_w=9.0,
            readings=(
                ReadingRow("zone/cpu", "temperature", 55.0, "Cel", "55.0 °C", "ok", "control"),
                ReadingRow("rail/gpu", "power", None, "W", "not known", "stale", "none"),
                ReadingRow("cpu/load", "share", 0.5, "", "50%", "ok", "none"),
            ),
        ),
    )
    figures = {name: (value, unit) for name, unit, value in find_figures(found)}
    assert figures["end_p95_ms:/ai/decode"] == (2.0, "ms")
    assert figures["drops:/ai/decode"] == (3.0, "")
    assert figures["rate_hz:/ai/decode"] == (30.0, "Hz")
    assert figures["process_cpu_share:/ai/decode"] == (0.5, "")
    assert figures["engine_rate_hz:/ai/inference"] == (29.0, "Hz")
    assert figures["engine_max_rate_hz:/ai/inference"] == (None, "Hz")
    assert figures["power_w"] == (9.0, "W")
    assert figures["cpu_share"] == (None, "")
    assert figures["temperature_c:zone/cpu"] == (55.0, "Cel")
    assert figures["sensor_power_w:rail/gpu"] == (None, "W")
    assert "temperature_c:cpu/load" not in figures
    history = History()
    history.append(found)
    assert history.unit("power_w") == "W"
    assert history.unit("no such") == ""
    assert "sensor_power_w:rail/gpu" not in history.series()  # never known
    assert list(history.series()) == sorted(history.series())


def test_what_is_unknown_is_a_gap_and_no_zero() -> None:
    history = History()
    history.append(snapshot(START_S, stage("/ai/decode")))
    history.append(snapshot(START_S + 1, stage("/ai/decode", None)))
    history.append(snapshot(START_S + 2))
    history.append(snapshot(START_S + 3, stage("/ai/decode", math.inf)))
    history.append(snapshot(START_S + 4, stage("/ai/decode", 8.0), stage("/ai/late", 9.0)))
    name, late = "process_p50_ms:/ai/decode", "process_p50_ms:/ai/late"
    _, values = history.get([name, late, "no such"])
    np.testing.assert_array_equal(values[name], [5.0, math.nan, math.nan, math.nan, 8.0])
    np.testing.assert_array_equal(values[late], [math.nan] * 4 + [9.0])
    assert list(values) == [name, late]


def test_a_time_without_snapshots_is_a_gap() -> None:
    history = History()
    for second in (0, 1, 100):
        history.append(snapshot(START_S + second, stage("/ai/decode")))
    times, values = history.get(["rate_hz:/ai/decode"])
    assert (times - START_S).tolist() == [0, 1, 2, 100]
    np.testing.assert_array_equal(values["rate_hz:/ai/decode"], [30, 30, math.nan, 30])


def test_a_clock_that_is_set_back_keeps_distances() -> None:
    history = History()
    for second in (0, 1, 1, -500, -499):
        history.append(snapshot(START_S + second, stage("/ai/decode")))
    times, _ = history.get([])
    assert (times - START_S).tolist() == [-503, -502, -501, -500, -499]


def test_the_newest() -> None:
    history = History()
    assert history.newest() is None
    for since_s in (math.inf, 5.0):
        assert history.get(["rate_hz"], since_s)[0].tolist() == []
    history.append(snapshot(START_S, stage("/ai/decode"), stage("/ai/gone")))
    history.append(snapshot(START_S + 1, stage("/ai/decode", None)))
    newest = history.newest()
    assert newest is not None
    at_s, values = newest
    assert at_s == START_S + 1
    assert values["rate_hz:/ai/decode"] == 30.0
    assert "process_p50_ms:/ai/decode" not in values
    assert not any("gone" in name for name in values)


def test_a_figure_that_has_been_unknown_for_an_hour_goes() -> None:
    history = History()
    history.append(snapshot(START_S, stage("/ai/gone")))
    for second in range(1, 3600):
        history.append(snapshot(START_S + second, stage("/ai/decode")))
    assert "rate_hz:/ai/gone" in history.series()
    history.append(snapshot(START_S + 3600, stage("/ai/decode")))
    assert "rate_hz:/ai/gone" not in history.series()
    assert "rate_hz:/ai/decode" in history.series()


def test_figures_are_bounded_in_number_and_memory() -> None:
    history = History()
    tracemalloc.start()
    try:
        for second in range(50):
            names = (f"/ai/node_{second}_{number}" for number in range(256))
            history.append(snapshot(START_S + second, *map(stage, names)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(history.series()) == History.MAX_SERIES
    assert peak < 100 << 20


def test_values_are_copies() -> None:
    history = History()
    history.append(snapshot(START_S, stage("/ai/decode")))
    history.get(["rate_hz:/ai/decode"])[1]["rate_hz:/ai/decode"][0] = 77
    assert history.get(["rate_hz:/ai/decode"])[1]["rate_hz:/ai/decode"].tolist() == [30.0]
