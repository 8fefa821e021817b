"""The options of ``benchmark``, and what contradicts each other in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.perception.run_options import check_int8_mode
from edge_inference.cli.perception.source import SourceKind, source_kind
from edge_inference.core.bounded_file import is_regular_file
from edge_inference.core.disk import check_output_file
from edge_inference.errors import ConfigError
from edge_inference.observe.benchmark.benchmark_report import ENGINE, PIPELINE

DEFAULT_SECONDS = 10.0
_PIPELINES = ("perception",)


@dataclass(frozen=True)
class BenchmarkOptions:
    """The options of a measurement; ``against`` are further backends and precisions.

    ``rates`` are in frames per second. ``pipeline`` is empty for the engine alone.
    """

    model: str
    model_path: str = ""
    backend: str = "auto"
    precision: str = "auto"
    int8_mode: str | None = None
    against: tuple[tuple[str, str], ...] = ()
    batch: int = 1
    threads: int = 1
    gpu: int = 0
    source: str | None = None
    pipeline: str = ""
    rates: tuple[float, ...] = ()
    saturation: bool = False
    seconds: float = DEFAULT_SECONDS
    no_agreement: bool = False
    timeout_s: int = 0
    json: str | None = None
    html: str | None = None
    r2b: str | None = None
    verbose: bool = False

    @property
    def level(self) -> str:
        """Return what is measured: the engine alone, or a whole pipeline."""
        return PIPELINE if self.pipeline else ENGINE

    @property
    def engines(self) -> tuple[tuple[str, str], ...]:
        """Return backend and precision of each candidate, the first one first."""
        return ((self.backend, self.precision), *self.against)

    @property
    def least_s(self) -> float:
        """Return the least time of the whole run, in seconds; preparations come on top."""
        loads = max(len(self.rates) + self.saturation + (not self.pipeline), 1)
        return self.seconds * len(self.engines) * loads

    def check(self) -> None:
        """Raise UsageError for options that contradict each other, or have no effect."""
        if self.int8_mode is not None and all(name != "int8" for _, name in self.engines):
            check_int8_mode(self.int8_mode, self.precision)
        for index, engine in enumerate(self.engines):
            if engine in self.engines[:index]:
                raise UsageError(
                    f"--against {':'.join(engine)}: expected another engine than the one before"
                )
        if self.pipeline and self.pipeline not in _PIPELINES:
            raise UsageError(
                f"--pipeline {self.pipeline}: expected {' or '.join(_PIPELINES)}, which takes "
                "images at a rate"
            )
        if self.pipeline and self.batch != 1:
            raise UsageError(
                f"--batch {self.batch}: a pipeline chooses its batches itself; omit --pipeline to "
                "measure the engine alone"
            )
        if self.pipeline and self.source is None:
            raise UsageError("--pipeline needs --source: a video, a folder of images, or sample")
        if self.source is not None and source_kind(self.source) is not SourceKind.FILES:
            raise UsageError(
                f"--source {self.source}: expected a video, images or sample, which can be offered "
                "at any rate and again later; a camera or a topic can not"
            )
        if self.timeout_s and self.least_s > self.timeout_s:
            raise UsageError(
                f"--seconds {self.seconds:g}: this takes at least {self.least_s:.0f} s, and the "
                f"command ends after --timeout-s {self.timeout_s}; raise that, or 0 for no limit"
            )
        check_reports({"--json": self.json, "--html": self.html, "--r2b": self.r2b})


def check_reports(reports: Mapping[str, str | None], inputs: Sequence[str] = ()) -> None:
    """Raise UsageError if a report could not be written later, before anything is measured.

    ``reports`` are files by option, None for one that is not wanted. Each is a file of its own, and
    none of ``inputs``.
    """
    taken = {Path(name).resolve(): name for name in inputs}
    for flag, name in reports.items():
        if name is None:
            continue
        file = Path(name)
        try:
            check_output_file(file, flag)
        except ConfigError as error:
            raise UsageError(str(error)) from error
        # Devices take anything.
        other = taken.get(file.resolve()) if is_regular_file(file) or not file.exists() else None
        if other is not None:
            raise UsageError(f"{flag} {name}: expected a file of its own, got that of {other}")
        taken[file.resolve()] = flag
