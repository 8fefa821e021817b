"""What a metric is, with the names that OpenTelemetry and Prometheus give it."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from edge_inference.core.text_line import one_line
from edge_inference.observe.monitor.snapshot import Snapshot

#: The words of Prometheus for units in UCUM notation; an annotation in braces has none.
_UNIT_WORDS = {
    "": "",
    "1": "ratio",
    "A": "amperes",
    "By": "bytes",
    "C": "coulombs",
    "Cel": "celsius",
    "Hz": "hertz",
    "J": "joules",
    "V": "volts",
    "W": "watts",
    "s": "seconds",
}
#: A name of a node, a sensor or a model is shorter; a text from outside may be longer.
_MAX_LABEL_CHARACTERS = 256


class MetricKind(enum.Enum):
    """How the values of a metric behave."""

    GAUGE = "gauge"
    #: Counts from a start on, and falls only when that begins anew.
    COUNTER = "counter"
    #: Quantiles of a window; each point has the label ``quantile``, from 0 to 1.
    SUMMARY = "summary"
    #: Texts, as labels of a point whose value is 1.
    INFO = "info"


class MetricPoint(NamedTuple):
    """One value of a metric; None is unknown."""

    labels: dict[str, str]
    value: float | None


@dataclass(frozen=True)
class ExportedMetric:
    """A metric: ``name`` has dots between its words, ``unit`` is in UCUM notation.

    ``points`` takes its values from a snapshot.
    """

    name: str
    kind: MetricKind
    unit: str
    description: str
    points: Callable[[Snapshot], Iterable[MetricPoint]]

    @property
    def otlp_name(self) -> str:
        """The name by the conventions of OpenTelemetry, where the unit is a field of its own."""
        name = f"edge_inference.{self.name}"
        return f"{name}.info" if self.kind is MetricKind.INFO else name

    @property
    def unit_word(self) -> str:
        """The unit as Prometheus spells it; empty for a number without a unit."""
        return "" if self.unit.startswith("{") else _UNIT_WORDS[self.unit]

    @property
    def prometheus_name(self) -> str:
        """The name by the conventions of Prometheus, without the ending for its kind."""
        name = f"edge_inference.{self.name}".replace(".", "_")
        return f"{name}_{self.unit_word}" if self.unit_word else name

    def measure(self, snapshot: Snapshot) -> list[MetricPoint]:
        """Return the known values; of points with the same labels only the last one."""
        found: dict[tuple[tuple[str, str], ...], MetricPoint] = {}
        for labels, value in self.points(snapshot):
            if value is not None and math.isfinite(value):
                safe = {
                    name: one_line(text, _MAX_LABEL_CHARACTERS) for name, text in labels.items()
                }
                found[tuple(safe.items())] = MetricPoint(safe, value)
        return list(found.values())
