"""Measured costs as JSON of one format version, with a checksum.

::

    {"format": 2, "checksum": sha256 over the rest, "content": {
        "machine": {"cpu": …, "instructions": …, "onnxruntime": …},
        "measurements": [                     the oldest first
            {"by": "compare", "taken_s": seconds since the epoch,
             "costs": [                       timed interleaved
                {"model", "precision", "backend", "artifact", "batch", "execution":
                     the fields of EngineConfiguration,
                 "runs": the number of timed runs,
                 "wall_median_s", "wall_p95_s": seconds of one run,
                 "cpu_median_s", "cpu_p95_s": its CPU time, null where it has no meaning}]}]}}
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_inference.core.bounded_file import parse_json
from edge_inference.core.engine_configuration import EngineConfiguration
from edge_inference.core.measured_costs import (
    MINIMUM_RUNS,
    Cost,
    MeasuredCosts,
    Measurement,
    Spread,
)
from edge_inference.core.models.variants import PRECISIONS
from edge_inference.core.settings import rules, setting
from edge_inference.engines.cache.cache_entry import canonical
from edge_inference.errors import CacheError, ConfigError

FORMAT = 2

_MIN_S = 1e-9
_MAX_S = 1e5
_MAX_TEXT = 300
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _seconds() -> Any:
    return setting(minimum=_MIN_S, maximum=_MAX_S, unit="s")


@dataclass(frozen=True)
class _Row:
    """One cost in the document."""

    model: str = setting()
    precision: str = setting(choices=PRECISIONS)
    backend: str = setting()
    artifact: str = setting()
    batch: int = setting(minimum=1, maximum=65536)
    execution: str = setting()
    runs: int = setting(minimum=MINIMUM_RUNS)
    wall_median_s: float = _seconds()
    wall_p95_s: float = _seconds()
    cpu_median_s: float = _seconds()
    cpu_p95_s: float = _seconds()


_ROW = rules(_Row)
_OPTIONAL = ("cpu_median_s", "cpu_p95_s")
_CONFIGURATION = tuple(field.name for field in dataclasses.fields(EngineConfiguration))
_MEASUREMENT_FIELDS = ("by", "costs", "taken_s")


def write(costs: MeasuredCosts, machine: Mapping[str, str]) -> str:
    """Return the document that :func:`read` reads."""
    content = {
        "machine": dict(machine),
        "measurements": [
            {
                "by": measurement.by,
                "taken_s": measurement.taken_s,
                "costs": [_row(cost) for cost in measurement.costs],
            }
            for measurement in costs.measurements
        ],
    }
    document = {"format": FORMAT, "checksum": _checksum(content), "content": content}
    return json.dumps(document, allow_nan=False, indent=1) + "\n"


def read(text: str, machine: Mapping[str, str]) -> MeasuredCosts:
    """Return the costs in a document.

    Raises CacheError where the document has another format, was altered, comes from another
    ``machine``, or holds an impossible value.
    """
    try:
        document = parse_json(text)
    except ValueError as error:
        raise CacheError("expected JSON, got another text") from error
    version = document.get("format") if isinstance(document, dict) else None
    if version != FORMAT:
        raise CacheError(f"expected measured costs of format {FORMAT}, got {version}")
    content = document.get("content")
    found = _checksum(content)
    if document.get("checksum") != found:
        raise CacheError(
            f"the costs were altered: expected checksum {document.get('checksum')}, got {found}"
        )
    if not isinstance(content, dict) or content.get("machine") != dict(machine):
        raise CacheError("the costs were measured on another machine")
    try:
        return MeasuredCosts(tuple(_measurement(each) for each in _list(content, "measurements")))
    except ConfigError as error:
        raise CacheError(f"not a valid measurement: {error}") from error


def _row(cost: Cost) -> dict[str, Any]:
    return {
        **dataclasses.asdict(cost.configuration),
        "runs": cost.runs,
        "wall_median_s": cost.wall.median_s,
        "wall_p95_s": cost.wall.p95_s,
        "cpu_median_s": None if cost.cpu is None else cost.cpu.median_s,
        "cpu_p95_s": None if cost.cpu is None else cost.cpu.p95_s,
    }


def _measurement(entry: Any) -> Measurement:
    if not isinstance(entry, dict) or sorted(entry) != list(_MEASUREMENT_FIELDS):
        raise ConfigError(f"a measurement: expected {', '.join(_MEASUREMENT_FIELDS)}")
    taken_s = entry["taken_s"]
    if type(taken_s) not in (int, float):
        raise ConfigError(f"taken_s: expected seconds since the epoch, got {taken_s!r}")
    costs = tuple(_cost(row) for row in _list(entry, "costs"))
    return Measurement(_text("by", entry["by"]), float(taken_s), costs)


def _cost(row: Any) -> Cost:
    if not isinstance(row, dict) or set(row) != set(_ROW):
        raise ConfigError(f"a cost: expected {', '.join(_ROW)}")
    values: dict[str, Any] = {
        name: None if name in _OPTIONAL and row[name] is None else rule.convert(row[name])
        for name, rule in _ROW.items()
    }
    for name, value in values.items():
        if isinstance(value, str):
            _text(name, value)
    if not _DIGEST.fullmatch(values["artifact"]):
        raise ConfigError(f"artifact: expected a sha256, got {values['artifact']!r}")
    wall = Spread(values["wall_median_s"], values["wall_p95_s"])
    cpu = None
    if None not in (values["cpu_median_s"], values["cpu_p95_s"]):
        cpu = Spread(values["cpu_median_s"], values["cpu_p95_s"])
    configuration = EngineConfiguration(**{name: values[name] for name in _CONFIGURATION})
    return Cost(configuration, values["runs"], wall, cpu)


def _list(entry: Mapping[str, Any], name: str) -> list[Any]:
    value = entry.get(name)
    if not isinstance(value, list):
        raise ConfigError(f"{name}: expected a list, got {value!r:.40}")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ConfigError(f"{name}: expected a text of at most {_MAX_TEXT} characters")
    return value


def _checksum(content: Any) -> str:
    return hashlib.sha256(canonical([FORMAT, content]).encode()).hexdigest()
