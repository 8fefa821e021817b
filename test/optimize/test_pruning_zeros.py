"""Unstructured and iterative pruning: zeros that stay, steps that are undone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from edge_inference.errors import ConfigError, ModelError
from edge_inference.optimize.pruning.iterative import (
    IterativePruning,
    fine_tune,
    prune_iteratively,
)
from edge_inference.optimize.pruning.network_figures import sparsity
from edge_inference.optimize.pruning.structured import StructuredPruning
from edge_inference.optimize.pruning.unstructured import (
    UnstructuredPruning,
    prune_unstructured,
    two_of_four_mask,
)
from edge_inference.optimize.training.evaluate import evaluate
from edge_inference.optimize.training.labeled_dataset import DatasetSplit, split_dataset
from edge_inference.optimize.training.torch_model import TorchModel
from edge_inference.optimize.training.train import TrainingSettings, train
from optimize_kit import digits, small_model
from pruning_networks import Grouped, seeded

TRAINING = TrainingSettings(epochs=1, batch=16, learning_rate=1e-2)


@pytest.fixture(scope="module")
def split() -> DatasetSplit:
    return split_dataset(digits(600))


@pytest.fixture(scope="module")
def trained(split: DatasetSplit) -> TorchModel:
    return train(small_model(), split.train, replace(TRAINING, epochs=2)).model


def zeros(model: TorchModel) -> dict[str, Any]:
    return {name: each == 0 for name, each in model.module.named_parameters() if each.ndim > 1}


def test_zeros_are_those_of_least_magnitude_by_scope() -> None:
    model = small_model()
    with torch.no_grad():
        model.module[0].weight.mul_(100)  # no weight of the first layer is small now
    whole = prune_unstructured(model, UnstructuredPruning(0.6), runs=None)
    assert whole.pruned == pytest.approx(0.6, abs=0.001) == whole.after.sparsity
    shares = {layer.name: layer.sparsity for layer in whole.layers}
    assert shares["0"] == 0.0 < shares["6"] and whole.before.sparsity == 0.0
    each = prune_unstructured(model, UnstructuredPruning(0.6, scope="layer"), runs=None)
    assert all(layer.sparsity == pytest.approx(0.6, abs=0.01) for layer in each.layers)
    kept = torch.cat([value[value != 0].abs() for value in _weights(whole.model)[1:]])
    gone = torch.cat(
        [
            given[pruned == 0].abs()
            for given, pruned in zip(_weights(model), _weights(whole.model), strict=True)
        ]
    )
    assert kept.min() >= gone.max()
    assert sparsity(model.module)[1] == 0.0 and whole.after.macs == whole.before.macs


def _weights(model: TorchModel) -> list[Any]:
    return [each.detach() for each in model.module.parameters() if each.ndim > 1]


def test_two_of_each_four_inputs_are_zero() -> None:
    weight = torch.tensor(
        [[[[1.0]], [[-4.0]], [[3.0]], [[-2.0]], [[5.0]], [[5.0]], [[5.0]], [[0]]]]
    )
    assert two_of_four_mask(weight).flatten().tolist() == [0, 1, 1, 0, 1, 1, 0, 0]
    report = prune_unstructured(seeded(Grouped), UnstructuredPruning(pattern="2:4"), runs=None)
    for name in ("wide.0", "grouped.0", "point.0"):
        blocks = report.model.module.get_submodule(name).weight.movedim(1, -1).reshape(-1, 4)
        assert ((blocks == 0).sum(1) == 2).all()
    kept = {layer.name: layer.reason for layer in report.kept}
    assert list(kept) == ["stem.0"] and "multiple of four inputs, it has 1" in kept["stem.0"]
    assert report.model.module.stem[0].weight.count_nonzero() == 16 * 9


def test_zeros_stay_through_the_training_and_become_permanent(
    split: DatasetSplit, trained: TorchModel
) -> None:
    settings = UnstructuredPruning(0.7)
    plain = prune_unstructured(trained, settings, runs=None)
    tuned = prune_unstructured(
        trained, settings, split=split, training=TRAINING, evaluated=split.test, runs=None
    )
    before, after = zeros(plain.model), zeros(tuned.model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(_weights(plain.model)[0], _weights(tuned.model)[0])
    assert set(tuned.model.module.state_dict()) == set(trained.module.state_dict())
    assert tuned.after.accuracy is not None
    assert tuned.after.accuracy.share > evaluate(plain.model, split.test).share
    with pytest.raises(ConfigError, match="fills the zeros"):
        fine_tune(tuned, split, TRAINING)


def test_the_schedules() -> None:
    linear = IterativePruning(0.1, 0.5, 5, "linear").targets()
    assert linear == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    cubic = IterativePruning(0.1, 0.5, 5, "cubic").targets()
    assert cubic == pytest.approx([0.1, 0.33125, 0.45, 0.49375, 0.5])
    assert IterativePruning(steps=1).targets() == [0.5]


def test_channels_go_step_by_step_from_the_given_network(
    split: DatasetSplit, trained: TorchModel
) -> None:
    phases: list[tuple[str, float | None]] = []
    report = prune_iteratively(
        trained,
        split,
        IterativePruning(0.2, 0.5, 3, "linear", structured=StructuredPruning(round_to=4)),
        TRAINING,
        lambda phase, fraction: phases.append((phase, fraction)),
        runs=None,
    )
    assert [step.pruned for step in report.steps] == pytest.approx([0.2, 0.35, 0.5], abs=0.02)
    widths = [(layer.channels_before, layer.channels_after) for layer in report.layers]
    assert all(after < before and after % 4 == 0 for before, after in widths[:-1])
    assert widths[-1] == (10, 10) and report.pruned == report.steps[-1].pruned
    assert report.before.accuracy == evaluate(trained, split.test)
    fractions = [fraction for _, fraction in phases if fraction is not None]
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] <= 1
    again = prune_iteratively(
        trained,
        split,
        IterativePruning(0.2, 0.5, 3, "linear", structured=StructuredPruning(round_to=4)),
        TRAINING,
        runs=None,
    )
    assert all(map(torch.equal, _weights(report.model), _weights(again.model)))


def test_a_step_that_loses_too_much_is_undone(split: DatasetSplit, trained: TorchModel) -> None:
    settings = IterativePruning(0.3, 0.99, 2, kind="unstructured")
    split = replace(split, test=split.test.subset(range(50)))
    assert len(split.validation) != 50
    free = prune_iteratively(trained, split, settings, TRAINING, runs=None)
    first, last = free.steps
    assert first.accuracy.total == len(split.validation)  # what decides is never the test part
    assert last.accuracy.share < first.accuracy.share and free.pruned == pytest.approx(
        0.99, abs=0.01
    )
    floor = (first.accuracy.share + last.accuracy.share) / 2
    bounded = prune_iteratively(
        trained, split, replace(settings, min_accuracy=floor), TRAINING, runs=None
    )
    assert [step.kept for step in bounded.steps] == [True, False]
    assert bounded.pruned == pytest.approx(0.3, abs=0.01) == sparsity(bounded.model.module)[1]
    assert "rolled back" in bounded.summary() and "rolled back" not in free.summary()
    with pytest.raises(ModelError, match="after the first step, with 30% pruned, is below"):
        prune_iteratively(trained, split, replace(settings, min_accuracy=1.0), TRAINING, runs=None)


@pytest.mark.parametrize(
    ("kind", "settings", "name"),
    [
        (UnstructuredPruning, {"ratio": 1.0}, "ratio"),
        (UnstructuredPruning, {"pattern": "1:4"}, "pattern"),
        (UnstructuredPruning, {"pattern": "2:4", "ratio": 0.6}, "ratio"),
        (IterativePruning, {"initial": 0.6}, "initial"),
        (IterativePruning, {"steps": 0}, "steps"),
        (IterativePruning, {"schedule": "square"}, "schedule"),
        (IterativePruning, {"kind": "2:4"}, "kind"),
        (IterativePruning, {"min_accuracy": 95}, "min_accuracy"),
    ],
)
def test_bad_settings_are_refused(kind: Any, settings: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        kind(**settings)


def test_nothing_to_set_to_zero_is_said() -> None:
    with pytest.raises(ModelError, match=r"nothing to prune .*it is ignored"):
        prune_unstructured(small_model(), UnstructuredPruning(ignored=("*",)), runs=None)
