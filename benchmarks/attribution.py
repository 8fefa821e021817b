"""Injects faults into the perception pipeline, and counts how often the diagnosis names the cause.

Each trial makes one fault at one stage or queue of the pipeline, in one process or in several:
a stage that computes or waits for longer, drops, clock steps and wrong stamps, a held interpreter
lock, a busy core, slow subscribers and callbacks, page faults, a stopped process, bursts, lost
messages, and throttling (recorded machines whose clocks are lowered, while the stages compute for
as much longer). The length of the events is between 3 and 200 ms. A trial counts as quiet where
other processes took at most 5 % of all cores meanwhile, which is measured; as loaded where they
took at least half, or four busy processes of the benchmark ran beside it. Every trial begins with a
clean window, in which a diagnosis must find nothing. Where EdgeLens is installed, it is asked for
the stage of the same trials.
"""

from __future__ import annotations

import argparse
import os
import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import attribution_edgelens
from benchmarks.attribution_load import QUIET_SHARE, hogs
from benchmarks.attribution_pipeline import LAYOUTS, open_layout
from benchmarks.attribution_throttling import MACHINES
from benchmarks.attribution_trials import (
    Outcome,
    TrialRunner,
    Window,
    make_trials,
)
from benchmarks.attribution_verdict import (
    Verdict,
    describe,
    format_matrix,
    judge,
    observe,
    share_within,
)
from benchmarks.report import Report
from edge_inference.observe.attribution.diagnosis import diagnose

_RATE_HZ = 20.0
_HOGS = 4
_SEED = 1
_QUICK_LAYOUTS = ("camera outside",)
_LENGTHS_MS = ((3.0, 10.0), (10.0, 50.0), (50.0, 201.0))
#: Clean windows that are recorded together.
_BLOCK = 10


@dataclass
class Results:
    """The outcomes of trials, and further clean windows."""

    outcomes: list[Outcome] = field(default_factory=list)
    clean: list[Window] = field(default_factory=list)

    @property
    def clean_windows(self) -> list[Window]:
        """All windows without a fault in which the machine was quiet."""
        windows = [*self.clean, *(each.clean for each in self.outcomes if not each.has_hogs)]
        return [each for each in windows if each.load.others <= QUIET_SHARE]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("attribution", argv, __doc__, _add_arguments)
    arguments = report.arguments
    if arguments.replay:
        results = _load(arguments.replay)
    else:
        quiet, loaded, clean = (4, 2, 2) if report.quick else (100, 40, 260)
        layouts = _QUICK_LAYOUTS if report.quick else tuple(LAYOUTS)
        counts = (
            quiet if arguments.trials is None else arguments.trials,
            loaded if arguments.loaded is None else arguments.loaded,
            clean if arguments.clean is None else arguments.clean,
        )
        results = Results()
        report.figure("load average before", os.getloadavg()[0])
        for layout in arguments.layout or layouts:
            _measure(layout, counts, arguments.seed, results, arguments.save)
    _report(report, results)
    return report.finish()


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=_SEED, help="of the trials")
    parser.add_argument("--layout", action="append", choices=LAYOUTS, help="only this layout")
    parser.add_argument("--trials", type=int, help="quiet trials of each layout")
    parser.add_argument("--loaded", type=int, help="loaded trials of each layout")
    parser.add_argument("--clean", type=int, help="further clean windows of each layout")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write what was observed here")
    parser.add_argument(
        "--replay", type=Path, action="append", metavar="FILE", help="diagnose what was saved"
    )


def _measure(
    layout: str, counts: tuple[int, int, int], seed: int, results: Results, save: Path | None
) -> None:
    quiet, loaded, clean = counts
    with open_layout(layout, _RATE_HZ) as pipeline:
        runner = TrialRunner(pipeline, has_hogs=False)
        for trial in make_trials(layout, quiet, seed):
            results.outcomes.append(runner.run(trial))
            _save(results, save)
        for number in range(0, clean, _BLOCK):
            machine = MACHINES[number // _BLOCK % len(MACHINES)]
            results.clean += runner.record_clean(min(_BLOCK, clean - number), machine)
            _save(results, save)
        with hogs(_HOGS, sorted(os.sched_getaffinity(0))) as pids:
            runner = TrialRunner(pipeline, has_hogs=True, own_pids=pids)
            for trial in make_trials(layout, loaded, seed + 1_000_000):
                results.outcomes.append(runner.run(trial))
                _save(results, save)
    _save(results, save)


def _report(report: Report, results: Results) -> None:
    verdicts = [judge(each) for each in results.outcomes]
    loaded = [each for each in verdicts if each.outcome.is_loaded]
    quiet = [each for each in verdicts if each.outcome.is_quiet]
    others = [each for each in verdicts if each not in loaded and each not in quiet]
    for name, chosen in (("quiet", quiet), ("loaded", loaded), ("in between", others)):
        report.figure(f"{name}, trials", len(chosen))
        if not chosen:
            continue
        _show_load(report, name, chosen)
        print(f"{name}: fault, first cause")
        for line in format_matrix(chosen):
            print(line)
        report.figure(f"{name}, first", share_within(chosen, 1))
        report.figure(f"{name}, among the first two", share_within(chosen, 2))
        for low, high in _LENGTHS_MS:
            short = [each for each in chosen if low <= (each.event_ms or 0.0) < high]
            if short:
                what = f"{name}, first, {len(short)} trials with events of {low:g} to {high:g} ms"
                report.figure(what, share_within(short, 1))
    for verdict in verdicts:
        if verdict.place_rank != 1:
            print(f"missed: {describe(verdict)}")
    _compare_with_edgelens(report, verdicts)
    alarms = _false_alarms(results.clean_windows)
    windows = len(results.clean_windows)
    report.figure("clean windows on a quiet machine", windows)
    report.figure("false alarms in them", alarms)
    if quiet:
        report.claim("attribution-first", share_within(quiet, 1), at_least=0.90)
    if loaded:
        report.claim("attribution-top-two", share_within(loaded, 2), at_least=0.95)
    if windows:
        rate = alarms / windows * 1e3
        report.claim("attribution-false-alarms-per-1000-clean-windows", rate, at_most=3)


def _show_load(report: Report, name: str, verdicts: Sequence[Verdict]) -> None:
    loads = [each.outcome.faulty.load for each in verdicts]
    others = float(np.median([load.others for load in loads]))
    everything = float(np.median([load.all for load in loads]))
    report.figure(f"{name}, median load of all cores by others", others * 100, "%")
    report.figure(f"{name}, median load of all cores", everything * 100, "%")


def _compare_with_edgelens(report: Report, verdicts: Sequence[Verdict]) -> None:
    """Count how often EdgeLens and the diagnosis name the right stage first."""
    if not attribution_edgelens.is_installed():
        report.figure("EdgeLens", "not installed")
        return
    visible = [v for v in verdicts if v.outcome.trial.fault.kind in attribution_edgelens.VISIBLE]
    theirs = ours = 0
    for verdict in visible:
        outcome, stage = verdict.outcome, verdict.outcome.trial.fault.stage
        theirs += attribution_edgelens.find_stage(outcome.clean, outcome.faulty) == stage
        ours += verdict.found_stage == stage
    if visible:
        report.figure("trials with a fault that EdgeLens can see", len(visible))
        report.figure("EdgeLens, the right stage first", theirs / len(visible))
        report.figure("edge_inference, the right stage first", ours / len(visible))


def _false_alarms(windows: Sequence[Window]) -> int:
    count = 0
    for window in windows:
        findings = diagnose(observe(window)).findings
        if findings:
            count += 1
            first = findings[0]
            print(
                f"false alarm: {first.cause.value} of {first.subject}, {first.ms:.1f} ms "
                f"({first.evidence}), others {window.load.others:.1%}"
            )
    return count


def _save(results: Results, file: Path | None) -> None:
    if file is not None:
        file.write_bytes(pickle.dumps(results))


def _load(files: Sequence[Path]) -> Results:
    """Read what this program has saved."""
    results = Results()
    for file in files:
        saved: Results = pickle.loads(file.read_bytes())  # its own file, on the same machine
        results.outcomes += saved.outcomes
        results.clean += saved.clean
    return results


if __name__ == "__main__":
    sys.exit(main())
