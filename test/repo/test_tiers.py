"""How the tests of a tier are spread over workers, and what is said of a tier that did not run."""

from __future__ import annotations

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


def workers(*command: str) -> str:
    """Return the number of workers that pytest takes: the last one it is given."""
    pairs = itertools.pairwise(command)
    return [number for option, number in pairs if option == "-n"][-1]


@pytest.mark.parametrize(
    ("tier", "arguments", "cores", "expected"),
    [
        ("unit", [], 2, "2"),
        ("unit", ["-k", "name", "-x"], 2, "2"),
        ("unit", [], 64, str(tiers.MOST_WORKERS)),
        ("nodes", [], 2, "4"),
        ("nodes", ["--pdb"], 2, "0"),
        ("nodes", ["-s"], 2, "0"),
        ("gpu", [], 2, "0"),
    ],
)
def test_a_worker_for_each_processor(
    monkeypatch: pytest.MonkeyPatch, tier: str, arguments: list[str], cores: int, expected: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    assert workers(*tiers.spread(tier, arguments)) == expected


def test_the_user_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        called.append(command)
        return subprocess.CompletedProcess(command, tiers.NOTHING_COLLECTED)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(tiers, "RESULTS", ROOT / "nowhere")
    assert tiers.run_tests("unit", ["-n", "0"]).reasons == ["no test selected"]
    assert workers(*called[0]) == "0"
    assert called[0].index("xdist.plugin") < called[0].index("-n")


@pytest.mark.parametrize("wish", ["", "1"])
def test_where_no_bytecode_is_wanted_it_goes_into_the_cache(
    monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", wish)
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    made = tiers.environment()
    assert not made.get("PYTHONDONTWRITEBYTECODE")
    kept = made.get("PYTHONPYCACHEPREFIX", "")
    assert kept.startswith(str(ROOT / ".cache")) == bool(wish)


def test_checks_run_beside_the_tests_and_are_shown_whole(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tiers, "CHECKS", {"good": ["this"], "bad": ["nothing_of_this_name"]})

    order: list[str] = []

    class Noted(tiers.Checks):
        def __init__(self) -> None:
            order.append("check")
            super().__init__()

    def run_tier(tier: str, arguments: list[str]) -> tiers.Tally:
        order.append(tier)
        return tiers.Tally(tier, passed=1)

    monkeypatch.setattr(tiers, "Checks", Noted)
    monkeypatch.setattr(tiers, "run_tier", run_tier)
    check, *others = tiers.run_tiers(["check", "unit", "repo"], [])
    assert order == ["check", "unit", "repo"]
    assert [tally.tier for tally in others] == ["unit", "repo"]
    assert (check.tier, check.passed, check.failed) == ("check", 1, 1)
    assert check.reasons == ["bad complains"]
    assert "$ nothing_of_this_name\n" in capfd.readouterr().out
    (alone,) = tiers.run_tiers(["check"], [])
    assert (alone.passed, alone.failed) == (1, 1)


def test_a_tier_that_did_not_run_says_why() -> None:
    assert (
        tiers.Tally("gpu", skipped=3, reasons=["no driver"]).line().endswith("skipped: no driver")
    )
    assert "skipped: it has no tests" in tiers.Tally("gpu").line()
    assert "1 passed, 0 failed, 2 skipped" in tiers.Tally("gpu", passed=1, skipped=2).line()


def test_every_folder_of_tests_is_a_tier() -> None:
    folders = {
        file.relative_to(ROOT / "test").parts[0] for file in ROOT.glob("test/*/**/test_*.py")
    }
    assert folders <= {*tiers.TIERS, *tiers.APART}


def test_the_profile_alone_says_how_many_examples_are_drawn() -> None:
    own = re.compile(r"max_examples|derandomize|settings\(.*deadline")
    tests = [file for file in ROOT.glob("test/*/**/*.py") if file.name != Path(__file__).name]
    assert len(tests) > 200
    assert [file for file in tests if own.search(file.read_text())] == []
