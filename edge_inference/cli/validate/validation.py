"""``edge-inference validate``: measures the targets of a file and prints the verdicts."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from edge_inference.cli.exit_status import UsageError, print_error
from edge_inference.cli.progress import show_progress
from edge_inference.cli.signals import Interrupt, catch_signals
from edge_inference.cli.validate.live_run import observe_live
from edge_inference.cli.validate.scenario_runs import RunOutcome, group_by_run, run_scenarios
from edge_inference.cli.validate.verdict_table import print_verdicts
from edge_inference.composition.pipeline import load_pipeline, share_folder
from edge_inference.core.disk import check_output_file, describe_write_error
from edge_inference.errors import ConfigError
from edge_inference.observe.targets.target_file import (
    Scenario,
    TargetFile,
    find_targets,
    load_targets,
)
from edge_inference.observe.targets.target_report import judgments_as_json, to_junit
from edge_inference.observe.targets.verdict import Judgment, exit_code, judge


@dataclass(frozen=True)
class ValidateOptions:
    """Options of the command; an empty text or None keeps what the file says."""

    targets: str
    pipeline: str = ""
    source: str = ""
    seconds: float | None = None
    scenario: tuple[str, ...] = ()
    live: bool = False
    namespace: str = ""
    json: bool = False
    junit: str = ""

    def check(self) -> None:
        """Raise UsageError for options that exclude each other, or a report without a place."""
        if self.live and (self.pipeline or self.source):
            name = "--pipeline" if self.pipeline else "--source"
            raise UsageError(f"{name}: --live judges the pipeline that runs; leave one of them out")
        if self.namespace and not self.live:
            raise UsageError("--namespace is for --live; a pipeline run here chooses its own")
        if self.junit:
            try:
                check_output_file(Path(self.junit), "--junit")
            except ConfigError as error:
                raise UsageError(str(error)) from error


def validate(options: ValidateOptions) -> int:
    """Run the command and return its exit code.

    0: all required targets passed. 1: one failed. 3: none failed, but one is inconclusive or not
    measured. Raises UsageError for invalid options or an invalid file.
    """
    options.check()
    try:
        file = load_targets(find_targets(options.targets, share_folder()))
        scenarios = file.choose(options.scenario)
    except ConfigError as error:
        # Exit code 1 says that a target has failed.
        raise UsageError(str(error)) from error
    load_average = os.getloadavg()[0]
    with catch_signals() as interrupted:
        if options.live:
            outcomes = [_observe(options, scenarios, interrupted)]
        else:
            outcomes = _run_all(options, scenarios, interrupted)
    judgments = [
        judge(scenario.name, target, found)
        for outcome in outcomes
        for scenario in outcome.scenarios
        for target, found in zip(scenario.targets, outcome.of(scenario), strict=True)
    ]
    order = {scenario.name: index for index, scenario in enumerate(scenarios)}
    judgments.sort(key=lambda each: order[each.scenario])  # stable: targets keep their order
    _report(options, file, outcomes, judgments, load_average)
    return exit_code(judgments)


def _run_all(
    options: ValidateOptions, scenarios: tuple[Scenario, ...], interrupted: Interrupt
) -> list[RunOutcome]:
    chosen = [_with_options(scenario, options) for scenario in scenarios]
    outcomes = []
    for group in group_by_run(chosen):
        title = ", ".join(each.name for each in group)
        with show_progress(title, sys.stderr) as show:
            outcomes.append(run_scenarios(group, show, print_error, interrupted))
    return outcomes


def _with_options(scenario: Scenario, options: ValidateOptions) -> Scenario:
    pipeline = options.pipeline or scenario.pipeline
    if not pipeline:
        raise UsageError(
            f"{options.targets}: scenario {scenario.name} names no pipeline; give one with "
            "--pipeline, or judge a running one with --live"
        )
    source = options.source or scenario.source
    arguments = {**scenario.arguments, **({"source": source} if source else {})}
    in_file = f"{options.targets}: scenario {scenario.name}"
    try:
        description = load_pipeline(pipeline)
    except ConfigError as error:
        place = f"--pipeline {pipeline}" if options.pipeline else in_file
        raise UsageError(f"{place}: {error}") from error
    try:
        description.components(arguments)
    except ConfigError as error:
        raise UsageError(f"{in_file}: {error}") from error
    return dataclasses.replace(
        scenario,
        pipeline=pipeline,
        source=source,
        seconds=options.seconds or scenario.seconds,
    )


def _observe(
    options: ValidateOptions, scenarios: tuple[Scenario, ...], interrupted: Interrupt
) -> RunOutcome:
    chosen = tuple(each for each in scenarios if each.live)
    if not chosen:
        names = ", ".join(each.name for each in scenarios)
        raise UsageError(f"{options.targets}: live is false in every scenario chosen: {names}")
    seconds = options.seconds or max(each.seconds for each in chosen)
    with show_progress("live", sys.stderr) as show:
        return observe_live(options.namespace, chosen, seconds, show, print_error, interrupted)


def _report(
    options: ValidateOptions,
    file: TargetFile,
    outcomes: list[RunOutcome],
    judgments: list[Judgment],
    load_average: float,
) -> None:
    cores = os.cpu_count()
    if options.json:
        runs = [
            {
                "scenarios": [each.name for each in outcome.scenarios],
                "pipeline": None if options.live else outcome.scenarios[0].pipeline,
                "live": options.live,
                "measured_s": outcome.measured_s,
                "failure": outcome.failure or None,
            }
            for outcome in outcomes
        ]
        report = {
            "name": file.name,
            "file": str(file.file),
            "load_average": load_average,
            "cores": cores,
            "runs": runs,
            **judgments_as_json(judgments),
        }
        print(json.dumps(report, allow_nan=False))
    else:
        print_verdicts(judgments, sys.stdout)
        print(f"load average at the start: {load_average:.1f} on {cores} cores")
    if options.junit:
        try:
            Path(options.junit).write_bytes(to_junit(file.name, judgments))
        except OSError as error:
            # Exit code 1 says that a target has failed.
            reason = describe_write_error(error)
            raise UsageError(f"--junit {options.junit}: cannot be written: {reason}") from error
