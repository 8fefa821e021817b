"""The steps of a recipe: their order, what is kept, rolled back, and found again."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import recipe_kit
from edge_inference.core.measured_costs import Spread
from edge_inference.core.models.model import load_model
from edge_inference.errors import CacheError, CancelledError, ConfigError, SourceError
from edge_inference.optimize.recipe import recipe_inputs, recipe_run
from edge_inference.optimize.recipe.recipe_file import load_recipe
from edge_inference.optimize.recipe.recipe_report import RecipePlan, RecipeReport
from edge_inference.optimize.recipe.step_store import folder_digest
from edge_inference.optimize.recipe.step_table import STEP_KINDS

_ALL = "target: {speedup: 1000, max_accuracy_loss: 0.1}"


@pytest.fixture(autouse=True)
def _more_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (recipe_kit.NARROW, recipe_kit.QUANTIZE_NARROW):
        monkeypatch.setitem(STEP_KINDS, kind.name, kind)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a work folder of all tests: equal steps are made once."""
    return tmp_path_factory.mktemp("work")


def _outcomes(report: RecipeReport) -> list[tuple[str, str]]:
    return [(each.title, each.outcome) for each in report.decisions]


def test_all_steps_run_in_order_and_the_best_is_kept(tmp_path: Path, work: Path) -> None:
    file = recipe_kit.write_recipe(tmp_path, _ALL, "steps: [train, quantize, {narrow: {width: 8}}]")
    report = recipe_kit.run(file, work)
    assert _outcomes(report) == [
        ("train", "kept"),
        ("network in fp32", "kept"),
        ("quantize", "kept"),
        ("narrow", "kept"),
        ("plan", "stopped"),
        ("result", "chosen"),
    ]
    # The deployment before was repeated on the narrower network.
    assert report.chosen.deployment.precision == "int8"
    model = load_model(tmp_path / "out")
    assert model.calibration is not None
    assert model.labels == tuple(recipe_kit.Patterns().classes)
    assert not report.is_met
    assert "times as fast" in report.misses[0]
    assert report.sha256 == folder_digest(tmp_path / "out")
    other = recipe_kit.write_recipe(
        tmp_path, _ALL, "steps: [train, {narrow: {width: 8}}, quantize]"
    )
    assert recipe_kit.run(other, work, tmp_path / "out 2").sha256 == report.sha256


def test_it_is_chosen_on_one_part_and_reported_on_another(tmp_path: Path, work: Path) -> None:
    base = recipe_kit.RECIPE.replace("recipe_kit:Patterns", "recipe_kit:Patterns, split: [{}]")
    base = base.replace("{}", "0.6, 0.1, 0.3")
    file = recipe_kit.write_recipe(tmp_path, _ALL, "steps: [train, quantize]", base=base)
    report = recipe_kit.run(file, work)
    assert report.chosen.accuracy.total == 24
    assert report.tested.accuracy.total == 72
    judged = [each.figures["images"] for each in report.decisions if "images" in each.figures]
    assert judged == [24] * (len(judged) - 1) + [72]


def test_a_time_that_is_not_confirmed_does_not_meet_the_target(tmp_path: Path) -> None:
    calls: list[int] = []

    def noisy(files: Mapping[str, Path], *rest: Any, **further: Any) -> dict[str, Spread]:
        calls.append(1)
        # The second time both are slower: the ratio is better, and the point misses the bound.
        point, reference = (19e-6, 25e-6) if len(calls) % 2 else (21e-6, 50e-6)
        return {"point": Spread(point, point), "reference": Spread(reference, reference)}

    file = recipe_kit.write_recipe(
        tmp_path, "target: {latency_ms: 0.02, max_accuracy_loss: 0.5}", "steps: [train, quantize]"
    )
    report = recipe_kit.run(file, tmp_path / "own_work", measure=noisy)
    assert report.chosen.is_confirmed is False
    assert not report.is_met
    assert ("plan", "stopped") in _outcomes(report)
    assert "all steps are done" in report.decisions[-2].reason


def test_it_stops_when_the_target_is_met(tmp_path: Path, work: Path) -> None:
    file = recipe_kit.write_recipe(
        tmp_path,
        "target: {speedup: 1.2, max_accuracy_loss: 0.1}",
        "steps: [train, quantize, {narrow: {width: 8}}]",
    )
    report = recipe_kit.run(file, work)
    assert _outcomes(report)[2:] == [
        ("quantize", "kept"),
        ("plan", "stopped"),
        ("result", "chosen"),
    ]
    assert report.is_met
    assert "the target is met by int8" in report.decisions[3].reason


def test_a_step_that_breaks_the_floor_is_rolled_back(tmp_path: Path, work: Path) -> None:
    file = recipe_kit.write_recipe(
        tmp_path, _ALL, "steps: [train, {narrow: {width: 1}}, {narrow: {width: 8}}]"
    )
    report = recipe_kit.run(file, work)
    assert _outcomes(report)[2:4] == [("narrow", "rolled back"), ("narrow", "kept")]
    assert "less than the 90.0% needed" in report.decisions[2].reason
    assert report.chosen.accuracy.share >= 0.9
    lines = (report.log_folder / "decisions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["outcome"] for line in lines].count("rolled back") == 1
    text = (report.log_folder / "decisions.md").read_text(encoding="utf-8")
    assert "2. narrow: rolled back" in text


def test_a_step_is_judged_with_the_one_that_repairs_it(tmp_path: Path, work: Path) -> None:
    hardly = "{narrow: {width: 8, training: {learning_rate: 1.0e-6}}}"
    file = recipe_kit.write_recipe(tmp_path, _ALL, f"steps: [train, {hardly}, train]")
    report = recipe_kit.run(file, work)
    assert _outcomes(report)[2:4] == [("narrow", "judged with the next step"), ("train", "kept")]
    assert report.chosen.speedup > 2  # it went on with the narrow network


def test_other_code_with_the_same_weights_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "own_dropout.py"
    text = (
        "import recipe_kit\nfrom torch import nn\n\ndef make(unused=0):\n"
        "    return nn.Sequential(recipe_kit.make_network(8), nn.Dropout(0.1))\n"
    )
    code.write_text(text)
    base = recipe_kit.RECIPE.replace(
        "recipe_kit:make_network, arguments: {width: 16}", "own_dropout.py:make"
    )

    def was_stored(base: str) -> bool:
        monkeypatch.delitem(sys.modules, "own_dropout", raising=False)
        file = recipe_kit.write_recipe(tmp_path, _ALL, "steps: [train]", base=base)
        output = tmp_path / f"out{len([*tmp_path.iterdir()])}"
        return recipe_kit.run(file, tmp_path / "work", output).decisions[0].was_stored

    assert not was_stored(base)
    assert was_stored(base)
    code.write_text(text.replace("0.1", "0.7"))
    assert not was_stored(base)
    assert was_stored(base)
    assert not was_stored(base.replace(":make", ":make, arguments: {unused: 1}"))


def test_what_follows_a_change_is_made_again(tmp_path: Path) -> None:
    own = tmp_path / "work"

    def stored(*lines: str, base: str = recipe_kit.RECIPE) -> list[bool]:
        file = recipe_kit.write_recipe(tmp_path, _ALL, *lines, base=base)
        report = recipe_kit.run(file, own, tmp_path / f"out{len([*tmp_path.iterdir()])}")
        return [each.was_stored for each in report.decisions if each.step]

    steps = "steps: [train, quantize, {narrow: {width: 8}}]"
    assert stored(steps) == [False] * 3
    assert stored(steps) == [True] * 3
    assert stored(steps.replace("quantize", "{quantize: {images: 7}}")) == [True, False, True]
    assert stored(steps.replace("width: 8", "width: 4")) == [True, True, False]
    assert stored("seed: 1", steps) == [False] * 3
    other = recipe_kit.RECIPE.replace("Patterns", "other_patterns")
    assert stored(steps, base=other) == [False] * 3


def test_a_network_below_the_floor_ends_the_recipe(tmp_path: Path, work: Path) -> None:
    file = recipe_kit.write_recipe(
        tmp_path, "target: {speedup: 1.1, min_accuracy: 1.0}", "steps: [quantize]"
    )
    report = recipe_kit.run(file, work)  # it is not trained at all
    assert _outcomes(report) == [
        ("network in fp32", "kept"),
        ("plan", "stopped"),
        ("result", "chosen"),
    ]
    assert "not accurate enough itself" in report.decisions[1].reason
    assert not report.is_met


def test_a_step_that_cannot_run_leaves_the_others(tmp_path: Path, work: Path) -> None:
    prune = "{prune: {ratio: 0.1, round_to: 512}}"  # no layer has so many channels
    file = recipe_kit.write_recipe(tmp_path, _ALL, f"steps: [train, {prune}, quantize]")
    report = recipe_kit.run(file, work)
    assert _outcomes(report)[2:4] == [("prune 0.1", "failed"), ("quantize", "kept")]


def test_int8_that_was_lost_is_tried_again_on_the_next_network(tmp_path: Path, work: Path) -> None:
    file = recipe_kit.write_recipe(
        tmp_path, _ALL, "steps: [train, quantize_narrow, {narrow: {width: 8}}]"
    )
    report = recipe_kit.run(file, work)
    assert _outcomes(report)[2:4] == [("quantize_narrow", "rolled back"), ("narrow", "kept")]
    assert report.chosen.deployment.precision == "int8"


def test_a_precision_that_nothing_computes_in_fails(tmp_path: Path, work: Path) -> None:
    file = recipe_kit.write_recipe(
        tmp_path, _ALL, "steps: [train, {quantize: {keep_fp32: [Conv, Gemm]}}]"
    )
    report = recipe_kit.run(file, work)
    assert _outcomes(report)[2] == ("quantize", "failed")
    assert "no layer of the network can compute in int8" in report.decisions[2].reason


def test_mixed_precision_is_a_step(tmp_path: Path, work: Path) -> None:
    file = recipe_kit.write_recipe(
        tmp_path, _ALL, "steps: [train, {mixed_precision: {max_seconds: 1, images: 8}}]"
    )
    report = recipe_kit.run(file, work)
    title, outcome = _outcomes(report)[2]
    assert title == "mixed_precision"
    assert outcome in ("kept", "not faster", "rolled back")  # it is chosen by measured times


def test_a_model_folder_is_quantized(tmp_path: Path, work: Path) -> None:
    first = recipe_kit.write_recipe(tmp_path, _ALL, "steps: [train]")
    recipe_kit.run(first, work, tmp_path / "trained")
    file = recipe_kit.write_recipe(
        tmp_path,
        "target: {speedup: 1.2, max_accuracy_loss: 0.1}",
        base="model: {folder: trained}\ndata: {source: recipe_kit:Patterns}\n",
    )
    report = recipe_kit.run(file, work, tmp_path / "quantized")
    assert ("quantize", "kept") in _outcomes(report)
    assert report.is_met


def test_an_output_of_others_is_not_touched(tmp_path: Path, work: Path) -> None:
    file = recipe_kit.write_recipe(tmp_path, _ALL, "steps: [train]")
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="out: it exists already"):
        recipe_kit.run(file, work)
    (tmp_path / "out").rmdir()
    recipe_kit.run(file, work)
    recipe_kit.run(file, work)  # its own result
    (tmp_path / "out" / "labels.txt").write_text("changed\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="it exists already, and is not the unchanged result"):
        recipe_kit.run(file, work)


def test_a_second_process_is_refused(tmp_path: Path, work: Path) -> None:
    file = recipe_kit.write_recipe(tmp_path, _ALL, "steps: [train]")

    def try_again(plan: RecipePlan) -> None:
        with pytest.raises(CacheError, match="another process runs this recipe"):
            recipe_kit.run(file, work)

    assert recipe_kit.run(file, work, started=try_again).output.is_dir()


def test_the_cost_is_told_before_the_start(tmp_path: Path) -> None:
    work = tmp_path / "work"
    file = recipe_kit.write_recipe(tmp_path, _ALL, "steps: [train, quantize]")
    plan = recipe_run.plan_recipe(load_recipe(file), work)
    assert [each.title for each in plan.costs] == [
        "train",
        "network in fp32",
        "quantize",
        "validate",
    ]
    assert plan.seconds > 0
    assert not (tmp_path / "out").exists()
    order: list[str] = []
    recipe_kit.run(
        file,
        work,
        progress=lambda phase, fraction: order.append(phase),
        started=lambda plan: order.append("plan"),
    )
    assert order[0] == "plan"
    assert any("step 2 of 4, network in fp32: " in phase for phase in order)
    assert all("s left" in phase for phase in order[1:])


def test_bad_input_is_told_before_any_step(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expect(kind: type[Exception], text: str, *lines: str, base: str) -> None:
        file = recipe_kit.write_recipe(tmp_path, *lines, base=base)
        with pytest.raises(kind, match=text):
            recipe_kit.run(file, work)
        assert not (tmp_path / "out").exists()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "empty").mkdir()
    base = recipe_kit.RECIPE
    expect(ConfigError, "cuda is not available", "steps: [{train: {device: cuda}}]", base=base)
    empty = base.replace("recipe_kit:Patterns", "empty")
    shape = "input: {width: 8, height: 8}"
    expect(SourceError, "empty", shape, base=empty)
    absent = base.replace("recipe_kit:make_network", "recipe_kit:absent")
    expect(ConfigError, "recipe_kit has no 'absent'", base=absent)
    weights = base.replace("arguments: {width: 16}", "weights: none.pt")
    expect(Exception, "none.pt: cannot be read", base=weights)


def test_a_full_disk_leaves_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = recipe_kit.write_recipe(tmp_path, _ALL, "steps: [train]")

    def fail(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(recipe_inputs, "save_network", fail)
        with pytest.raises(CacheError, match="No space left on device"):
            recipe_kit.run(file, tmp_path / "work")
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "work").glob("train-*"))
    assert recipe_kit.run(file, tmp_path / "work").output.is_dir()


def test_it_can_be_cancelled(tmp_path: Path) -> None:
    file = recipe_kit.write_recipe(tmp_path, _ALL, "steps: [train]")
    with pytest.raises(CancelledError):
        recipe_kit.run(file, tmp_path / "work", cancelled=lambda: True)
    assert not (tmp_path / "out").exists()


def test_a_time_near_the_bound_is_measured_twice(tmp_path: Path, work: Path) -> None:
    slower = [1.0, 1.0]

    def measure(files: Any, *further: Any, **named: Any) -> Any:
        """Make every second measurement of int8 slower."""
        times = recipe_kit.time_by_size(files, *further, **named)
        if files["point"] != files["reference"]:
            slower.reverse()
            median_s = times["point"].median_s * slower[0]
            times["point"] = Spread(median_s, median_s)
        return times

    first = recipe_kit.write_recipe(tmp_path, _ALL, "steps: [train, quantize]")
    speedup = recipe_kit.run(first, work).chosen.speedup

    def run(seed: int) -> RecipeReport:
        file = recipe_kit.write_recipe(
            tmp_path,
            f"target: {{speedup: {speedup * 0.95:.6f}, max_accuracy_loss: 0.1, runs: {seed}}}",
            "steps: [train, quantize]",
        )
        return recipe_kit.run(file, work, tmp_path / f"out {seed}", measure=measure)

    confirmed = run(30)
    assert (confirmed.chosen.is_confirmed, confirmed.is_met) == (True, True)
    slower[:] = [1.2, 1.0]
    refuted = run(31)  # another number of runs: measured anew
    assert (refuted.chosen.is_confirmed, refuted.is_met) == (False, False)
    assert refuted.chosen.speedup == pytest.approx(speedup / 1.2)
