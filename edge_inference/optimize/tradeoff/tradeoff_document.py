"""A trade-off as a JSON file of one format version, with a checksum and the machine's identity.

::

    {"format": 1, "checksum": sha256 over the rest, "content": the fields of Tradeoff.to_json()}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.core.bounded_file import read_json
from edge_inference.core.measured_costs import MINIMUM_RUNS, Spread
from edge_inference.core.models.variants import PRECISIONS
from edge_inference.core.settings import rules, setting
from edge_inference.engines.cache.cache_entry import canonical
from edge_inference.engines.precision.int8_mode import INT8_MODES
from edge_inference.engines.precision.onnx_file import write_atomically
from edge_inference.errors import ConfigError
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.tradeoff.tradeoff_point import (
    ACCURACY_KINDS,
    Tradeoff,
    TradeoffPoint,
)

FORMAT = 1

_MAX_FILE_BYTES = 8 << 20
_MAX_POINTS = 5000
_MAX_ENTRIES = 1000
_MAX_SIZE = 16384
_MAX_COUNT = 10**9


def _seconds() -> Any:
    return setting(minimum=1e-9, maximum=1e5, unit="s")


@dataclass(frozen=True)
class _PointRow:
    """One point in the document."""

    model: str = setting(max_length=300)
    backend: str = setting(max_length=100)
    precision: str = setting(choices=PRECISIONS)
    int8_mode: str = setting(choices=INT8_MODES)
    batch: int = setting(minimum=1, maximum=65536)
    width: int = setting(minimum=1, maximum=_MAX_SIZE)
    height: int = setting(minimum=1, maximum=_MAX_SIZE)
    correct: int = setting(minimum=0, maximum=_MAX_COUNT)
    total: int = setting(minimum=1, maximum=_MAX_COUNT)
    median_s: float = _seconds()
    p95_s: float = _seconds()
    is_cpu_time: bool = setting()
    file_bytes: int = setting(minimum=0)
    sparsity: float = setting(minimum=0.0, maximum=1.0)
    energy_j: float = setting(minimum=0.0, maximum=1e6, unit="J")
    problem: str = setting(max_length=4096)


@dataclass(frozen=True)
class _HeadRow:
    """What the document has besides texts and points."""

    accuracy_kind: str = setting(choices=ACCURACY_KINDS)
    runs: int = setting(minimum=MINIMUM_RUNS, maximum=_MAX_COUNT)
    threads: int = setting(minimum=1, maximum=4096)
    taken_s: float = setting(unit="s")


_POINT = rules(_PointRow)
_HEAD = rules(_HeadRow)
_OPTIONAL = {
    "int8_mode", "correct", "total", "median_s", "p95_s", "file_bytes", "sparsity", "energy_j",
}  # fmt: skip
_TEXTS = ("images", "machine")


def save_tradeoff(tradeoff: Tradeoff, file: Path) -> None:
    """Write a trade-off; the file appears as a whole. Raises ModelError if it cannot."""
    content = tradeoff.to_json()
    document = {"format": FORMAT, "checksum": _checksum(content), "content": content}
    write_atomically(file, json.dumps(document, allow_nan=False, indent=1).encode() + b"\n")


def load_tradeoff(file: Path, machine: Mapping[str, str] | None = None) -> Tradeoff:
    """Read a trade-off that :func:`save_tradeoff` wrote.

    ``machine`` is this machine: a trade-off of another one is refused, since other machines need
    other times; None takes that of any machine. Raises ConfigError for a file that cannot be read,
    has another format, was altered, or holds an impossible value.
    """
    try:
        document = read_json(file, _MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{file}: expected a saved trade-off as JSON: {error}") from error
    measure = "measure it again with edge-inference optimize tradeoff --save"
    version = document.get("format") if isinstance(document, dict) else None
    if version != FORMAT:
        raise ConfigError(
            f"{file}: expected a trade-off of format {FORMAT}, got {version!r:.40}; {measure}"
        )
    content = document.get("content")
    try:
        checksum = _checksum(content)
    except RecursionError as error:
        raise ConfigError(f"{file}: nested too deep to be read; {measure}") from error
    if document.get("checksum") != checksum:
        raise ConfigError(f"{file}: the trade-off was altered or cut off; {measure}")
    try:
        tradeoff = _read(content)
    except ConfigError as error:
        raise ConfigError(f"{file}: not a valid trade-off: {error}; {measure}") from error
    if machine is not None and dict(tradeoff.machine) != dict(machine):
        names = sorted({*machine, *tradeoff.machine})
        other = [name for name in names if machine.get(name) != tradeoff.machine.get(name)]
        raise ConfigError(
            f"{file}: the times are those of another machine, with another {', '.join(other)}; "
            f"{measure} here, or use them all the same with --any-machine"
        )
    return tradeoff


def _read(content: Any) -> Tradeoff:
    names = {*_HEAD, *_TEXTS, "problems", "points"}
    if not isinstance(content, dict) or set(content) != names:
        raise ConfigError(f"expected {', '.join(sorted(names))}")
    head = {name: rule.convert(content[name]) for name, rule in _HEAD.items()}
    texts = {name: _text_map(name, content[name]) for name in _TEXTS}
    problems = _list("problems", content["problems"], _MAX_ENTRIES)
    points = tuple(_point(row) for row in _list("points", content["points"], _MAX_POINTS))
    found = [point.name for point in points]
    if len({*found}) != len(found):
        raise ConfigError("points: two have the same name")
    return Tradeoff(
        points=points,
        images=texts["images"],
        machine=texts["machine"],
        problems=tuple(_text("problems", each) for each in problems),
        **head,
    )


def _point(row: Any) -> TradeoffPoint:
    if not isinstance(row, dict) or set(row) != set(_POINT):
        raise ConfigError(f"a point: expected {', '.join(_POINT)}")
    values: dict[str, Any] = {
        name: None if name in _OPTIONAL and row[name] is None else rule.convert(row[name])
        for name, rule in _POINT.items()
    }
    correct, total = values.pop("correct"), values.pop("total")
    median_s, p95_s = values.pop("median_s"), values.pop("p95_s")
    if (correct is None) != (total is None) or (total is not None and correct > total):
        raise ConfigError(f"correct: expected a count of at most {total}, got {correct}")
    if (median_s is None) != (p95_s is None):
        raise ConfigError("median_s and p95_s: expected both or none")
    return TradeoffPoint(
        accuracy=None if total is None else MeasuredAccuracy(correct, total),
        latency=None if median_s is None else Spread(median_s, p95_s),
        **values,
    )


def _text_map(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > _MAX_ENTRIES:
        raise ConfigError(f"{name}: expected texts by name")
    return {_text(name, key): _text(name, each) for key, each in value.items()}


def _list(name: str, value: Any, maximum: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > maximum:
        raise ConfigError(f"{name}: expected a list of at most {maximum}")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name}: expected a text, got {value!r:.40}")
    return value


def _checksum(content: Any) -> str:
    return hashlib.sha256(canonical([FORMAT, content]).encode()).hexdigest()
