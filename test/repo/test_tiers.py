"""How the tests of a tier are divided among workers, and how a skipped tier is reported."""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tree import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import tiers


def worker_count(*command: str) -> str:
    """Return the number of workers that pytest uses: the last ``-n`` of its command line."""
    pairs = itertools.pairwise(command)
    return [number for option, number in pairs if option == "-n"][-1]


@pytest.mark.parametrize(
    ("tier", "arguments", "cores", "expected"),
    [
        ("unit", [], 2, "2"),
        ("unit", ["-k", "name", "-x"], 2, "2"),
        ("unit", [], 64, str(tiers.MAX_WORKERS)),
        ("nodes", [], 2, "4"),
        ("nodes", ["--pdb"], 2, "0"),
        ("nodes", ["-s"], 2, "0"),
        ("gpu", [], 2, "0"),
        ("campaign", [], 2, "0"),
        ("optimize", [], 2, "2"),
    ],
)
def test_a_worker_for_each_processor(
    monkeypatch: pytest.MonkeyPatch, tier: str, arguments: list[str], cores: int, expected: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    assert worker_count(*tiers.worker_options(tier, arguments)) == expected


def test_arguments_of_the_user_override_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        return subprocess.CompletedProcess(command, tiers.NO_TESTS_COLLECTED)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(tiers, "RESULTS", ROOT / "nowhere")
    assert tiers.run_tests("unit", ["-n", "0"]).reasons == ["no test selected"]
    assert worker_count(*commands[0]) == "0"
    assert commands[0].index("xdist.plugin") < commands[0].index("-n")


@pytest.mark.parametrize("value", ["", "1"])
def test_without_bytecode_in_the_source_folders_it_is_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", value)
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    environment = tiers.make_test_environment()
    assert not environment.get("PYTHONDONTWRITEBYTECODE")
    folder = environment.get("PYTHONPYCACHEPREFIX", "")
    assert folder.startswith(str(ROOT / ".cache")) == bool(value)


def test_checks_run_in_parallel_with_tests_and_their_whole_output_is_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tiers, "CHECKS", {"good": ["this"], "bad": ["nothing_of_this_name"]})

    order: list[str] = []

    class RecordedCheckRun(tiers.CheckRun):
        def __init__(self) -> None:
            order.append("check")
            super().__init__()

    def run_tier(tier: str, arguments: list[str]) -> tiers.TierResult:
        order.append(tier)
        return tiers.TierResult(tier, passed=1)

    monkeypatch.setattr(tiers, "CheckRun", RecordedCheckRun)
    monkeypatch.setattr(tiers, "run_tier", run_tier)
    check, *others = tiers.run_tiers(["check", "unit", "repo"], [])
    assert order == ["check", "unit", "repo"]
    assert [result.tier for result in others] == ["unit", "repo"]
    assert (check.tier, check.passed, check.failed) == ("check", 1, 1)
    assert check.reasons == ["bad failed"]
    assert "$ nothing_of_this_name\n" in capfd.readouterr().out
    (alone,) = tiers.run_tiers(["check"], [])
    assert (alone.passed, alone.failed) == (1, 1)


def test_a_tier_that_did_not_run_has_a_reason() -> None:
    assert (
        tiers.TierResult("gpu", skipped=3, reasons=["no driver"])
        .format_line()
        .endswith("skipped: no driver")
    )
    assert "skipped: it has no tests" in tiers.TierResult("gpu").format_line()
    assert (
        "1 passed, 0 failed, 2 skipped"
        in tiers.TierResult("gpu", passed=1, skipped=2).format_line()
    )


def test_without_torch_the_tests_of_optimizing_are_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        raise AssertionError(f"expected no tests, got {command}")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(tiers.importlib.util, "find_spec", lambda name: None)
    line = tiers.run_tests("optimize", []).format_line()
    assert "skipped: torch is not installed" in line
    assert "make test TIER=optimize" in line


def test_a_run_of_all_tiers_needs_no_torch() -> None:
    assert "optimize" in tiers.EXPLICIT_TIERS
    assert set(tiers.TIERS) & set(tiers.EXPLICIT_TIERS) == set()


def test_every_folder_of_tests_is_a_tier() -> None:
    folders = {
        file.relative_to(ROOT / "test").parts[0] for file in ROOT.glob("test/*/**/test_*.py")
    }
    assert folders <= {*tiers.TIERS, *tiers.EXPLICIT_TIERS}


def test_only_the_profile_sets_the_number_of_examples() -> None:
    own = re.compile(r"max_examples|derandomize|settings\(.*deadline")
    tests = [file for file in ROOT.glob("test/*/**/*.py") if file.name != Path(__file__).name]
    assert len(tests) > 200
    assert [file for file in tests if own.search(file.read_text())] == []


def test_the_slowest_files_exist() -> None:
    source = (ROOT / "test" / "conftest.py").read_text()
    (names,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SLOWEST_FILES"
    ]
    assert names
    assert [name for name in names if not [*ROOT.glob(f"test/*/**/{name}")]] == []
