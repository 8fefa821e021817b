"""``edge-inference benchmark``: preflight, measurement, and the reports."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge_inference.cli.benchmark.agreement_run import is_video, score_candidates
from edge_inference.cli.benchmark.benchmark_format import print_comparisons, print_report
from edge_inference.cli.benchmark.benchmark_options import BenchmarkOptions
from edge_inference.cli.benchmark.engine_level import LevelResults, measure_engines
from edge_inference.cli.benchmark.html_report import format_html
from edge_inference.cli.benchmark.r2b_report import format_r2b
from edge_inference.cli.doctor.doctor_format import describe_counts, finding_as_json
from edge_inference.cli.doctor.examine_machine import preflight
from edge_inference.cli.doctor.platform_checks import find_power, open_sensors
from edge_inference.cli.exit_status import EXIT_FAILED, print_error
from edge_inference.cli.perception.run_options import search_path
from edge_inference.cli.progress import show_progress
from edge_inference.cli.signals import Interrupt, cancel_on_signal
from edge_inference.core.disk import describe_write_error
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.errors import ConfigError, EdgeInferenceError
from edge_inference.observe.benchmark.benchmark_environment import describe_environment
from edge_inference.observe.benchmark.benchmark_report import BenchmarkReport, report_as_json
from edge_inference.observe.benchmark.report_comparison import ReportComparison, compare_candidates
from edge_inference.observe.benchmark.resource_meter import POWER, ResourceMeter, Sense
from edge_inference.observe.doctor.finding import Finding, FindingLevel
from edge_inference.platforms.platform import Platform


def run_benchmark(options: BenchmarkOptions) -> int:
    """Measure and report; return 0, 1 if a candidate failed, or that of an interruption.

    Raises EdgeInferenceError where nothing can be measured.
    """
    options.check()
    model = find_model(options.model, search_path(options.model_path))
    findings = preflight()
    _print_preflight(findings)
    started = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    with (
        cancel_on_signal() as cancelled,
        show_progress(f"benchmark of {model.name}", sys.stderr) as progress,
        ExitStack() as stack,
    ):
        meter = ResourceMeter(make_sense(stack))
        measured = _measure(options, model, meter, cancelled, progress)
        if is_video(options) and not cancelled():
            score_candidates(options, model, measured, cancelled, progress)
    report = BenchmarkReport(
        level=options.level,
        model=model.name,
        batch=options.batch,
        started=started,
        seconds=options.seconds,
        environment={**describe_environment(map(finding_as_json, findings)), **measured.source},
        candidates=measured.candidates,
        findings=[finding_as_json(finding) for finding in findings],
        results=tuple(measured.results),
        saturations=measured.saturations,
        agreements=measured.agreements,
        problems=tuple(measured.problems),
        interrupted=cancelled.is_set(),
    )
    comparisons = compare_candidates(report)
    print_report(report, sys.stdout)
    print_comparisons(comparisons, sys.stdout)
    _write_files(report, comparisons, options)
    if report.interrupted:
        return cancelled.exit_code
    return EXIT_FAILED if report.problems or not report.results else 0


def _measure(
    options: BenchmarkOptions,
    model: ModelDescription,
    meter: ResourceMeter,
    cancelled: Interrupt,
    progress: Any,
) -> LevelResults:
    if not options.pipeline:
        return measure_engines(options, model, meter, cancelled, progress)
    from edge_inference.cli.benchmark.pipeline_level import measure_pipeline

    return measure_pipeline(options, model, meter, cancelled, progress)


def make_sense(stack: ExitStack) -> Sense | None:
    """Return what the sensors show, for the meter; None where they cannot be opened."""
    try:
        platform = stack.enter_context(open_sensors())
    except EdgeInferenceError as error:
        print_error(f"sensors: {error}")
        return None
    platform.sense(time.monotonic_ns())  # a load needs two samples
    return lambda: _values_of(platform)


def _values_of(platform: Platform) -> Mapping[str, float]:
    state = platform.sense(time.monotonic_ns())
    values = {each.name: each.value for each in state.readings if each.value is not None}
    power = find_power(state)
    if power is not None and power.value is not None:
        values[POWER] = power.value
    return values


def _print_preflight(findings: list[Finding]) -> None:
    """Print what spoils figures on stderr; the report has all findings."""
    print(f"preflight: {describe_counts(findings)}", file=sys.stderr)
    for finding in findings:
        if finding.level in (FindingLevel.WARNING, FindingLevel.PROBLEM):
            print(
                f"  {finding.level.value}: {finding.area}: {finding.name}: {finding.value}; "
                f"{finding.reason}",
                file=sys.stderr,
            )


def _write_files(
    report: BenchmarkReport, comparisons: Sequence[ReportComparison], options: BenchmarkOptions
) -> None:
    if options.json is not None:
        _write(options.json, json.dumps(report_as_json(report), allow_nan=False) + "\n")
    if options.html is not None:
        _write(options.html, format_html(report, comparisons))
    if options.r2b is not None:
        _write(options.r2b, json.dumps(format_r2b(report, options), allow_nan=False) + "\n")


def _write(name: str, text: str) -> None:
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{name}: cannot be written: {describe_write_error(error)}") from error
