"""The governor on simulated machines that it knows nothing about.

Machines are drawn at random around a two-node RC model of a passively cooled board: heat
capacities, resistances, air, leakage, delay of the sensor (0.3 to 3 s, noise 0.5 °C), energy and
time of every engine. In an hour, the air gets warmer, the fan fails, or critical work grows; a
quarter stays as it is. Feasible are machines that too much work would overheat and the least
would not. One node is safety-critical, the other may be reduced; utility is its inferences per
second times their accuracy. The governor is the product's own, looks twice a second, and sees a
noisy temperature, the power of the board and what nodes report, as on a robot. What can be
tuned in it was tuned on other seeds.
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
from benchmarks.thermal_machines import Case, feasible, infeasible
from benchmarks.thermal_plots import draw_hour, draw_loss, draw_plants
from benchmarks.thermal_run import HOUR_S, LOSSES, Outcome, Trial, run
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Quantity, Reading, Role
from edge_inference.governor.governor import Governor
from edge_inference.governor.settings import GovernorSettings
from edge_inference.governor.simulated_node import SimulatedNode
from edge_inference.governor.thermal_model import ThermalModel

#: Not one of the seeds that anything was tuned on.
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
    report = Report("thermal", argv, __doc__, _arguments)
    plants, hopeless, losses = (12, 8, 6) if report.quick else (100, 40, 24)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:

        def trials(wanted: Sequence[Trial]) -> list[Outcome]:
            return list(pool.map(run, wanted))

        cases = feasible(report.arguments.seed, plants)
        found = _feasible(report, trials, cases)
        _infeasible(report, trials, infeasible(report.arguments.seed, hopeless))
        lost = _losses(report, trials, cases[:losses])
        _watts(report, trials, cases[: max(8, losses // 2)])
    _cost(report)
    folder = report.arguments.plots or (None if report.quick else IMAGES)
    if folder is not None:
        _draw(folder, found, lost)
    return report.finish()


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=SEED, help="which machines are drawn")
    parser.add_argument(
        "--plots", type=Path, metavar="FOLDER", help="write plots here (full runs: docs/images)"
    )


def _feasible(report: Report, trials: Trials, cases: list[Case]) -> dict[str, list[Outcome]]:
    """Run the presets on the same machines."""
    found = {
        "ramp": trials([Trial(case, RAMP, trace_s=5.0) for case in cases]),
        "predictive": trials([Trial(case, PREDICTIVE, trace_s=5.0) for case in cases]),
        "predictive without a power sensor": trials(
            [Trial(case, PREDICTIVE, with_power=False) for case in cases]
        ),
    }
    for name, outcomes in found.items():
        changes = [outcome.engine_changes for outcome in outcomes]
        report.figure(f"{name}, worst", max(each.worst_c for each in outcomes), "°C")
        report.figure(f"{name}, machines above 80 °C", sum(each.passes_limit for each in outcomes))
        report.figure(f"{name}, utility", _utility(outcomes), "Hz x accuracy")
        report.figure(f"{name}, changes of engine an hour, median", statistics.median(changes))
        report.figure(f"{name}, changes of engine an hour, worst", max(changes))
        directives = statistics.median(each.directives for each in outcomes)
        report.figure(f"{name}, directives an hour, median", directives)
        errors = sum(each.first_error_s is not None for each in outcomes)
        report.figure(f"{name}, machines with an error", errors)
    ours, ramp = found["predictive"], found["ramp"]
    blind = found["predictive without a power sensor"]
    report.claim("thermal-plants-above-max", sum(each.passes_limit for each in ours), at_most=0)
    report.claim(
        "thermal-plants-above-max-no-power-sensor",
        sum(each.passes_limit for each in blind),
        at_most=0,
    )
    report.claim("thermal-utility-by-ramp", _utility(ours) / _utility(ramp), at_least=1.3)
    worst = max(each.engine_changes for each in [*ours, *blind])
    report.claim("thermal-changes-an-hour-worst", worst, at_most=10)
    critical = min(each.critical_share for outcomes in found.values() for each in outcomes)
    report.claim("thermal-critical-rate-share", critical, at_least=1.0)
    return found


def _infeasible(report: Report, trials: Trials, cases: list[Case]) -> None:
    """Whatever is asked, these machines get too hot: that must be said."""
    for name, settings in (("ramp", RAMP), ("predictive", PREDICTIVE)):
        outcomes = trials([Trial(case, settings, 4.0 * HOUR_S, until_error=True) for case in cases])
        hottest = max(each.worst_c for each in outcomes)
        report.figure(f"infeasible, {name}: hottest until the error", hottest, "°C")
        silent = sum(each.first_error_s is None for each in outcomes)
        report.claim(f"thermal-infeasible-without-error-{name}", silent, at_most=0)
        critical = min(each.critical_share for each in outcomes)
        report.claim(f"thermal-infeasible-critical-rate-share-{name}", critical, at_least=1.0)


def _losses(report: Report, trials: Trials, cases: list[Case]) -> dict[str, list[Outcome]]:
    """Take the temperature away from a machine at work, in one way after the other."""
    ways = list(LOSSES)
    found = {}
    for name, settings in (("ramp", RAMP), ("predictive", PREDICTIVE)):
        outcomes = found[name] = trials(
            [
                Trial(
                    replace(case, event_s=2.0 * HOUR_S),
                    settings,
                    _LOST_S + 300.0,
                    lost_s=_LOST_S,
                    loss=ways[number % len(ways)],
                    trace_s=0.5,
                )
                for number, case in enumerate(cases)
            ]
        )
        slow = max(_known(each.slow_s) for each in outcomes)
        report.claim(f"thermal-loss-to-least-rate-s-{name}", slow, at_most=5.0)
        asked = max(_known(each.asked_safe_s) for each in outcomes)
        report.figure(f"sensor lost, {name}: asked for the safe level after", asked, "s")
        safe = max(_known(each.safe_s) for each in outcomes)
        report.figure(f"sensor lost, {name}: with the cheapest engine, too, after", safe, "s")
        worst = max(each.worst_after_loss_c for each in outcomes)
        report.figure(f"sensor lost, {name}: worst afterwards", worst, "°C")
    return found


def _watts(report: Report, trials: Trials, cases: list[Case]) -> None:
    """Keep a limit in watts, and make a battery last that would not."""
    steady = [replace(case, event_s=2.0 * HOUR_S) for case in cases]
    wishes = trials([Trial(case, PREDICTIVE) for case in steady])
    limited = replace(PREDICTIVE, power_limit_w=_POWER_LIMIT_W)
    kept = trials([Trial(case, limited) for case in steady])
    told = [each for each in kept if each.first_error_s is None]
    if told:
        worst = max(each.power_w for each in told)
        report.figure(f"limit of {_POWER_LIMIT_W:g} W: worst mean power without error", worst, "W")
    report.figure(
        f"limit of {_POWER_LIMIT_W:g} W: machines that say it is too low", len(kept) - len(told)
    )
    lasting = replace(PREDICTIVE, minutes_to_last=_LAST_MIN)
    planned = trials(
        [
            Trial(case, lasting, battery_j=_BATTERY_PART * wish.power_w * HOUR_S)
            for case, wish in zip(steady, wishes, strict=True)
        ]
    )
    empty = sum(not each.battery_left_j for each in planned)
    report.figure("battery of 80 %: machines empty before the hour", empty)
    errors = sum(each.first_error_s is not None for each in planned)
    report.figure("battery of 80 %: machines that say it is too little", errors)
    part = statistics.mean(p.utility / w.utility for p, w in zip(planned, wishes, strict=True))
    report.figure("battery of 80 %: utility left", part)


def _cost(report: Report) -> None:
    """Time one decision: three nodes, forty readings."""
    case = feasible(report.arguments.seed, 1)[0]

    chance = random.Random(1)
    plant = ThermalModel(case.plant, chance)
    critical, detector = case.nodes
    nodes = [
        SimulatedNode(each, chance)
        for each in (critical, detector, replace(detector, name="/second"))
    ]
    governor = Governor(PREDICTIVE)
    rounds = 2000
    spent = 0.0
    for look in range(rounds):
        state = plant.sense(look * 500_000_000)
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


def _draw(folder: Path, found: dict[str, list[Outcome]], lost: dict[str, list[Outcome]]) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("no plots: pip install matplotlib")
        return
    presets = ("ramp", "predictive")
    fan = next(
        number
        for number, outcome in enumerate(found["ramp"])
        if outcome.trial.case.scenario == "fan fails"
    )
    draw_hour({name: found[name][fan] for name in presets}, folder / "thermal-hour.svg")
    draw_plants({name: found[name] for name in presets}, folder / "thermal-machines.svg")
    draw_loss({name: lost[name][0] for name in presets}, folder / "thermal-sensor-loss.svg")
    print(f"plots: {folder}")


def _utility(outcomes: Sequence[Outcome]) -> float:
    return statistics.mean(outcome.utility for outcome in outcomes)


def _known(seconds: float | None) -> float:
    return float("inf") if seconds is None else seconds


if __name__ == "__main__":
    sys.exit(main())
