"""Run lint, types and the tests tier by tier, and end with one line for each.

Usage: tiers.py [--tier NAME] [-- PYTEST ARGUMENTS]

Each tier is a pytest of its own, so a crash in one leaves the others their verdict. Inside a tier
the tests run in parallel, in a worker or two for each processor: ``-n0`` puts them into one
process, and so does what talks to a terminal (``--pdb``, ``-s``). The checks run beside the first
tiers; what they say is shown whole, after the tier that they ended beside.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".cache" / "test" / Path(sys.prefix).name.lstrip(".")
TIERS = ("check", "unit", "process", "contract", "nodes", "launch", "gpu", "repo")
# Only where it is asked for: it needs the machine for itself, for minutes.
APART = ("campaign",)
CHECKS = {
    "ruff": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
}
# One device, one process on it.
ALONE = ("gpu", *APART)
# Their tests wait for other processes most of the time, and have nothing in common in a module.
WAITING = ("nodes", "launch")
ORDERED = ("contract", "repo")
# More workers than this wait for memory and for each other's caches.
MOST_WORKERS = 8
# What needs the terminal, or a single process, for itself.
UNDIVIDED = ("-s", "--capture=no", "--pdb", "--trace", "--collect-only", "--co", "--fixtures")
NOTHING_COLLECTED = 5


@dataclass
class Tally:
    """What one tier came to."""

    tier: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> str:
        if not self.passed + self.failed:
            why = "; ".join(self.reasons) or "it has no tests"
            return f"  {self.tier:<9} skipped: {why}"
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        note = f"  ({'; '.join(self.reasons)})" if self.reasons else ""
        return f"  {self.tier:<9} {counts:<38} {self.seconds:6.1f} s{note}"


class Checks:
    """The linter, the formatter and the type checker over the tree, all at the same time."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self._running = {
            name: subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, **output)
            for name, command in CHECKS.items()
        }
        self._waiting = ThreadPoolExecutor(len(CHECKS))
        self._said = {
            name: self._waiting.submit(self._wait, process)
            for name, process in self._running.items()
        }
        self._waiting.shutdown(wait=False)
        self._end = self._start

    def _wait(self, process: subprocess.Popen[str]) -> str:
        said, _ = process.communicate()
        self._end = time.monotonic()
        return said

    def have_ended(self) -> bool:
        """Tell whether there is nothing to wait for."""
        return all(said.done() for said in self._said.values())

    def tally(self) -> Tally:
        """Wait for them, and show what they say."""
        tally = Tally("check")
        print("\n=== check", flush=True)
        for name, said in self._said.items():
            print(f"$ {' '.join(CHECKS[name])}\n{said.result()}", end="", flush=True)
            if self._running[name].returncode:
                tally.failed += 1
                tally.reasons.append(f"{name} complains")
            else:
                tally.passed += 1
        tally.seconds = self._end - self._start
        return tally


def run_tests(tier: str, arguments: list[str]) -> Tally:
    """Run one folder of tests and read pytest's own report of it."""
    if not (ROOT / "test" / tier).is_dir():
        return Tally(tier, reasons=["no tests yet"])
    report = RESULTS / f"{tier}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"test/{tier}", f"--junitxml={report}"]
    command += [*spread(tier, arguments), *arguments]
    code = subprocess.run(command, cwd=ROOT, env=environment(), check=False).returncode
    tally = read_report(tier, report)
    if code == NOTHING_COLLECTED:
        tally.reasons.append("no test selected")
    elif code and not tally.failed:
        tally.failed += 1
        tally.reasons.append(f"pytest ended with {code}")
    return tally


def environment() -> dict[str, str]:
    """Return the environment of the tests."""
    # A sourced ROS 2 registers pytest plugins written for its own, older pytest.
    made = dict(os.environ, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    if made.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Every worker and every child would compile the tests anew. Not beside the sources, then.
        made.setdefault("PYTHONPYCACHEPREFIX", str(RESULTS / "bytecode"))
    return made


def spread(tier: str, arguments: list[str]) -> list[str]:
    """Return the options that divide a tier among workers; a ``-n`` in ``arguments`` has its way.

    Tests of one file stay together, as what they share in a module is made once; where they mostly
    wait there are two workers for each processor, and one that is done takes from another.
    """
    processors, is_waiting = len(os.sched_getaffinity(0)), tier in WAITING
    workers = min(2 * processors if is_waiting else processors, MOST_WORKERS)
    if tier in ALONE or any(argument in UNDIVIDED for argument in arguments):
        workers = 0
    how = "worksteal" if is_waiting else "loadfile"
    # In these few files take most of the time: test/conftest.py says which come first.
    order = ["--no-loadscope-reorder"] if tier in ORDERED else []
    return ["-p", "xdist.plugin", "-n", str(workers), "--dist", how, *order]


def read_report(tier: str, report: Path) -> Tally:
    """Count outcomes in a JUnit file; an absent one counts nothing."""
    tally = Tally(tier)
    if not report.exists():
        return tally
    root = ElementTree.parse(report).getroot()
    for suite in root.iter("testsuite"):
        broken = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        tally.failed += broken
        tally.skipped += skipped
        tally.passed += max(0, int(suite.get("tests", 0)) - broken - skipped)
    reasons = {skip.get("message", "") for skip in root.iter("skipped")}
    tally.reasons = sorted(filter(None, reasons))
    return tally


def launch_note() -> str:
    """Say what launched the tests: our folder launch/ alone would import as an empty package."""
    try:
        real = importlib.util.find_spec("launch.actions") is not None
    except ModuleNotFoundError:
        real = False
    return "the real launch packages" if real else "no launch packages here: a strict test double"


def run_tier(tier: str, arguments: list[str]) -> Tally:
    """Run one tier of tests and time it."""
    print(f"\n=== {tier}", flush=True)
    start = time.monotonic()
    tally = run_tests(tier, arguments)
    tally.seconds = time.monotonic() - start
    if tier == "launch" and tally.passed:
        tally.reasons.append(launch_note())
    return tally


def run_tiers(chosen: list[str], arguments: list[str]) -> list[Tally]:
    """Run the tiers one after the other, and the checks beside them."""
    checks = Checks() if "check" in chosen else None
    tallies: list[Tally] = []
    for tier in chosen:
        if tier != "check":
            tallies.append(run_tier(tier, arguments))
        if checks and (checks.have_ended() or tier == chosen[-1]):
            tallies.append(checks.tally())
            checks = None
    return sorted(tallies, key=lambda tally: (*TIERS, *APART).index(tally.tier))


def main() -> int:
    """Run the tiers and print the summary; 1 when one failed or there was nothing to run."""
    parser = argparse.ArgumentParser(prog="tiers.py")
    parser.add_argument("--tier", choices=(*TIERS, *APART))
    parser.add_argument("arguments", nargs="*", help="handed to pytest, after --")
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    tallies = run_tiers([options.tier] if options.tier else list(TIERS), options.arguments)
    print("\n=== summary")
    for tally in tallies:
        print(tally.line())
    passed, failed, skipped = (
        sum(getattr(tally, name) for tally in tallies) for name in ("passed", "failed", "skipped")
    )
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed + skipped else 0


if __name__ == "__main__":
    sys.exit(main())
