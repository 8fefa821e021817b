"""Files of targets and records of stages for the tests."""

from __future__ import annotations

from pathlib import Path

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.observe.targets.target_file import Scenario, Target, TargetFile, load_targets

SECOND = 1_000_000_000


def write(folder: Path, targets: str, scenario: str = "") -> Path:
    """Write a file with one scenario ``a``; ``targets`` are the lines of its list."""
    lines = "\n".join(f"      {line}" for line in targets.splitlines())
    extra = "".join(f"    {line}\n" for line in scenario.splitlines())
    file = folder / "targets.yaml"
    file.write_text(f"name: trial\nscenarios:\n  a:\n{extra}    targets:\n{lines}\n")
    return file


def read(folder: Path, targets: str, scenario: str = "") -> TargetFile:
    return load_targets(write(folder, targets, scenario))


def only_scenario(file: TargetFile) -> Scenario:
    (scenario,) = file.scenarios
    return scenario


def target(what: str, where: str = "", statistic: str = "", **values: object) -> Target:
    """Return a target with the bound 10, as a maximum."""
    given: dict[str, object] = {"bound": 10.0, "is_maximum": True, **values}
    return Target(what, where, statistic, **given)  # type: ignore[arg-type]


def timing(stage: str, stamp: int = 1, **values: object) -> StageTiming:
    given: dict[str, object] = {
        "queue_ms": 1.0,
        "process_ms": 5.0,
        "age_ms": 20.0,
        "stamp_ns": stamp,
        "frame_id": "camera",
        **values,
    }
    return StageTiming(stage, f"/ai/{stage}", **given)  # type: ignore[arg-type]
