"""Compares the figures of two benchmarks, or of the candidates of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge_inference.errors import ConfigError
from edge_inference.observe.benchmark.benchmark_environment import find_differences
from edge_inference.observe.benchmark.benchmark_report import (
    BACK_TO_BACK,
    BenchmarkReport,
    BenchmarkResult,
    StreamingAgreement,
)
from edge_inference.observe.benchmark.saturation import SATURATION, Saturation
from edge_inference.observe.statistics.significance import (
    PAIRED_METHOD,
    UNPAIRED_METHOD,
    compare_quantiles,
    compared_samples,
    rank_test,
)

#: A percentile of latencies is compared if both sides have it.
_PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9")


@dataclass(frozen=True)
class FigureChange:
    """One figure on both sides; ``is_lower_better`` is False for rates.

    ``low`` and ``high`` are the 95 % interval of the relative change; None where it cannot be
    tested, and ``note`` then says why. ``is_shown`` states that the figures really differ.
    """

    candidate: str
    load: str
    figure: str
    unit: str
    base: float
    other: float
    is_lower_better: bool = True
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    is_shown: bool = False
    note: str = ""

    @property
    def change(self) -> float | None:
        """The relative change from base to other; None where the base is 0."""
        return None if self.base == 0 else self.other / self.base - 1.0

    @property
    def worsening(self) -> float | None:
        """By which share the figure became worse; negative where it became better."""
        if self.change is None:
            return None
        return self.change if self.is_lower_better else -self.change

    def is_regression(self, tolerance: float) -> bool:
        """Tell whether the figure is shown to be worse, and by more than a share."""
        return self.is_shown and self.worsening is not None and self.worsening > tolerance


@dataclass(frozen=True)
class ReportComparison:
    """``changes`` from ``base`` to ``other``; ``differences`` are those of the environments."""

    base: str
    other: str
    method: str
    changes: tuple[FigureChange, ...]
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def regressions(self, tolerance: float) -> list[FigureChange]:
        """Return the figures that became worse by more than a share."""
        return [each for each in self.changes if each.is_regression(tolerance)]


def compare_reports(
    a: BenchmarkReport, b: BenchmarkReport, names: tuple[str, str], *, allow_different: bool = False
) -> ReportComparison:
    """Compare two runs; ``names`` are those of their files.

    Raises ConfigError for unlike environments unless they are allowed, and where nothing was
    measured in both.
    """
    differences = find_differences(a, b)
    if differences and not allow_different:
        raise ConfigError(
            f"{names[0]} and {names[1]} were not measured alike, so that their figures cannot be "
            f"compared: {'; '.join(differences)}; measure both alike, or give --allow-different"
        )
    changes = []
    for result in a.results:
        other = b.result(result.candidate, result.load)
        if other is not None:
            changes += list(_compare_results(result, other, result.candidate, paired=False))
    for candidate, saturation in a.saturations.items():
        if candidate in b.saturations:
            changes += _compare_saturation(candidate, saturation, b.saturations[candidate])
    for candidate, agreement in a.agreements.items():
        if candidate in b.agreements:
            changes += _compare_agreement(candidate, agreement, b.agreements[candidate])
    if not changes:
        raise ConfigError(
            f"{names[0]} and {names[1]}: expected a candidate with a load that both measured, got "
            f"{_describe_loads(a)} and {_describe_loads(b)}"
        )
    return ReportComparison(
        *names, UNPAIRED_METHOD, tuple(changes), tuple(differences), tuple(_notes(a, b, names))
    )


def compare_candidates(report: BenchmarkReport) -> list[ReportComparison]:
    """Compare every candidate of a run with the first one."""
    names = list(report.candidates)
    comparisons = []
    for name in names[1:]:
        changes: list[FigureChange] = []
        is_paired = True
        for result in report.results:
            other = report.result(name, result.load)
            if result.candidate == names[0] and other is not None:
                paired = _is_paired(result, other)
                is_paired = is_paired and paired
                changes += list(_compare_results(result, other, name, paired=paired))
        if names[0] in report.saturations and name in report.saturations:
            changes += _compare_saturation(
                name, report.saturations[names[0]], report.saturations[name]
            )
        if names[0] in report.agreements and name in report.agreements:
            changes += _compare_agreement(
                name, report.agreements[names[0]], report.agreements[name]
            )
        if changes:
            method = PAIRED_METHOD if is_paired else UNPAIRED_METHOD
            comparisons.append(ReportComparison(names[0], name, method, tuple(changes)))
    return comparisons


def _is_paired(one: BenchmarkResult, two: BenchmarkResult) -> bool:
    """Tell whether sample i of both was measured in the same round."""
    return one.load == BACK_TO_BACK and len(one.samples_ms) == len(two.samples_ms)


def _compare_results(
    one: BenchmarkResult, two: BenchmarkResult, candidate: str, *, paired: bool
) -> Iterator[FigureChange]:
    load = one.load
    p_value = rank_test(one.samples_ms, two.samples_ms, paired=paired)
    tested = {
        each.name: each for each in compare_quantiles(one.samples_ms, two.samples_ms, paired=paired)
    }
    figures, other_figures = one.latency.percentiles, two.latency.percentiles
    for name in _PERCENTILES:
        base, other = figures[name], other_figures[name]
        if base is None or other is None:
            continue
        found = tested.get(name)
        if found is None:
            note = f"not tested: needs {compared_samples(name)} samples on both sides"
            yield FigureChange(candidate, load, name, "ms", base, other, note=note)
        else:
            yield FigureChange(
                candidate,
                load,
                name,
                "ms",
                base,
                other,
                low=found.low,
                high=found.high,
                p_value=p_value if name == "p50" else None,
                is_shown=found.is_shown,
            )
    single = "not tested: one value on each side"
    for figure, unit, is_lower_better in (
        ("rate_hz", "Hz", False),
        ("drop_share", "", True),
        ("cpu_ms_per_frame", "ms", True),
        ("memory_mib", "MiB", True),
        ("energy_j_per_frame", "J", True),
    ):
        base, other = getattr(one, figure), getattr(two, figure)
        if base is not None and other is not None:
            yield FigureChange(
                candidate, load, figure, unit, base, other, is_lower_better, note=single
            )


def _compare_saturation(candidate: str, one: Saturation, two: Saturation) -> list[FigureChange]:
    if one.rate_hz is None or two.rate_hz is None:
        return []
    # Each rate lies between the highest that was sustained and the lowest that was not.
    is_shown = _is_below(one, two) or _is_below(two, one)
    return [
        FigureChange(
            candidate,
            SATURATION,
            "highest_rate_hz",
            "Hz",
            one.rate_hz,
            two.rate_hz,
            is_lower_better=False,
            is_shown=is_shown,
            note="shown where the intervals of the searches do not overlap",
        )
    ]


def _compare_agreement(
    candidate: str, one: StreamingAgreement, two: StreamingAgreement
) -> list[FigureChange]:
    if one.value is None or two.value is None or one.measure != two.measure:
        return []
    return [
        FigureChange(
            candidate,
            "recording",
            "streaming_agreement",
            "",
            one.value,
            two.value,
            is_lower_better=False,
            is_shown=_is_apart(one, two) or _is_apart(two, one),
            note="shown where the 95 % intervals do not overlap",
        )
    ]


def _is_apart(lower: StreamingAgreement, upper: StreamingAgreement) -> bool:
    return lower.high is not None and upper.low is not None and lower.high < upper.low


def _is_below(one: Saturation, two: Saturation) -> bool:
    return one.failed_hz is not None and two.rate_hz is not None and one.failed_hz <= two.rate_hz


def _describe_loads(report: BenchmarkReport) -> str:
    loads = [f"{each.candidate} {each.load}" for each in report.results]
    return ", ".join(loads) or "no result"


def _notes(a: BenchmarkReport, b: BenchmarkReport, names: tuple[str, str]) -> Iterator[str]:
    for report, name in zip((a, b), names, strict=True):
        if report.interrupted:
            yield f"{name}: the run was interrupted, so that there are fewer samples"
    warnings_a, warnings_b = _warnings(a), _warnings(b)
    for name, only in ((names[0], warnings_a - warnings_b), (names[1], warnings_b - warnings_a)):
        if only:
            yield f"only {name} has the warning: {', '.join(sorted(only))}"
    yield (
        "two runs also differ by what changed on the machine between them; candidates of one run "
        "(--against) do not"
    )


def _warnings(report: BenchmarkReport) -> set[str]:
    return {
        f"{each.get('area')}: {each.get('name')}"
        for each in report.findings
        if each.get("level") in ("warning", "problem")
    }
