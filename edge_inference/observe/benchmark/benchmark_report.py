"""The report of a benchmark, as JSON: everything that a later comparison needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge_inference.core.bounded_file import read_json
from edge_inference.errors import ConfigError
from edge_inference.observe.benchmark.saturation import RateProbe, Saturation
from edge_inference.observe.statistics.latency_figures import LatencyFigures

KIND, VERSION = "edge_inference benchmark", 1
#: Frames that are offered one after the other, without a pause.
BACK_TO_BACK = "back to back"
ENGINE, PIPELINE = "engine", "pipeline"
#: A report of an hour at 1000 Hz is smaller.
_MAX_BYTES = 256 << 20
_MAX_RESULTS = 1000


@dataclass(frozen=True)
class BenchmarkResult:
    """One candidate under one load.

    ``samples_ms`` are latencies in the order of results: of an engine for one inference of the
    whole batch, or from the arrival of a frame; of a pipeline from capture to result. ``frames``
    counts the finished frames, ``dropped`` the others. CPU time, energy and memory are None where
    ``not_measured`` says why. ``sensors`` are means while it ran.
    """

    candidate: str
    load: str
    offered_hz: float | None
    frames: int
    dropped: int
    seconds: float
    samples_ms: tuple[float, ...]
    cpu_ms_per_frame: float | None = None
    memory_mib: float | None = None
    energy_j_per_frame: float | None = None
    sensors: Mapping[str, float] = field(default_factory=dict)
    not_measured: Mapping[str, str] = field(default_factory=dict)

    @property
    def latency(self) -> LatencyFigures:
        """The percentiles of the samples."""
        return LatencyFigures.of(self.samples_ms)

    @property
    def rate_hz(self) -> float | None:
        """Finished frames per second; None without time."""
        return self.frames / self.seconds if self.seconds > 0 else None

    @property
    def drop_share(self) -> float:
        """The share of frames that were dropped, 0 to 1."""
        offered = self.frames + self.dropped
        return self.dropped / offered if offered else 0.0


@dataclass(frozen=True)
class StreamingAgreement:
    """The streaming agreement of a candidate on the recording, 0 to 1, with its 95 % interval.

    None where it is undefined. ``measure`` names the score, ``reference`` what it is scored
    against. ``is_estimate`` states that no pipeline ran: the score is from service times.
    """

    value: float | None
    low: float | None
    high: float | None
    measure: str
    reference: str
    frames: int
    is_estimate: bool


@dataclass(frozen=True)
class BenchmarkReport:
    """A whole run.

    ``level`` is that of the measurement: the engine alone, or a pipeline from capture to result.
    ``environment`` is what makes figures comparable; ``candidates`` describes each by name, with
    the checksum of its model. ``findings`` are those of the preflight. ``agreements`` are by
    candidate, from a recorded video only. ``interrupted`` states that the run ended early, and that
    its figures come from fewer samples.
    """

    level: str
    model: str
    batch: int
    started: str
    seconds: float
    environment: Mapping[str, str]
    candidates: Mapping[str, Mapping[str, str]]
    findings: Sequence[Mapping[str, Any]]
    results: tuple[BenchmarkResult, ...]
    saturations: Mapping[str, Saturation] = field(default_factory=dict)
    agreements: Mapping[str, StreamingAgreement] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    interrupted: bool = False

    def result(self, candidate: str, load: str) -> BenchmarkResult | None:
        """Return the result of a candidate under a load; None if it was not measured."""
        return next(
            (each for each in self.results if (each.candidate, each.load) == (candidate, load)),
            None,
        )


def report_as_json(report: BenchmarkReport) -> dict[str, Any]:
    """Return the report as plain values."""
    return {
        "kind": KIND,
        "version": VERSION,
        **{
            name: getattr(report, name)
            for name in ("level", "model", "batch", "started", "seconds", "interrupted")
        },
        "environment": dict(report.environment),
        "candidates": {name: dict(each) for name, each in report.candidates.items()},
        "preflight": [dict(each) for each in report.findings],
        "results": [_result_as_json(each) for each in report.results],
        "saturation": {name: asdict(each) for name, each in report.saturations.items()},
        "streaming_agreement": {name: asdict(each) for name, each in report.agreements.items()},
        "problems": list(report.problems),
    }


def read_report(file: Path) -> BenchmarkReport:
    """Read a report. Raises ConfigError for a file that is none, or of another version."""
    try:
        content = read_json(file, _MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{file}: expected the JSON report of a benchmark: {error}") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise ConfigError(
            f"{file}: expected the report that `edge-inference benchmark --json FILE` writes, got "
            "other JSON"
        )
    if content.get("version") != VERSION:
        raise ConfigError(
            f"{file}: expected version {VERSION} of the report, got {content.get('version')!r}; "
            "measure again with this version of edge_inference"
        )
    try:
        return _report_from_json(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{file}: the report is damaged: {what}; measure again") from error


def _result_as_json(result: BenchmarkResult) -> dict[str, Any]:
    latency = result.latency
    return {
        "candidate": result.candidate,
        "load": result.load,
        "offered_hz": result.offered_hz,
        "rate_hz": result.rate_hz,
        "frames": result.frames,
        "dropped": result.dropped,
        "drop_share": result.drop_share,
        "seconds": result.seconds,
        "latency_ms": {
            "count": latency.count,
            "mean": latency.mean,
            "min": latency.min,
            **latency.percentiles,
            "max": latency.max,
        },
        "cpu_ms_per_frame": result.cpu_ms_per_frame,
        "memory_mib": result.memory_mib,
        "energy_j_per_frame": result.energy_j_per_frame,
        "sensors": dict(result.sensors),
        "not_measured": {**latency.missing(), **result.not_measured},
        "samples_ms": [round(sample, 4) for sample in result.samples_ms],
    }


def _report_from_json(content: Mapping[str, Any]) -> BenchmarkReport:
    results = content["results"]
    if not isinstance(results, list) or len(results) > _MAX_RESULTS:
        raise ValueError(f"expected a list of at most {_MAX_RESULTS} results")
    return BenchmarkReport(
        level=_text(content["level"]),
        model=_text(content["model"]),
        batch=int(content["batch"]),
        started=_text(content["started"]),
        seconds=_number(content["seconds"]),
        environment=_texts(content["environment"]),
        candidates={_text(name): _texts(each) for name, each in content["candidates"].items()},
        findings=[dict(each) for each in content["preflight"]],
        results=tuple(_result_from_json(each) for each in results),
        saturations={
            _text(name): Saturation(
                _optional(each["rate_hz"]),
                _optional(each["failed_hz"]),
                tuple(
                    RateProbe(
                        _number(probe["rate_hz"]),
                        _number(probe["drop_share"]),
                        _text(probe["problem"]),
                    )
                    for probe in each["probes"]
                ),
                _text(each["limited_by"]),
            )
            for name, each in content["saturation"].items()
        },
        agreements={
            _text(name): StreamingAgreement(
                _optional(each["value"]),
                _optional(each["low"]),
                _optional(each["high"]),
                _text(each["measure"]),
                _text(each["reference"]),
                int(each["frames"]),
                bool(each["is_estimate"]),
            )
            for name, each in content["streaming_agreement"].items()
        },
        problems=tuple(_text(each) for each in content["problems"]),
        interrupted=bool(content["interrupted"]),
    )


def _result_from_json(content: Mapping[str, Any]) -> BenchmarkResult:
    return BenchmarkResult(
        candidate=_text(content["candidate"]),
        load=_text(content["load"]),
        offered_hz=_optional(content["offered_hz"]),
        frames=int(content["frames"]),
        dropped=int(content["dropped"]),
        seconds=_number(content["seconds"]),
        samples_ms=tuple(_number(sample) for sample in content["samples_ms"]),
        cpu_ms_per_frame=_optional(content["cpu_ms_per_frame"]),
        memory_mib=_optional(content["memory_mib"]),
        energy_j_per_frame=_optional(content["energy_j_per_frame"]),
        sensors={_text(name): _number(value) for name, value in content["sensors"].items()},
        not_measured=_texts(content["not_measured"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {value!r}"[:200])
    return value


def _texts(value: Any) -> dict[str, str]:
    return {_text(name): _text(each) for name, each in value.items()}


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ValueError(f"expected a number, got {value!r}"[:200])
    return float(value)


def _optional(value: Any) -> float | None:
    return None if value is None else _number(value)
