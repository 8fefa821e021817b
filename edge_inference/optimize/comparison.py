"""The results of a comparison of engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_inference.core.measured_costs import Cost, Measurement, Spread
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import SelfCheckReport
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.engines.precision.int8_mode import FAST
from edge_inference.optimize.images.image_set import ImageSet

#: Backend and precision that all others are compared with.
REFERENCE = ("ort", "fp32")
#: Two costs of one machine that differ by more than this factor are clearly different.
_CHANGE_FACTOR = 1.25


@dataclass(frozen=True)
class MeasuredAccuracy:
    """The number of labelled images whose class was named first."""

    correct: int
    total: int

    @property
    def share(self) -> float:
        """Return the share of correct images, 0..1."""
        return self.correct / self.total


@dataclass(frozen=True)
class CompareRow:
    """One engine for the model; a figure that could not be measured is None.

    ``int8_mode`` is None where the machine has only one. ``failure`` says why the engine cannot
    run. ``layers_by_precision`` counts the layers (on the CPU those with weights) by the
    precision that they really compute in; it is empty if the engine does not report it.
    ``precision_in_use`` is the precision of most layers. ``file_bytes`` is the size of the file
    that the engine opens, with the files of weights that it references. ``measured_cost`` is the
    cost that was stored in the cache, with its measurement, ``previous_cost`` the cost that the
    cache had before. ``duration`` is the time of one inference of ``batch`` images in seconds,
    ``is_cpu_time`` tells whether it is the CPU time of the thread, ``energy_j`` the energy of the
    whole machine during one inference in joules.
    """

    backend: str
    precision: str
    failure: str = ""
    engine: str = ""
    precision_in_use: str | None = None
    layers_by_precision: Mapping[str, int] = field(default_factory=dict)
    file_bytes: int | None = None
    check: SelfCheckReport | None = None
    accuracy: MeasuredAccuracy | None = None
    latency: Percentiles | None = None
    measured_cost: tuple[Cost, Measurement] | None = None
    previous_cost: tuple[Cost, Measurement] | None = None
    int8_mode: str | None = None
    batch: int = 1
    duration: Spread | None = None
    is_cpu_time: bool = False
    energy_j: float | None = None

    @property
    def name(self) -> str:
        """Return backend and precision, and a batch above 1; exact int8 is just int8."""
        fast = " fast" if self.int8_mode == FAST else ""
        batch = f", batch {self.batch}" if self.batch > 1 else ""
        return f"{self.backend} {self.precision}{fast}{batch}"

    @property
    def is_reference(self) -> bool:
        """Tell whether this is the row that all others are compared with."""
        return (self.backend, self.precision) == REFERENCE

    @property
    def passed(self) -> bool:
        """Tell whether the engine runs and reaches the model's thresholds.

        The reference needs no evidence that it agrees with itself.
        """
        if self.failure or self.check is None:
            return False
        return self.check.passed or (self.is_reference and not self.check.reasons)

    @property
    def is_unchecked(self) -> bool:
        """Tell whether the engine runs, but nothing of it could be compared."""
        if self.failure or self.check is None or self.is_reference:
            return False
        return not (self.check.is_checked or self.check.reasons)


@dataclass(frozen=True)
class Comparison:
    """All rows, and the settings of the measurement.

    ``problems`` are sentences about costs that could not be read or stored.
    """

    model: ModelDescription
    images: ImageSet
    runs: int
    threads: int
    rows: tuple[CompareRow, ...]
    problems: tuple[str, ...] = ()

    def speedup(self, row: CompareRow) -> float | None:
        """Return the speed of a row over that of the reference, by the median."""
        return _ratio(self.row(*REFERENCE), row)

    def speedup_of_backend(self, row: CompareRow) -> float | None:
        """Return the speed of a row over that of its own backend in fp32, by the median."""
        return _ratio(self.row(row.backend, "fp32"), row)

    def row(self, backend: str, precision: str) -> CompareRow | None:
        """Return the first row of a backend and precision, None if there is none."""
        key = (backend, precision)
        return next((row for row in self.rows if (row.backend, row.precision) == key), None)

    def fastest(self) -> CompareRow | None:
        """Return the fastest row that passes the self-check, by the median; None if none passes."""
        timed = {
            index: row.latency.p50
            for index, row in enumerate(self.rows)
            if row.passed and row.latency is not None and row.latency.p50 is not None
        }
        return self.rows[min(timed, key=lambda index: timed[index])] if timed else None

    def changed_rows(self) -> list[CompareRow]:
        """Return the rows whose cost clearly differs from the cost that the cache had before."""
        return [row for row in self.rows if _has_changed(row)]


def _ratio(base: CompareRow | None, row: CompareRow) -> float | None:
    if base is None or base.latency is None or row.latency is None:
        return None
    if base.latency.p50 is None or not row.latency.p50:
        return None
    return base.latency.p50 / base.batch / (row.latency.p50 / row.batch)


def _has_changed(row: CompareRow) -> bool:
    if row.previous_cost is None or row.measured_cost is None:
        return False
    factor = row.measured_cost[0].seconds / row.previous_cost[0].seconds
    return not 1 / _CHANGE_FACTOR < factor < _CHANGE_FACTOR
