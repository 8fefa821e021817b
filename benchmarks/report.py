"""Shared by all benchmarks: arguments, environment, samples, figures and claims.

A benchmark measures both sides in one run and ends in::

    report = Report("hop", argv)
    times = interleave({"ours": ours, "stock": stock}, rounds=200)
    report.samples("hop by reference", times["ours"])
    report.claim("stock / ours", times["stock"].p50 / times["ours"].p50, at_least=100)
    return report.finish()
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_inference.observe.benchmark.benchmark_environment import describe_environment


class Samples:
    """Samples of one duration, given in nanoseconds and reported in milliseconds."""

    def __init__(self, durations_ns: Sequence[int]) -> None:
        """Needs at least one duration."""
        if not durations_ns:
            raise ValueError("no durations: measure at least one round")
        self._ms = np.asarray(durations_ns, dtype=np.float64) / 1e6

    def percentile(self, percent: float) -> float:
        """Return a percentile in milliseconds."""
        return float(np.percentile(self._ms, percent))

    @property
    def p50(self) -> float:
        """Median in milliseconds."""
        return self.percentile(50)

    def summary(self) -> dict[str, float]:
        """Return count, mean, percentiles and extremes, in milliseconds."""
        return {
            "count": len(self._ms),
            "mean": float(self._ms.mean()),
            "min": float(self._ms.min()),
            **{f"p{percent}": self.percentile(percent) for percent in (50, 90, 95, 99)},
            "max": float(self._ms.max()),
        }


def interleave(
    sides: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 5,
    now_ns: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Samples]:
    """Time the sides in turn, A B A B, so that noise of the machine affects all of them equally.

    ``now_ns`` is a monotonic clock. With ``time.thread_time_ns``, for a side that runs only in the
    calling thread, the work of other threads and processes does not count.
    """
    for _ in range(warmup):
        for side in sides.values():
            side()
    durations: dict[str, list[int]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            started = now_ns()
            side()
            durations[name].append(now_ns() - started)
    return {name: Samples(found) for name, found in durations.items()}


@dataclass(frozen=True)
class Claim:
    """A claim: ``value`` compared with ``bound``; ``direction`` is at_least or at_most."""

    what: str
    value: float
    bound: float
    direction: str

    @property
    def holds(self) -> bool:
        """Tell whether the claim holds; it does not for NaN."""
        if self.direction == "at_least":
            return self.value >= self.bound
        return self.value <= self.bound

    def line(self) -> str:
        """Return the line for the end of a run."""
        outcome = "holds" if self.holds else "falls short"
        return f"claim {self.what} value {self.value:.4g} bound {self.bound:.4g} {outcome}"


class Report:
    """Collects one benchmark's figures and claims; ``quick`` requests a short run."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str] | None = None,
        description: str | None = None,
        add_arguments: Callable[[argparse.ArgumentParser], object] | None = None,
    ) -> None:
        """Parse the arguments (``sys.argv`` where None) and print the environment.

        ``add_arguments`` declares a benchmark's own arguments, found in ``arguments``.
        """
        parser = argparse.ArgumentParser(prog=f"benchmarks.{name}", description=description)
        parser.add_argument("--quick", action="store_true", help="fewer rounds, under a minute")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
        if add_arguments:
            add_arguments(parser)
        self.name = name
        self.arguments = parser.parse_args(argv)
        self.quick: bool = self.arguments.quick
        self.environment = describe_environment(())
        self._figures: dict[str, Any] = {}
        self._claims: list[Claim] = []
        print(f"benchmark {name}{' (quick)' if self.quick else ''}")
        for what, value in self.environment.items():
            print(f"  {what}: {value}")
        sys.stdout.flush()

    def figure(self, what: str, value: float | str, unit: str = "") -> None:
        """Print and keep one measured value without a claim."""
        self._figures[what] = {"value": value, "unit": unit}
        shown = value if isinstance(value, str) else f"{value:.4g}"
        print(f"{what}: {shown} {unit}".rstrip(), flush=True)

    def samples(self, what: str, samples: Samples) -> None:
        """Print and keep a distribution of durations."""
        summary = samples.summary()
        self._figures[what] = {"unit": "ms", **summary}
        shown = "  ".join(f"{key} {summary[key]:.3f}" for key in ("p50", "p90", "p99", "max"))
        print(f"{what}: {shown} ms ({summary['count']:.0f} samples)", flush=True)

    def claim(
        self,
        what: str,
        value: float,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Add a claim, which ``finish`` checks; give exactly one of the bounds."""
        if at_least is not None and at_most is None:
            self._claims.append(Claim(what, float(value), float(at_least), "at_least"))
        elif at_most is not None and at_least is None:
            self._claims.append(Claim(what, float(value), float(at_most), "at_most"))
        else:
            raise TypeError(f"claim {what!r}: give exactly one of at_least and at_most")

    def finish(self) -> int:
        """Write the JSON file, print the claims, return 1 where one falls short, else 0."""
        if self.arguments.json:
            self._write(self.arguments.json)
        for claim in self._claims:
            print(claim.line(), flush=True)
        return 0 if all(claim.holds for claim in self._claims) else 1

    def _write(self, path: Path) -> None:
        content = {
            "benchmark": self.name,
            "quick": self.quick,
            "environment": self.environment,
            "figures": self._figures,
            "claims": [{**asdict(claim), "holds": claim.holds} for claim in self._claims],
        }
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
