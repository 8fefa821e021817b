"""Plots the results of the thermal benchmark as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.thermal_machines import MAX_C
from benchmarks.thermal_run import Outcome

_COLORS = {"ramp": "#b5651d", "predictive": "#1f5fa8"}
_GRAY = "#777777"
#: The same input gives the same file.
_STYLE = {"svg.hashsalt": "edge_inference", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}


def draw_hour(traces: Mapping[str, Outcome], path: Path) -> None:
    """Plot one machine over an hour: temperature, power, rate and engine of each preset."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(4, 1, figsize=(8, 8), sharex=True)
    case = next(iter(traces.values())).trial.case
    engines = [engine.precision for engine in case.nodes[1].engines]
    for name, outcome in traces.items():
        minutes = [moment.time_s / 60.0 for moment in outcome.trace]
        style = {"color": _COLORS[name], "label": name, "linewidth": 1.0}
        axes[0].plot(minutes, [moment.die_c for moment in outcome.trace], **style)
        axes[1].plot(minutes, [moment.power_w for moment in outcome.trace], **style)
        axes[2].plot(minutes, [moment.rate_hz for moment in outcome.trace], **style)
        used = [moment.engine for moment in outcome.trace]
        axes[3].step(minutes, used, where="post", **style)
    axes[0].axhline(MAX_C, color="black", linewidth=0.8, linestyle="--")
    for axis in axes:
        axis.axvline(case.event_s / 60.0, color=_GRAY, linewidth=0.8, linestyle=":")
    axes[0].set_title(f"{case.scenario} after {case.event_s / 60.0:.0f} minutes")
    labels = ("die, °C", "power, W", "inferences, Hz")
    for axis, label in zip(axes, labels, strict=False):
        axis.set_ylabel(label)
    axes[3].set_yticks(range(len(engines)), engines)
    axes[3].invert_yaxis()
    axes[3].set_xlabel("minutes")
    axes[0].legend(loc="lower right")
    _save(figure, path)


def draw_machines(outcomes: Mapping[str, Sequence[Outcome]], path: Path) -> None:
    """Plot all machines: their maximum temperatures, and the utility of both presets."""
    pyplot = _pyplot()
    figure, (temperature, utility) = pyplot.subplots(1, 2, figsize=(9, 3.8))
    for name, results in outcomes.items():
        hottest = sorted(outcome.max_c for outcome in results)
        share = [(number + 1) / len(hottest) for number in range(len(hottest))]
        temperature.step(hottest, share, where="post", color=_COLORS[name], label=name)
    temperature.axvline(MAX_C, color="black", linewidth=0.8, linestyle="--")
    temperature.set_xlabel("maximum temperature of the die in an hour, °C")
    temperature.set_ylabel("share of machines")
    temperature.legend(loc="upper left")
    ramp = [outcome.utility for outcome in outcomes["ramp"]]
    predictive = [outcome.utility for outcome in outcomes["predictive"]]
    utility.scatter(ramp, predictive, s=10, color=_COLORS["predictive"])
    top = max([*ramp, *predictive])
    utility.plot([0.0, top], [0.0, top], color="black", linewidth=0.8, linestyle="--")
    utility.set_xlabel("utility of the ramp, Hz x accuracy")
    utility.set_ylabel("utility of predictive")
    _save(figure, path)


def draw_loss(outcomes: Mapping[str, Outcome], path: Path) -> None:
    """Plot temperature and rate around the loss of the sensors."""
    pyplot = _pyplot()
    figure, (temperature, rate) = pyplot.subplots(2, 1, figsize=(8, 4.5), sharex=True)
    for name, outcome in outcomes.items():
        lost_s = outcome.trial.lost_s or 0.0
        near = [each for each in outcome.trace if -30.0 <= each.time_s - lost_s <= 60.0]
        seconds = [moment.time_s - lost_s for moment in near]
        temperature.plot(
            seconds, [moment.die_c for moment in near], color=_COLORS[name], label=name
        )
        rates = [moment.rate_hz for moment in near]
        rate.step(seconds, rates, where="post", color=_COLORS[name])
    for axis in (temperature, rate):
        axis.axvline(0.0, color="black", linewidth=0.8, linestyle="--")
        axis.axvline(5.0, color=_GRAY, linewidth=0.8, linestyle=":")
    temperature.set_ylabel("die, °C")
    rate.set_ylabel("inferences, Hz")
    rate.set_xlabel("seconds since the temperature was lost")
    temperature.legend(loc="upper right")
    _save(figure, path)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update(_STYLE)
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    _pyplot().close(figure)
    # Matplotlib ends some lines in spaces.
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")
