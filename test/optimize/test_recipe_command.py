"""The command ``optimize run``: what it prints, its exit codes, and bad input in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import recipe_kit
from edge_inference.cli.command_line import run
from edge_inference.core.models.model import load_model

_STEPS = "steps: [train, quantize]"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a work folder of all tests: equal steps are made once."""
    return tmp_path_factory.mktemp("work")


def _write(folder: Path, target: str) -> str:
    return str(recipe_kit.write_recipe(folder, f"target: {{{target}}}", _STEPS, "output: out"))


def test_a_met_target_ends_with_0(
    tmp_path: Path, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Less than the speed of fp32 itself, and more accuracy than could be lost.
    file = _write(tmp_path, "speedup: 0.01, max_accuracy_loss: 0.5")
    assert run(["optimize", "run", file, "--work", str(work), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["plan"]["steps"][0]["title"] == "train"
    assert any("s left" in line["progress"]["phase"] for line in lines if "progress" in line)
    decisions = [line["decision"] for line in lines if "decision" in line]
    assert [each["outcome"] for each in decisions] == ["kept", "kept", "stopped", "chosen"]
    summary = lines[-1]["summary"]
    assert summary["met"] is True
    assert load_model(Path(summary["output"])).name == "out"
    assert run(["optimize", "run", file, "--work", str(work)]) == 0  # the same for people
    shown = capsys.readouterr().out
    assert "at most about" in shown
    assert "fp32, test part" in shown
    assert f"PASS. {tmp_path / 'out'} on " in shown


def test_a_missed_target_ends_with_3_and_keeps_the_best(
    tmp_path: Path, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _write(tmp_path, "latency_ms: 1.0e-6, max_accuracy_loss: 0.5")
    assert run(["optimize", "run", file, "--work", str(work), "--json"]) == 3
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]
    assert summary["met"] is False
    assert "at most 1e-06 ms is needed" in summary["misses"][0]
    assert load_model(tmp_path / "out").variants


def test_a_dry_run_tells_the_cost_only(
    tmp_path: Path, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _write(tmp_path, "speedup: 2")
    assert run(["optimize", "run", file, "--work", str(work), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out.splitlines()[-1])["plan"]
    titles = [step["title"] for step in plan["steps"]]
    assert titles == ["train", "network in fp32", "quantize", "validate"]
    assert plan["seconds"] == pytest.approx(sum(step["seconds"] for step in plan["steps"]), abs=1)
    assert not (tmp_path / "out").exists()


def test_clean_forgets_the_finished_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _write(tmp_path, "speedup: 0.01, max_accuracy_loss: 0.5")
    command = ["optimize", "run", file, "--work", str(tmp_path / "work"), "--json"]

    def was_stored(*options: str) -> bool:
        assert run([*command, *options]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        decisions = [line["decision"] for line in lines if "decision" in line]
        return bool(decisions[0]["was_stored"])

    assert [was_stored(), was_stored(), was_stored("--clean")] == [False, True, False]


def test_bad_input_is_one_line(
    tmp_path: Path, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error_of(*arguments: str) -> str:
        assert run(["optimize", "run", *arguments, "--work", str(work)]) == 1
        text = capsys.readouterr().err
        assert len(text.splitlines()) == 1
        return text

    assert "absent.yaml: cannot be read" in error_of(str(tmp_path / "absent.yaml"))
    file = _write(tmp_path, "speed: 2")
    assert "line 4, target.speed: unknown key; did you mean 'speedup'?" in error_of(file)
    file = _write(tmp_path, "speedup: 2")
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    assert "out: it exists already" in error_of(file)
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"
