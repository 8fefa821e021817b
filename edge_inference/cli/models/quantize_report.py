"""What quantising came to: closeness to fp32 and speed, in one table."""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.images.frame import Frame
from edge_inference.core.models.agreement import ResultAgreement
from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.golden_check import run_golden_check
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import SelfCheckReport, run_self_check, self_check_images
from edge_inference.errors import BackendError

_PIPE_WIDTH = 120

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class QuantizeRow:
    """One set of images: how close, and milliseconds (median) of an inference on one thread."""

    images: str
    report: SelfCheckReport
    fp32_ms: float
    candidate_ms: float


@dataclass(frozen=True)
class QuantizeResult:
    """``reasons`` say what is not good enough; ``steps`` what was done, for people."""

    precision: str
    rows: tuple[QuantizeRow, ...]
    wanted: SelfCheckThresholds
    golden: str
    reasons: tuple[str, ...]
    steps: tuple[str, ...] = ()

    def why(self) -> str:
        """Say the first of the reasons, and how many more there are."""
        more = len(self.reasons) - 1
        return self.reasons[0] + (f" (and {more} more such)" if more else "")

    @property
    def passed(self) -> bool:
        """Tell whether it is close enough to fp32 to be used."""
        return not self.reasons

    def with_steps(self, steps: Sequence[str]) -> QuantizeResult:
        """Return a copy that tells what was done."""
        return dataclasses.replace(self, steps=tuple(steps))


class _Timed:
    """An engine that notes how long each inference takes, and hears when to end."""

    def __init__(self, engine: Backend, then: Callable[[], None]) -> None:
        self._engine = engine
        self._then = then
        self.milliseconds: list[float] = []

    def __call__(self, inputs: Tensors) -> Tensors:
        began = time.perf_counter()
        outputs = self._engine.infer(inputs)
        self.milliseconds.append((time.perf_counter() - began) * 1e3)
        self._then()
        return outputs


def compare(
    model: ModelDescription,
    precision: str,
    candidate_file: Path,
    held_out: Sequence[Frame],
    progress: Callable[[float], None],
    cancelled: Callable[[], bool],
) -> QuantizeResult:
    """Run ONNX Runtime in fp32 and on the candidate, image by image, and compare.

    The golden images have to pass as they do whenever the model is loaded. Of the
    held out ones there may be few, so the share of results that agree is that of all
    images together.
    """
    sets = {"golden": self_check_images(model), "held out": list(held_out)}
    demands = {
        "golden": model.self_check,
        "held out": dataclasses.replace(model.self_check, agreement=0.0),
    }
    total = sum(len(images) for images in sets.values())
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress(min(done / total, 1.0))
        if cancelled():
            raise BackendError(f"model {model.name}: the comparison was cancelled")

    rows = []
    with (
        OrtBackend(model.variants["fp32"].file, precision="fp32") as fp32,
        OrtBackend(candidate_file, precision=precision) as candidate,
    ):
        for name, images in sets.items():
            if images:
                reference = _Timed(fp32, lambda: None)
                timed = _Timed(candidate, count)
                report = run_self_check(model, reference, timed, images, demands[name])
                rows.append(
                    QuantizeRow(
                        name,
                        report,
                        statistics.median(reference.milliseconds),
                        statistics.median(timed.milliseconds),
                    )
                )
        golden = run_golden_check(model, candidate.infer)
    reasons = [f"{row.images} images: {text}" for row in rows for text in row.report.reasons]
    if not reasons:
        reasons += _disagreement(rows, model.self_check)
    if not golden.passed:
        reasons.append(golden.summary())
    return QuantizeResult(
        precision, tuple(rows), model.self_check, golden.summary(), tuple(reasons)
    )


def _disagreement(rows: Sequence[QuantizeRow], wanted: SelfCheckThresholds) -> list[str]:
    found = [row.report.results for row in rows if row.report.results is not None]
    together = sum(found, start=ResultAgreement(0, 0))
    if together.share >= wanted.agreement:
        return []
    return [
        f"all images: {together.share:.1%} of the results agree, "
        f"at least {wanted.agreement:.1%} is needed"
    ]


def print_outcome(outcome: QuantizeResult, folder: Path | None, as_json: bool) -> None:
    """Show what came out; ``folder`` is where it is kept, None where it is not."""
    if as_json:
        sys.stdout.write(json.dumps({"summary": _as_json(outcome, folder)}) + "\n")
        return
    for step in outcome.steps:
        sys.stdout.write(f"{step}\n")
    _print_table(outcome)
    sys.stdout.write(f"{outcome.golden}\n")
    if folder is not None:
        sys.stdout.write(f"model folder: {folder}\n")


def _print_table(outcome: QuantizeResult) -> None:
    from rich.console import Console

    from edge_inference.cli.perception.summary_table import new_table

    is_terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if is_terminal else _PIPE_WIDTH)
    table = new_table(
        f"{outcome.precision} against fp32",
        "agreement",
        "cosine",
        "SQNR dB",
        "fp32 ms",
        f"{outcome.precision} ms",
        "faster",
    )
    for row in outcome.rows:
        table.add_row(
            f"{row.images}, {row.report.images}",
            *_closeness(row.report),
            f"{row.fp32_ms:.1f}",
            f"{row.candidate_ms:.1f}",
            f"{row.fp32_ms / row.candidate_ms:.2f} x",
        )
    wanted = outcome.wanted
    table.add_section()
    table.add_row(
        "needed", f"{wanted.agreement:.1%}", f"{wanted.cosine:.3f}", f"{wanted.sqnr_db:.1f}"
    )
    console.print(table)


def _closeness(report: SelfCheckReport) -> tuple[str, str, str]:
    if report.results is None or report.outputs is None:
        return "", "", ""
    return (
        f"{report.results.share:.1%}",
        f"{report.outputs.cosine:.4f}",
        f"{report.outputs.sqnr_db:.1f}",
    )


def _as_json(outcome: QuantizeResult, folder: Path | None) -> dict[str, Any]:
    return {
        "precision": outcome.precision,
        "passed": outcome.passed,
        "reasons": list(outcome.reasons),
        "folder": None if folder is None else str(folder),
        "checks": [
            {
                "images": row.images,
                "count": row.report.images,
                **row.report.figures(),
                "fp32_ms": round(row.fp32_ms, 3),
                f"{outcome.precision}_ms": round(row.candidate_ms, 3),
            }
            for row in outcome.rows
        ],
        "golden_check": outcome.golden,
        "steps": list(outcome.steps),
    }
