"""The report in the layout of ros2_benchmark, for tools that read its JSON files.

Keys are those that ros2_benchmark writes: the members of its enumerations BasicPerformanceMetrics,
ResourceMetrics and BenchmarkMetadata by their full names, a fixed rate under "<rate>fps". What
ros2_benchmark measures and this benchmark does not is left out.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_inference.cli.benchmark.benchmark_options import BenchmarkOptions
from edge_inference.observe.benchmark.benchmark_report import BenchmarkReport, BenchmarkResult
from edge_inference.observe.benchmark.saturation import SATURATION

_LOAD_SENSOR, _MEMORY_SENSOR = "cpu/load", "memory/used"


def format_r2b(report: BenchmarkReport, options: BenchmarkOptions) -> dict[str, Any]:
    """Return the figures of the first candidate; those of the others are below their names.

    The main figures are those at saturation, where it was searched for, else of the first load.
    """
    names = list(report.candidates)
    blocks = {name: _candidate(report, name) for name in names}
    content = dict(blocks[names[0]]) if names else {}
    content.update({name: blocks[name] for name in names[1:]})
    content["metadata"] = _metadata(report, options)
    return content


def _candidate(report: BenchmarkReport, name: str) -> dict[str, Any]:
    results = [each for each in report.results if each.candidate == name]
    main = next((each for each in results if each.load == SATURATION), None)
    main = main or next(iter(results), None)
    block = {} if main is None else _metrics(main)
    for result in results:
        if result is not main and result.offered_hz is not None:
            block[f"{result.offered_hz:g}fps"] = _metrics(result)
    return block


def _metrics(result: BenchmarkResult) -> dict[str, Any]:
    metrics: dict[str, Any] = {
        "RECEIVED_DURATION": 1e3 * result.seconds,
        "MEAN_PLAYBACK_FRAME_RATE": result.offered_hz or result.rate_hz,
        "MEAN_FRAME_RATE": result.rate_hz,
        "NUM_MISSED_FRAMES": result.dropped,
        "NUM_FRAMES_SENT": result.frames + result.dropped,
    }
    if result.samples_ms:
        samples = np.asarray(result.samples_ms)
        metrics |= {
            "FIRST_INPUT_LATENCY": float(samples[0]),
            "LAST_INPUT_LATENCY": float(samples[-1]),
            "MAX_LATENCY": float(samples.max()),
            "MIN_LATENCY": float(samples.min()),
            "MEAN_LATENCY": float(samples.mean()),
        }
    resources = {
        "MEAN_OVERALL_CPU_UTILIZATION": _percent(result.sensors, _LOAD_SENSOR),
        "MEAN_HOST_MEMORY_UTILIZATION": _percent(result.sensors, _MEMORY_SENSOR),
    }
    return {
        **{f"BasicPerformanceMetrics.{name}": value for name, value in metrics.items()},
        **{
            f"ResourceMetrics.{name}": value
            for name, value in resources.items()
            if value is not None
        },
    }


def _metadata(report: BenchmarkReport, options: BenchmarkOptions) -> dict[str, Any]:
    machine = platform.uname()
    values: dict[str, Any] = {
        "NAME": f"edge_inference {report.model} ({report.level})",
        "TEST_DATETIME": report.started,
        "DEVICE_ARCH": machine.machine,
        "DEVICE_OS": f"{machine.system} {machine.release} {machine.version}",
        "DEVICE_HOSTNAME": machine.node,
        "BENCHMARK_MODE": "LOOPING",
        "INPUT_DATA_PATH": report.environment.get("source", ""),
        "INPUT_DATA_HASH": report.environment.get("source sha256", ""),
        "CONFIG": f"seconds: {options.seconds:g}, batch: {report.batch}",
    }
    first = next(iter(report.saturations.values()), None)
    if first is not None and first.rate_hz is not None:
        values["PEAK_THROUGHPUT_PREDICTION"] = first.rate_hz
    return {f"BenchmarkMetadata.{name}": value for name, value in values.items()}


def _percent(sensors: Mapping[str, float], name: str) -> float | None:
    return None if name not in sensors else 100.0 * sensors[name]
