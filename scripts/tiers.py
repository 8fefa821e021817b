"""Run lint, types and the tests tier by tier, and print a summary with one line for each tier.

Usage: tiers.py [--tier NAME] [-- PYTEST ARGUMENTS]

Each tier runs in its own pytest process, so a crash in one does not affect the results of the
others. Inside a tier the tests run in parallel, in one or two workers for each processor. ``-n0``
runs them in one process, and so do options that need the terminal (``--pdb``, ``-s``). The checks
run in parallel with the first tiers. Their whole output appears after the tier that is running
when they end.
"""

from __future__ import annotations

import argparse
import importlib.metadata
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
# Run only on request: one needs the whole machine for minutes, the other torch.
EXPLICIT_TIERS = ("campaign", "optimize")
CHECKS = {
    "ruff": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
}
# Tiers that run in one process: only one at a time may use the device, or the whole machine.
SINGLE_PROCESS_TIERS = ("gpu", "campaign")
# Their tests mostly wait for other processes, and share no module fixtures.
WAITING_TIERS = ("nodes", "launch")
# Tiers in which a few files take most of the time; test/conftest.py sorts them to the front.
ORDERED_TIERS = ("contract", "repo", "optimize")
# More workers than this wait for memory bandwidth and compete for the processor's caches.
MAX_WORKERS = 8
# pytest options that need the terminal or a single process.
SINGLE_PROCESS_OPTIONS = (
    "-s",
    "--capture=no",
    "--pdb",
    "--trace",
    "--collect-only",
    "--co",
    "--fixtures",
)
NO_TESTS_COLLECTED = 5
NO_TORCH = "torch is not installed here: make test TIER=optimize installs it into .venv-optimize"


@dataclass
class TierResult:
    """The counts of one tier."""

    tier: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def format_line(self) -> str:
        """Return the tier's line of the summary."""
        if not self.passed + self.failed:
            reasons = "; ".join(self.reasons) or "it has no tests"
            return f"  {self.tier:<9} skipped: {reasons}"
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        note = f"  ({'; '.join(self.reasons)})" if self.reasons else ""
        return f"  {self.tier:<9} {counts:<38} {self.seconds:6.1f} s{note}"


class CheckRun:
    """The linter, the formatter and the type checker, which run in parallel."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self._running = {
            name: subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, **output)
            for name, command in CHECKS.items()
        }
        threads = ThreadPoolExecutor(len(CHECKS))
        self._outputs = {
            name: threads.submit(self._wait, process) for name, process in self._running.items()
        }
        threads.shutdown(wait=False)
        self._end = self._start

    def _wait(self, process: subprocess.Popen[str]) -> str:
        output, _ = process.communicate()
        self._end = time.monotonic()
        return output

    def have_ended(self) -> bool:
        """Return whether all checks have ended."""
        return all(output.done() for output in self._outputs.values())

    def collect(self) -> TierResult:
        """Wait for the checks, print their output, and count them."""
        result = TierResult("check")
        print("\n=== check", flush=True)
        for name, output in self._outputs.items():
            print(f"$ {' '.join(CHECKS[name])}\n{output.result()}", end="", flush=True)
            if self._running[name].returncode:
                result.failed += 1
                result.reasons.append(f"{name} failed")
            else:
                result.passed += 1
        result.seconds = self._end - self._start
        return result


def run_tests(tier: str, arguments: list[str]) -> TierResult:
    """Run one folder of tests and read pytest's report."""
    if not (ROOT / "test" / tier).is_dir():
        return TierResult(tier, reasons=["no tests yet"])
    if tier == "optimize" and importlib.util.find_spec("torch") is None:
        return TierResult(tier, reasons=[NO_TORCH])
    report = RESULTS / f"{tier}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"test/{tier}", f"--junitxml={report}"]
    command += [*worker_options(tier, arguments), *arguments]
    code = subprocess.run(command, cwd=ROOT, env=make_test_environment(), check=False).returncode
    result = read_report(tier, report)
    if code == NO_TESTS_COLLECTED:
        result.reasons.append("no test selected")
    elif code and not result.failed:
        result.failed += 1
        result.reasons.append(f"pytest ended with {code}")
    return result


def make_test_environment() -> dict[str, str]:
    """Return the environment of the tests."""
    # A sourced ROS 2 registers pytest plugins for its own, older pytest.
    environment = dict(os.environ, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Without bytecode every worker and child would compile the tests again, so the bytecode
        # is written to the cache instead of the source folders.
        environment.setdefault("PYTHONPYCACHEPREFIX", str(RESULTS / "bytecode"))
    return environment


def worker_options(tier: str, arguments: list[str]) -> list[str]:
    """Return the options that divide a tier among workers; ``-n`` in ``arguments`` overrides them.

    The tests of one file run in one worker, so that their module fixtures are made once. A tier
    that mostly waits has two workers for each processor, and an idle worker steals tests.
    """
    processors, is_waiting = len(os.sched_getaffinity(0)), tier in WAITING_TIERS
    workers = min(2 * processors if is_waiting else processors, MAX_WORKERS)
    if tier in SINGLE_PROCESS_TIERS or any(
        argument in SINGLE_PROCESS_OPTIONS for argument in arguments
    ):
        workers = 0
    distribution = "worksteal" if is_waiting else "loadfile"
    order = ["--no-loadscope-reorder"] if tier in ORDERED_TIERS else []
    return ["-p", "xdist.plugin", "-n", str(workers), "--dist", distribution, *order]


def read_report(tier: str, report: Path) -> TierResult:
    """Count the outcomes in a JUnit file; all counts are 0 if it does not exist."""
    result = TierResult(tier)
    if not report.exists():
        return result
    root = ElementTree.parse(report).getroot()
    for suite in root.iter("testsuite"):
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        result.failed += failed
        result.skipped += skipped
        result.passed += max(0, int(suite.get("tests", 0)) - failed - skipped)
    reasons = {skip.get("message", "") for skip in root.iter("skipped")}
    result.reasons = sorted(filter(None, reasons))
    return result


def describe_launch_packages() -> str:
    """Return which launch packages the tests used.

    ``import launch`` alone proves nothing: the repository's folder launch/ imports as an empty
    package.
    """
    try:
        is_real = importlib.util.find_spec("launch.actions") is not None
    except ModuleNotFoundError:
        is_real = False
    if is_real:
        return "the real launch packages"
    return "the launch packages are not installed: a strict test double"


def run_tier(tier: str, arguments: list[str]) -> TierResult:
    """Run one tier of tests and measure its time."""
    print(f"\n=== {tier}", flush=True)
    start = time.monotonic()
    result = run_tests(tier, arguments)
    result.seconds = time.monotonic() - start
    if tier == "launch" and result.passed:
        result.reasons.append(describe_launch_packages())
    if tier == "optimize" and result.passed:
        result.reasons.append(f"torch {importlib.metadata.version('torch')}")
    return result


def run_tiers(chosen: list[str], arguments: list[str]) -> list[TierResult]:
    """Run the tiers one after the other, and the checks in parallel with them."""
    checks = CheckRun() if "check" in chosen else None
    results: list[TierResult] = []
    for tier in chosen:
        if tier != "check":
            results.append(run_tier(tier, arguments))
        if checks and (checks.have_ended() or tier == chosen[-1]):
            results.append(checks.collect())
            checks = None
    return sorted(results, key=lambda result: (*TIERS, *EXPLICIT_TIERS).index(result.tier))


def main() -> int:
    """Run the tiers and print the summary; return 1 if a test failed or no test ran."""
    parser = argparse.ArgumentParser(prog="tiers.py")
    parser.add_argument("--tier", choices=(*TIERS, *EXPLICIT_TIERS))
    parser.add_argument("arguments", nargs="*", help="arguments for pytest, after --")
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    results = run_tiers([options.tier] if options.tier else list(TIERS), options.arguments)
    print("\n=== summary")
    for result in results:
        print(result.format_line())
    passed, failed, skipped = (
        sum(getattr(result, name) for result in results) for name in ("passed", "failed", "skipped")
    )
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed + skipped else 0


if __name__ == "__main__":
    sys.exit(main())
