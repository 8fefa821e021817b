"""Recommended settings: compare, apply, undo, and the command."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import pytest

from actuator_machine import CPU, DEADLINE_S, NVPMODEL_CONF, Workshop
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.platform import tune
from edge_inference.errors import ActuatorError
from edge_inference.platforms.actuators.actuator import ActuatorResult
from edge_inference.platforms.actuators.actuators import Actuators
from edge_inference.platforms.actuators.machine import Machine
from edge_inference.platforms.tuning import Tuning

SWAPPINESS = "proc/sys/vm/swappiness"
SYSCTL = "etc/sysctl.d/90-edge-inference.conf"
LIMITS = "etc/security/limits.d/90-edge-inference.conf"


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    made = Workshop(tmp_path)
    made.put(SWAPPINESS, 60)
    return made


def tuning(workshop: Workshop) -> Tuning:
    return Tuning(workshop.machine(), "anna")


def run_tune(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    tune.add_arguments(parser)
    return tune.run(parser.parse_args(arguments))


# Settings ---------------------------------------------------------------------------------------


def test_compare_changes_nothing(workshop: Workshop) -> None:
    before = workshop.content()
    advice = {each.actuator: each for each in tuning(workshop).compare()}
    assert workshop.content() == before
    assert {name: (each.current, each.recommended) for name, each in advice.items()} == {
        "power_mode": ("15W", "MAXN"),
        "cpu_governor": ("schedutil", "performance"),
        "jetson_clocks": ("off", "on"),
        "swappiness": ("60", "10"),
        "realtime_limits": ("system default", "anna"),
    }
    assert all(each.steps and not each.problem for each in advice.values())


def test_apply_and_undo(workshop: Workshop) -> None:
    before = workshop.settings()
    outcomes = tuning(workshop).apply()
    assert {outcome.result for outcome in outcomes} == {ActuatorResult.SET}
    assert len(outcomes) == 5
    assert workshop.get("var/lib/nvpmodel/status") == "pmode:0000"
    assert workshop.get(SWAPPINESS) == "10"
    assert workshop.get(SYSCTL).splitlines()[-1] == "vm.swappiness = 10"
    assert workshop.get(LIMITS).splitlines()[1:] == ["anna - rtprio 98", "anna - memlock unlimited"]
    assert not any(each.steps for each in tuning(workshop).compare())
    undone = tuning(workshop).undo()
    assert {outcome.result for outcome in undone} == {ActuatorResult.RESTORED}
    assert workshop.settings() == before
    assert tuning(workshop).undo() == []


def test_undo_after_two_applies_restores_the_first_original(workshop: Workshop) -> None:
    before = workshop.settings()
    tuning(workshop).apply()
    assert tuning(workshop).apply() == []
    workshop.put(SWAPPINESS, 30)
    (outcome,) = tuning(workshop).apply()
    assert outcome.actuator == "swappiness"
    tuning(workshop).undo()
    assert workshop.settings() == before


def test_apply_after_a_reboot_sets_again(workshop: Workshop) -> None:
    before = workshop.settings()
    tuning(workshop).apply()
    workshop.put("proc/sys/kernel/random/boot_id", "second")
    for name, data in before.items():
        if name.startswith("sys/"):
            (workshop.root / name).write_bytes(data)
    workshop.put(f"{CPU}/policy0/scaling_governor", "performance")  # as a new system sets it
    outcomes = tuning(workshop).apply()
    assert [outcome.actuator for outcome in outcomes] == ["cpu_governor", "jetson_clocks"]
    tuning(workshop).undo()
    assert workshop.get(f"{CPU}/policy0/scaling_governor") == "performance"
    assert workshop.get(f"{CPU}/policy4/scaling_governor") == "schedutil"
    assert workshop.get("var/lib/nvpmodel/status") == "pmode:0002"
    assert workshop.get(SWAPPINESS) == "60"
    assert not (workshop.root / LIMITS).exists()


def test_existing_files_are_restored(workshop: Workshop) -> None:
    workshop.put(LIMITS, "bert - rtprio 20")
    tuning(workshop).apply()
    tuning(workshop).undo()
    assert workshop.get(LIMITS) == "bert - rtprio 20"


def test_mode_that_needs_a_reboot_is_not_set(workshop: Workshop) -> None:
    workshop.put("etc/nvpmodel.conf", NVPMODEL_CONF.replace("NAME=7W", "NAME=MAXN_SUPER"))
    outcomes = {outcome.actuator: outcome for outcome in tuning(workshop).apply()}
    assert "MAXN_SUPER needs a reboot" in outcomes["power_mode"].message
    assert outcomes["jetson_clocks"].result is ActuatorResult.SET
    assert not (workshop.root / "rebooted").exists()


@pytest.mark.parametrize("user", ["", "anna bert", "anna\n*", "*", "#"])
def test_invalid_user(workshop: Workshop, user: str) -> None:
    outcomes = Tuning(workshop.machine(), user).apply()
    assert "realtime_limits" not in {outcome.actuator for outcome in outcomes}
    assert not (workshop.root / LIMITS).exists()


def test_one_writer(workshop: Workshop) -> None:
    running = Actuators(["cpu_clock_cap"], machine=workshop.machine())
    running.cap_clocks(0.5)
    assert running.wait_until_idle(DEADLINE_S)
    held = workshop.settings()
    for action in (tuning(workshop).apply, tuning(workshop).undo):
        with pytest.raises(ActuatorError, match=f"process {os.getpid()} already sets this machine"):
            action()
    assert workshop.settings() == held
    assert running.close(DEADLINE_S)


def test_machine_without_jetson_tools(tmp_path: Path) -> None:
    bare = Tuning(Machine(tmp_path), "anna")
    problems = {each.actuator for each in bare.compare() if each.problem}
    assert problems == {"power_mode", "cpu_governor", "jetson_clocks", "swappiness"}
    (outcome,) = bare.apply()
    assert (outcome.actuator, outcome.result) == ("realtime_limits", ActuatorResult.SET)


# The command ------------------------------------------------------------------------------------


def test_the_command_shows(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    before = workshop.content()
    assert run_tune("--root", str(workshop.root), "--user", "anna") == 0
    output = capsys.readouterr().out
    assert workshop.content() == before
    assert "vm.swappiness" in output
    assert "not available: jetson_clocks: not found on this machine" in " ".join(output.split())


def test_the_command_sets_and_undoes(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    before = workshop.settings()
    root = ("--root", str(workshop.root))
    assert run_tune(*root, "--user", "@robots", "--apply") == 0
    output = capsys.readouterr().out
    assert "swappiness: set to 10\n" in output
    assert "not available: nvpmodel: not found on this machine" in " ".join(output.split())
    assert "@robots - rtprio 98" in workshop.get(LIMITS)
    assert workshop.calls() == []
    assert run_tune(*root, "--undo") == 0
    assert "swappiness: restored to 60\n" in capsys.readouterr().out
    assert workshop.settings() == before
    assert run_tune(*root, "--undo") == 0
    assert capsys.readouterr().out == "nothing to undo\n"


def test_command_reports_failures(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    (workshop.root / LIMITS).with_suffix(".new").mkdir(parents=True)
    assert run_tune("--root", str(workshop.root), "--user", "anna", "--apply") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edge-inference: realtime_limits: ")
    assert "Is a directory while writing it" in line


def test_command_prints_json(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    root = ("--root", str(workshop.root), "--user", "anna", "--json")
    assert run_tune(*root) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {each["actuator"]: each["current"] for each in shown}["swappiness"] == "60"
    run_tune(*root, "--apply")
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"swappiness": "set", "cpu_governor": "set"}.items() <= {
        each["actuator"]: each["result"] for each in told if "result" in each
    }.items()


@pytest.mark.parametrize("verb", ["--apply", "--undo"])
@pytest.mark.parametrize("modules", ["", "/ws/lib"])
def test_apply_needs_root(monkeypatch: pytest.MonkeyPatch, verb: str, modules: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["/ws/bin/edge-inference"])
    monkeypatch.setenv("PYTHONPATH", modules)
    with pytest.raises(UsageError) as refusal:
        run_tune(verb)
    environment = 'env "PYTHONPATH=$PYTHONPATH" ' if modules else ""
    assert str(refusal.value) == (
        f"{verb} needs root; run: sudo {environment}/ws/bin/edge-inference platform tune {verb}"
    )


def test_invalid_root(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a folder"):
        run_tune("--root", str(tmp_path / "nowhere"))
