"""Tests the governor on simulated machines whose parameters it does not know.

The machines are random variations of a two-node RC model of a passively cooled board: heat
capacities, resistances, ambient temperature, leakage, delay of the sensor (0.3 to 3 s, noise
0.5 °C), and the energy and duration of every engine. During an hour, the ambient temperature
rises, the fan fails, or the critical work grows; a quarter of the machines does not change. A
machine is feasible if the whole demand overheats it and the minimum work does not. One node is
safety-critical, the other may be reduced; the utility is its rate of inferences times their
accuracy. The governor is the one of the product. It decides twice a second and reads a noisy
temperature, the power of the board and the reports of the nodes, as on a robot. Its constants
were tuned on other seeds.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from benchmarks.report import Report
from benchmarks.thermal_machines import Case, draw_feasible, draw_infeasible
from benchmarks.thermal_plots import draw_hour, draw_loss, draw_machines
from benchmarks.thermal_run import HOUR_S, LOSSES, Outcome, Trial, run
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Quantity, Reading, Role
from edge_inference.governor.governor import Governor
from edge_inference.governor.settings import GovernorSettings
from edge_inference.governor.simulated_node import SimulatedNode
from edge_inference.governor.thermal_model import ThermalModel

#: The constants of the governor were tuned on other seeds.
SEED = 20_261
IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
RAMP = GovernorSettings(preset="ramp")
PREDICTIVE = GovernorSettings(preset="predictive")
_LOST_S = 900.0
_POWER_LIMIT_W = 15.0
_BATTERY_PART = 0.8
_LAST_MIN = 60.0

Trials = Callable[[Sequence[Trial]], list[Outcome]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, draw, print, and return the exit status."""
    report = Report("thermal", argv, __doc__, _add_arguments)
    machines, infeasible_machines, losses = (12, 8, 6) if report.quick else (100, 40, 24)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:

        def trials(requested: Sequence[Trial]) -> list[Outcome]:
            return list(pool.map(run, requested))

        cases = draw_feasible(report.arguments.seed, machines)
        results = _measure_feasible(report, trials, cases)
        _measure_infeasible(
            report, trials, draw_infeasible(report.arguments.seed, infeasible_machines)
        )
        lost = _measure_losses(report, trials, cases[:losses])
        _measure_power_limits(report, trials, cases[: max(8, losses // 2)])
    _measure_decision_time(report)
    folder = report.arguments.plots or (None if report.quick else IMAGES)
    if folder is not None:
        _draw(folder, results, lost)
    return report.finish()


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=SEED, help="which machines are drawn")
    parser.add_argument(
        "--plots", type=Path, metavar="FOLDER", help="write plots here (full runs: docs/images)"
    )


def _measure_feasible(
    report: Report, trials: Trials, cases: list[Case]
) -> dict[str, list[Outcome]]:
    """Run all presets on the same machines."""
    results = {
        "ramp": trials([Trial(case, RAMP, trace_s=5.0) for case in cases]),
        "predictive": trials([Trial(case, PREDICTIVE, trace_s=5.0) for case in cases]),
        "predictive without a power sensor": trials(
            [Trial(case, PREDICTIVE, with_power=False) for case in cases]
        ),
    }
    for name, outcomes in results.items():
        changes = [outcome.engine_changes for outcome in outcomes]
        report.figure(f"{name}, hottest", max(each.max_c for each in outcomes), "°C")
        report.figure(f"{name}, machines above 80 °C", sum(each.exceeds_limit for each in outcomes))
        report.figure(f"{name}, utility", _utility(outcomes), "Hz x accuracy")
        report.figure(f"{name}, changes of engine an hour, median", statistics.median(changes))
        report.figure(f"{name}, changes of engine an hour, worst", max(changes))
        directives = statistics.median(each.directives for each in outcomes)
        report.figure(f"{name}, directives an hour, median", directives)
        errors = sum(each.first_error_s is not None for each in outcomes)
        report.figure(f"{name}, machines with an error", errors)
    ours, ramp = results["predictive"], results["ramp"]
    blind = results["predictive without a power sensor"]
    report.claim("thermal-machines-above-max", sum(each.exceeds_limit for each in ours), at_most=0)
    report.claim(
        "thermal-machines-above-max-no-power-sensor",
        sum(each.exceeds_limit for each in blind),
        at_most=0,
    )
    report.claim("thermal-utility-by-ramp", _utility(ours) / _utility(ramp), at_least=1.3)
    worst = max(each.engine_changes for each in [*ours, *blind])
    report.claim("thermal-changes-an-hour-worst", worst, at_most=10)
    critical = min(each.critical_share for outcomes in results.values() for each in outcomes)
    report.claim("thermal-critical-rate-share", critical, at_least=1.0)
    return results


def _measure_infeasible(report: Report, trials: Trials, cases: list[Case]) -> None:
    """Check that the governor reports machines that overheat whatever it does."""
    for name, settings in (("ramp", RAMP), ("predictive", PREDICTIVE)):
        outcomes = trials([Trial(case, settings, 4.0 * HOUR_S, until_error=True) for case in cases])
        hottest = max(each.max_c for each in outcomes)
        report.figure(f"infeasible, {name}: hottest until the error", hottest, "°C")
        silent = sum(each.first_error_s is None for each in outcomes)
        report.claim(f"thermal-infeasible-without-error-{name}", silent, at_most=0)
        critical = min(each.critical_share for each in outcomes)
        report.claim(f"thermal-infeasible-critical-rate-share-{name}", critical, at_least=1.0)


def _measure_losses(report: Report, trials: Trials, cases: list[Case]) -> dict[str, list[Outcome]]:
    """Lose the temperature of a running machine, in each of several ways."""
    losses = list(LOSSES)
    results = {}
    for name, settings in (("ramp", RAMP), ("predictive", PREDICTIVE)):
        outcomes = results[name] = trials(
            [
                Trial(
                    replace(case, event_s=2.0 * HOUR_S),
                    settings,
                    _LOST_S + 300.0,
                    lost_s=_LOST_S,
                    loss=losses[number % len(losses)],
                    trace_s=0.5,
                )
                for number, case in enumerate(cases)
            ]
        )
        min_rate = max(_or_infinity(each.min_rate_s) for each in outcomes)
        report.claim(f"thermal-loss-to-minimum-rate-s-{name}", min_rate, at_most=5.0)
        requested = max(_or_infinity(each.safe_directive_s) for each in outcomes)
        report.figure(f"sensor lost, {name}: safe level requested after", requested, "s")
        safe = max(_or_infinity(each.min_engine_s) for each in outcomes)
        report.figure(f"sensor lost, {name}: cheapest engine in use after", safe, "s")
        hottest = max(each.max_after_loss_c for each in outcomes)
        report.figure(f"sensor lost, {name}: hottest afterwards", hottest, "°C")
    return results


def _measure_power_limits(report: Report, trials: Trials, cases: list[Case]) -> None:
    """Keep a limit in watts, and make a battery last that would otherwise not last."""
    steady = [replace(case, event_s=2.0 * HOUR_S) for case in cases]
    unlimited = trials([Trial(case, PREDICTIVE) for case in steady])
    limited = replace(PREDICTIVE, power_limit_w=_POWER_LIMIT_W)
    kept = trials([Trial(case, limited) for case in steady])
    without_error = [each for each in kept if each.first_error_s is None]
    if without_error:
        highest = max(each.power_w for each in without_error)
        report.figure(
            f"limit of {_POWER_LIMIT_W:g} W: highest mean power without error", highest, "W"
        )
    report.figure(
        f"limit of {_POWER_LIMIT_W:g} W: machines with an error", len(kept) - len(without_error)
    )
    lasting = replace(PREDICTIVE, minutes_to_last=_LAST_MIN)
    planned = trials(
        [
            Trial(case, lasting, battery_j=_BATTERY_PART * each.power_w * HOUR_S)
            for case, each in zip(steady, unlimited, strict=True)
        ]
    )
    empty = sum(not each.battery_left_j for each in planned)
    report.figure("battery of 80 %: machines empty before the hour", empty)
    errors = sum(each.first_error_s is not None for each in planned)
    report.figure("battery of 80 %: machines with an error", errors)
    part = statistics.mean(p.utility / u.utility for p, u in zip(planned, unlimited, strict=True))
    report.figure("battery of 80 %: utility left", part)


def _measure_decision_time(report: Report) -> None:
    """Time one decision with three nodes and forty readings."""
    case = draw_feasible(report.arguments.seed, 1)[0]
    rng = random.Random(1)
    machine = ThermalModel(case.machine, rng)
    critical, detector = case.nodes
    nodes = [
        SimulatedNode(each, rng) for each in (critical, detector, replace(detector, name="/second"))
    ]
    governor = Governor(PREDICTIVE)
    rounds = 2000
    spent = 0.0
    for step in range(rounds):
        state = machine.read_sensors(step * 500_000_000)
        more = tuple(_filler(number, state) for number in range(40 - len(state.readings)))
        state = replace(state, readings=(*state.readings, *more))
        workloads = [node.workload() for node in nodes]
        started = time.process_time()
        governor.decide(state, workloads, state.stamp_ns)
        spent += time.process_time() - started
    report.claim("thermal-decide-cpu-ms", 1e3 * spent / rounds, at_most=0.5)


def _filler(number: int, state: PlatformState) -> Reading:
    return Reading(
        f"rail/{number}", Quantity.POWER, 1.0, "simulated", state.stamp_ns, role=Role.NONE
    )


def _draw(folder: Path, results: dict[str, list[Outcome]], lost: dict[str, list[Outcome]]) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("no plots: pip install matplotlib")
        return
    presets = ("ramp", "predictive")
    fan = next(
        number
        for number, outcome in enumerate(results["ramp"])
        if outcome.trial.case.scenario == "fan fails"
    )
    draw_hour({name: results[name][fan] for name in presets}, folder / "thermal-hour.svg")
    draw_machines({name: results[name] for name in presets}, folder / "thermal-machines.svg")
    draw_loss({name: lost[name][0] for name in presets}, folder / "thermal-sensor-loss.svg")
    print(f"plots: {folder}")


def _utility(outcomes: Sequence[Outcome]) -> float:
    return statistics.mean(outcome.utility for outcome in outcomes)


def _or_infinity(seconds: float | None) -> float:
    return float("inf") if seconds is None else seconds


if __name__ == "__main__":
    sys.exit(main())
