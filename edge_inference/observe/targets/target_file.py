"""Reads files of targets: scenarios, each with the bounds that it has to meet.

::

    name: my_robot
    scenarios:
      vision:
        pipeline: perception
        source: corridor.mp4
        seconds: 60
        arguments: {rate: 30, loop: true}
        targets:
          - {what: age_ms, where: decode, statistic: p99, max: 100}
          - {what: cpu_percent, max: 80}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_inference.core.bounded_file import is_regular_file, is_there
from edge_inference.core.settings import setting, suggestion
from edge_inference.core.yaml_file import Section, load_yaml, to_yaml_line
from edge_inference.errors import ConfigError
from edge_inference.observe.targets.measures import MEASURES, Measure, Place

_MAX_SCENARIOS = 50
_MAX_TARGETS = 200
_BOUNDS = ("max", "min")
_DEADLINE = "deadline_ms"


@dataclass(frozen=True)
class _FileEntry:
    name: str = setting(description="name of the file's targets")
    description: str = setting("", "what the targets are for")


@dataclass(frozen=True)
class _ScenarioEntry:
    description: str = setting("", "what the scenario does, in a sentence")
    pipeline: str = setting("", "pipeline to run, by name or file")
    source: str = setting("", "value of the pipeline's argument source")
    seconds: float = setting(30.0, "time of measurement", unit="s", minimum=1.0, maximum=86_400.0)
    warmup_s: float = setting(
        2.0, "time from the first result to the measurement", unit="s", minimum=0.0, maximum=600.0
    )
    live: bool = setting(True, "false leaves it out where a running pipeline is judged")


@dataclass(frozen=True)
class _TargetEntry:
    what: str = setting(description="the measure", choices=tuple(MEASURES))
    where: str = setting("", "stage, or full name of a node")
    statistic: str = setting("", "p50, p90, p95, p99, p99.9 or mean")
    required: bool = setting(True, "false: it is shown, and does not change the exit code")
    confidence: float = setting(
        0.95, "of the interval's end against the bound", minimum=0.5, maximum=0.999
    )
    note: str = setting("", "how it is measured, or why")


@dataclass(frozen=True)
class _MaximumEntry:
    max: float = setting(description="highest value that passes", minimum=0.0)


@dataclass(frozen=True)
class _MinimumEntry:
    min: float = setting(description="lowest value that passes", minimum=0.0)


@dataclass(frozen=True)
class _DeadlineEntry:
    deadline_ms: float = setting(
        description="age at which a frame misses the deadline", unit="ms", minimum=0.001
    )


@dataclass(frozen=True)
class Target:
    """One bound. ``statistic`` is empty for a measure without a choice.

    ``is_maximum`` states that values up to ``bound`` pass, else those from ``bound`` on.
    """

    what: str
    where: str
    statistic: str
    bound: float
    is_maximum: bool
    required: bool = True
    confidence: float = 0.95
    deadline_ms: float | None = None
    note: str = ""

    @property
    def measure(self) -> Measure:
        """The row of the measure."""
        return MEASURES[self.what]

    @property
    def quantity(self) -> str:
        """What is measured, as text: ``inference process_ms p95``."""
        deadline = "" if self.deadline_ms is None else f"after {self.deadline_ms:g} ms"
        is_whole = not self.where and self.measure.place is Place.STAGE_OR_ALL
        where = "end to end" if is_whole else self.where
        return " ".join(filter(None, (where, self.what, self.statistic, deadline)))

    @property
    def label(self) -> str:
        """The target as text: ``inference process_ms p95 <= 30 ms``."""
        sign = "<=" if self.is_maximum else ">="
        return f"{self.quantity} {sign} {self.bound:g} {self.measure.unit}".rstrip()


@dataclass(frozen=True)
class Scenario:
    """Targets with what to run for them; ``pipeline`` is empty where the file names none."""

    name: str
    targets: tuple[Target, ...]
    description: str = ""
    pipeline: str = ""
    source: str = ""
    seconds: float = 30.0
    warmup_s: float = 2.0
    live: bool = True
    arguments: dict[str, str] = field(default_factory=dict)

    @property
    def run_key(self) -> tuple[Any, ...]:
        """Identify the run; scenarios with the same one are measured in one run."""
        arguments = tuple(sorted(self.arguments.items()))
        return self.pipeline, self.source, self.seconds, self.warmup_s, arguments


@dataclass(frozen=True)
class TargetFile:
    """The targets of one file."""

    name: str
    file: Path
    scenarios: tuple[Scenario, ...]

    def choose(self, names: Sequence[str]) -> tuple[Scenario, ...]:
        """Return the scenarios with these names, all without names; raises ConfigError."""
        known = [scenario.name for scenario in self.scenarios]
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"{self.file}: unknown scenario {name!r}{suggestion(name, known)}"
                )
        return tuple(each for each in self.scenarios if not names or each.name in names)


def find_targets(name_or_file: str, share: Path) -> Path:
    """Return the file of targets; a name without a suffix is that of a shipped one in ``share``.

    Raises ConfigError for an unknown name.
    """
    file = Path(name_or_file)
    if file.suffix or is_there(file):
        return file
    folder = share / "config" / "targets"
    shipped = {each.stem: each for each in folder.glob("*.yaml")}
    if name_or_file not in shipped:
        raise ConfigError(
            f"{name_or_file}: no such file, and no shipped targets of this name"
            f"{suggestion(name_or_file, shipped)}"
        )
    return shipped[name_or_file]


def load_targets(file: Path) -> TargetFile:
    """Read a file of targets. Raises ConfigError with file, line and key."""
    if not is_there(file):
        raise ConfigError(f"{file}: no such file; expected a YAML file of targets")
    if not is_regular_file(file):
        raise ConfigError(f"{file}: expected a YAML file of targets, got a folder or a device")
    root = load_yaml(file)
    entry = root.read(_FileEntry, "scenarios")
    sections = root.sections("scenarios")
    if not sections:
        raise root.error("scenarios", "expected at least one scenario, got none")
    if len(sections) > _MAX_SCENARIOS:
        raise root.error(
            "scenarios", f"expected at most {_MAX_SCENARIOS} scenarios, got {len(sections)}"
        )
    scenarios = tuple(_read_scenario(name, section) for name, section in sections.items())
    return TargetFile(entry.name, file, scenarios)


def _read_scenario(name: str, section: Section) -> Scenario:
    entry = section.read(_ScenarioEntry, "arguments", "targets")
    if not name.strip():
        raise section.error(None, "expected a name for the scenario, got an empty one")
    targets: list[Target] = []
    entries = section.section_list("targets")
    if not entries:
        raise section.error("targets", "expected at least one target, got none")
    if len(entries) > _MAX_TARGETS:
        raise section.error(
            "targets", f"expected at most {_MAX_TARGETS} targets, got {len(entries)}"
        )
    for each in entries:
        target = _read_target(each)
        _check_against(targets, target, each)
        targets.append(target)
    return Scenario(
        name=name,
        targets=tuple(targets),
        description=entry.description,
        pipeline=entry.pipeline,
        source=entry.source,
        seconds=entry.seconds,
        warmup_s=entry.warmup_s,
        live=entry.live,
        arguments=_read_arguments(section),
    )


def _read_arguments(section: Section) -> dict[str, str]:
    if "arguments" not in section:
        return {}
    values = section.section("arguments").plain()
    if "source" in values:
        raise section.section("arguments").error(
            "source", "expected the source as a key of the scenario, beside arguments"
        )
    return {
        name: value if isinstance(value, str) else to_yaml_line(value)
        for name, value in values.items()
    }


def _read_target(section: Section) -> Target:
    given = [key for key in _BOUNDS if key in section]
    entry = section.read(_TargetEntry, *_BOUNDS, _DEADLINE)
    if len(given) != 1:
        raise section.error(
            given[-1] if given else None,
            f"expected one of max and min, got {' and '.join(given) or 'neither'}"
            + ("; write a target for each" if given else ""),
        )
    measure = MEASURES[entry.what]
    bound = _read_bound(section, given[0], entry.what, measure)
    return Target(
        what=entry.what,
        where=_check_where(section, entry, measure),
        statistic=_check_statistic(section, entry, measure),
        bound=bound,
        is_maximum=given[0] == "max",
        required=entry.required,
        confidence=entry.confidence,
        deadline_ms=_read_deadline(section, entry.what),
        note=entry.note,
    )


def _read_bound(section: Section, key: str, what: str, measure: Measure) -> float:
    others = [each for each in section if each != key]
    if key == "max":
        bound = section.read(_MaximumEntry, *others).max
    else:
        bound = section.read(_MinimumEntry, *others).min
    if bound > measure.maximum:
        unit = f" {measure.unit}" if measure.unit else ""
        raise section.error(
            key, f"expected a number from 0 to {measure.maximum:g}{unit} for {what}, got {bound:g}"
        )
    return bound


def _read_deadline(section: Section, what: str) -> float | None:
    if what == "deadline_misses_percent":
        others = [each for each in section if each != _DEADLINE]
        return section.read(_DeadlineEntry, *others).deadline_ms
    if _DEADLINE in section:
        raise section.error(_DEADLINE, f"is for deadline_misses_percent, got {what}")
    return None


def _check_where(section: Section, entry: _TargetEntry, measure: Measure) -> str:
    if measure.place is Place.NOTHING and entry.where:
        raise section.error(
            "where", f"{entry.what} is of the whole pipeline or machine; leave where out"
        )
    if measure.place is Place.STAGE and not entry.where:
        raise section.error(
            "where", f"missing; expected a stage, such as inference, for {entry.what}"
        )
    return entry.where


def _check_statistic(section: Section, entry: _TargetEntry, measure: Measure) -> str:
    choices = measure.statistics
    if not choices:
        if entry.statistic:
            raise section.error(
                "statistic", f"{entry.what} has no choice of a statistic; leave it out"
            )
        return ""
    if not entry.statistic:
        return choices[0]
    if entry.statistic not in choices:
        known = ", ".join(dict.fromkeys(choices))
        raise section.error("statistic", f"expected one of {known}, got {entry.statistic!r}")
    return entry.statistic


def _check_against(targets: Sequence[Target], target: Target, section: Section) -> None:
    """Refuse a target that an earlier one of the scenario repeats or contradicts."""
    for other in targets:
        if other.quantity != target.quantity:
            continue
        if other.is_maximum == target.is_maximum:
            if other.bound == target.bound:
                raise section.error(None, f"duplicate target: {target.label}")
            continue
        low, high = (target, other) if other.is_maximum else (other, target)
        if low.bound > high.bound:
            raise section.error(
                None, f"no value meets both {other.label} and {target.label}; correct one of them"
            )
