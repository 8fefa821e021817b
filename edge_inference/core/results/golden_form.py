"""How a kind of result is expected in the golden images of ``model.yaml``, and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from edge_inference.core.results.result import AnyResult
from edge_inference.core.settings import setting


@dataclass(frozen=True)
class Tolerance:
    """How far a result may differ from the expected one and still pass."""

    iou: float = setting(0.8, "minimum overlap of boxes", minimum=0.0, maximum=1.0)
    score: float = setting(
        0.1, "maximum difference of a score, probability or share", minimum=0.0, maximum=1.0
    )
    extra: float = setting(
        0.6, "minimum score of an unlisted object that fails the check", minimum=0.0, maximum=1.0
    )


@dataclass
class GoldenComparison:
    """The differences between the result on one golden image and the expected one.

    Any of ``reasons`` fails the check. ``ious`` and ``score_differences`` are figures for the
    summary; a kind without such a figure leaves them empty.
    """

    reasons: list[str] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    score_differences: list[float] = field(default_factory=list)

    def compare_scores(self, label: str, expected: float, actual: float, tolerance: float) -> None:
        """Record a difference of scores; one above ``tolerance`` fails."""
        difference = abs(expected - actual)
        self.score_differences.append(difference)
        if not difference <= tolerance:  # also for NaN
            self.reasons.append(f"{label} is {actual:.2f}, expected {expected:.2f} ± {tolerance:g}")


@dataclass(frozen=True)
class GoldenForm(Generic[AnyResult]):
    """The expected entries of one golden image, and their comparison with a result.

    ``key`` is the list of entries in ``model.yaml``, ``expected_class`` the settings class of one
    entry; if it has a field ``label``, that must be a label of the model. ``tolerance_class`` is
    the settings class of the tolerances, which stand beside ``key``. ``compare`` gets the entries,
    the result and the tolerances. With ``may_be_empty``, an image without entries is a check too:
    the model must find nothing.
    """

    key: str
    expected_class: type[Any]
    compare: Callable[[Sequence[Any], AnyResult, Any], GoldenComparison]
    may_be_empty: bool = False
    tolerance_class: type[Any] = Tolerance
