"""Recipes in YAML: defaults, and errors at file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.core.measured_costs import Spread
from edge_inference.errors import ConfigError
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.recipe.recipe_file import Recipe, load_recipe
from edge_inference.optimize.recipe.target import RecipeTarget

_SHORT = """\
model: {function: nets.py:make, weights: net.pt}
data: {source: images}
input: {width: 32, height: 24, std: [255]}
target: {speedup: 3, max_accuracy_loss: 0.02}
output: mine
"""


def _load(folder: Path, text: str) -> Recipe:
    file = folder / "recipe.yaml"
    file.write_text(text, encoding="utf-8")
    return load_recipe(file)


def test_five_lines_are_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "nets.py").touch()
    recipe = _load(tmp_path, _SHORT)
    assert recipe.model.function == f"{tmp_path}/nets.py:make"
    assert recipe.model.weights == tmp_path / "net.pt"
    assert recipe.data.source == str(tmp_path / "images")
    assert recipe.input is not None
    assert (recipe.input.name, recipe.input.width, recipe.input.std) == ("image", 32, (255.0,))
    assert recipe.target.speedup == 3.0
    assert recipe.output == tmp_path / "mine"
    assert recipe.is_default_plan
    # Trained weights are given: the first step quantizes, which is the least invasive.
    assert recipe.plan[0].kind.name == "quantize"


def test_a_network_without_weights_is_trained_first(tmp_path: Path) -> None:
    recipe = _load(tmp_path, _SHORT.replace(", weights: net.pt", ""))
    assert [step.kind.name for step in recipe.plan][:2] == ["train", "quantize"]
    assert recipe.first_trainings == 1


def test_steps_take_what_they_do_not_set_from_the_recipe(tmp_path: Path) -> None:
    text = _SHORT + "seed: 7\ntraining: {epochs: 9, batch: 8}\nsteps: [train, {train: {epochs: 2}}]"
    first, second = _load(tmp_path, text).plan
    assert (first.settings.epochs, first.settings.batch, first.settings.seed) == (9, 8, 7)
    assert (second.settings.epochs, second.settings.batch, second.settings.seed) == (2, 8, 7)


def test_equal_recipes_have_one_digest(tmp_path: Path) -> None:
    first = _load(tmp_path, _SHORT).digest()
    assert _load(tmp_path, "# A comment.\n" + _SHORT).digest() == first
    assert _load(tmp_path, _SHORT + "seed: 1\n").digest() != first
    assert _load(tmp_path, _SHORT + "steps: [quantize]\n").digest() != first


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("output: mine", "ouput: mine"), "line 5, ouput: unknown key; did you mean 'output'?"),
        (("speedup: 3", "speedup: fast"), "line 4, target.speedup: expected a number"),
        (("speedup: 3", "speedup: -1"), "line 4, target.speedup: expected more than 0, got -1"),
        (("speedup: 3", "backend: trt"), "line 4, target.backend: expected one of ort"),
        (("width: 32", "width: 0"), "line 3, input.width: expected an integer from 1"),
        (("width: 32, ", ""), "line 3, input.width: missing; expected an integer"),
        (("data: {source: images}", "data: {}"), "line 2, data.source: missing; expected a text"),
        (("data: {source: images}", "data: images"), "line 2, data: expected a mapping"),
        (("source: images", "source: a, split: [0.5, 0.5]"), "expected a list of 3 entries"),
        (("source: images", "source: a, split: [1, 1, 1]"), "three shares above 0 with the sum 1"),
        (("source: images", "source: a, limit: 0"), "data.limit: expected at least 1, got 0"),
        (("function: nets.py:make, weights: net.pt", ""), "either a function"),
        (("function: nets.py:make, weights", "folder: m, weights"), "has its own weights"),
        (("output: mine", "seed: -1"), "line 5, seed: expected an integer from 0"),
        (("output: mine", "steps: [quantise]"), "unknown step 'quantise'; did you mean"),
        (("output: mine", "steps: []"), "expected a list of 1 to 100 steps"),
        (("output: mine", "steps: [3]"), "expected the name of a step, or name: settings, got 3"),
        (("output: mine", "steps:\n- quantize:\n    images: many"), "line 7, steps[0].quantize"),
        (("output: mine", "steps: [{quantize: {method: max}}]"), "method: expected one of"),
        (("output: mine", "steps:\n- quantize: {}\n  train: {}"), "begin each step with '- '"),
        (("output: mine", "training: {device: gpu}"), "training.device: expected one of cpu, cuda"),
    ],
)
def test_errors_name_line_and_key(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, _SHORT.replace(*change))
    assert str(error.value).startswith(f"{tmp_path / 'recipe.yaml'}, line ")
    assert expected in str(error.value)


def test_a_model_folder_cannot_be_trained(tmp_path: Path) -> None:
    text = "model: {folder: there}\ndata: {source: images}\nsteps: [{train: {}}]\n"
    with pytest.raises(
        ConfigError, match=r"line 3, .*train needs the network in PyTorch.*quantize"
    ):
        _load(tmp_path, text)


def test_the_stricter_of_two_bounds_holds() -> None:
    target = RecipeTarget(latency_ms=4.0, speedup=2.0, min_accuracy=0.9, max_accuracy_loss=0.05)
    assert target.floor(MeasuredAccuracy(98, 100)) == pytest.approx(0.93)
    assert target.floor(MeasuredAccuracy(91, 100)) == 0.9
    assert target.largest_s(Spread(0.006, 0.007)) == pytest.approx(0.003)
    assert target.largest_s(Spread(0.01, 0.01)) == pytest.approx(0.004)


def test_a_time_near_its_bound_is_doubtful() -> None:
    reference = Spread(0.004, 0.005)
    target = RecipeTarget(speedup=2.0)
    assert target.is_doubtful(Spread(0.0019, 0.002), reference)
    assert not target.is_doubtful(Spread(0.0015, 0.002), reference)
