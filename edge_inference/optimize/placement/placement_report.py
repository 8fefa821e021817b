"""What a search for the fastest precision costs, and what it found."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.optimize.placement.precision_candidate import CandidateResult


@dataclass(frozen=True)
class SearchCost:
    """The expected cost of a search: ``seconds`` for about ``candidates``, within ``limit_s``.

    ``known`` of them were measured by an earlier search and cost nothing.
    """

    candidates: int
    known: int
    seconds: float
    limit_s: float

    def summary(self) -> str:
        """Return the cost as one sentence."""
        known = f", {self.known} of them known from an earlier search" if self.known else ""
        return (
            f"about {self.candidates} candidates{known}, {min(self.seconds, self.limit_s):.0f} s "
            f"(at most {self.limit_s:.0f} s)"
        )


@dataclass(frozen=True)
class PlacementReport:
    """All measured candidates and the chosen one, whose model is in ``folder``.

    ``singles`` are the precisions that the whole network may have. The times of the chosen one
    and of these were measured together at the end; those of the others relate to fp32 beside
    them. ``taken_s`` are the seconds of this search, ``reused`` results are of an earlier one.
    ``notes`` say what was left out.
    """

    model: str
    backend: str
    min_agreement: float
    min_sqnr_db: float
    candidates: tuple[CandidateResult, ...]
    singles: tuple[CandidateResult, ...]
    chosen: CandidateResult
    cost: SearchCost
    taken_s: float
    reused: int
    folder: Path
    notes: tuple[str, ...] = ()

    @property
    def best_single(self) -> CandidateResult:
        """Return the fastest single precision that keeps the floors; fp32 always does."""
        kept = [result for result in self.singles if result.keeps_floors]
        return min(kept, key=lambda result: result.relative_time or 0.0)

    @property
    def speedup(self) -> float:
        """Return how many times faster than fp32 the chosen candidate is."""
        assert self.chosen.relative_time is not None
        return 1.0 / self.chosen.relative_time

    def summary(self) -> str:
        """Return the outcome in a few sentences."""
        chosen, best = self.chosen, self.best_single
        text = f"{self.model} on {self.backend}: {chosen.candidate.name}"
        if chosen.candidate.precision != "fp32":
            text += f", {self.speedup:.2f} times as fast as fp32"
        if chosen.agreement is not None:
            text += f", agreement {chosen.agreement:.1%}"
        if chosen.sqnr_db is not None and chosen.sqnr_db != float("inf"):
            text += f", SQNR {chosen.sqnr_db:.1f} dB"
        if chosen.candidate.key != best.candidate.key:
            assert best.relative_time is not None
            gain = best.relative_time * self.speedup
            text += (
                f"; {gain:.2f} times as fast as the best single precision, {best.candidate.name}"
            )
        elif chosen.candidate.precision == "fp32":
            text += "; nothing that keeps the floors is faster"
        measured = len(self.candidates)
        text += f". {measured} candidates in {self.taken_s:.0f} s, {self.reused} known before."
        return f"{text} Serve {self.folder} with precision {chosen.candidate.precision}."

    def to_json(self) -> dict[str, Any]:
        """Return the report for ``--json``."""
        return {
            "model": self.model,
            "backend": self.backend,
            "floors": {"agreement": self.min_agreement, "sqnr_db": self.min_sqnr_db},
            "chosen": self.chosen.to_json(),
            "precision": self.chosen.candidate.precision,
            "speedup": self.speedup,
            "best_single": self.best_single.to_json(),
            "singles": [result.to_json() for result in self.singles],
            "candidates": [result.to_json() for result in self.candidates],
            "cost": dataclasses.asdict(self.cost),
            "taken_s": self.taken_s,
            "reused": self.reused,
            "folder": str(self.folder),
            "notes": list(self.notes),
        }
