"""The training loop: it learns, repeats itself exactly, and says why it cannot go on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edge_inference.errors import CancelledError, ConfigError, ModelError, SourceError
from edge_inference.optimize.training import train as train_module
from edge_inference.optimize.training.evaluate import evaluate, evaluate_engine
from edge_inference.optimize.training.labeled_dataset import (
    ArrayDataset,
    LabeledDataset,
    split_dataset,
)
from edge_inference.optimize.training.torch_model import (
    ModuleSource,
    TorchModel,
    load_module,
    load_weights,
)
from edge_inference.optimize.training.train import TrainingSettings, cross_entropy, train
from optimize_kit import digits, small_cnn, small_model

SETTINGS = TrainingSettings(epochs=3, learning_rate=2e-2, batch=16)


@pytest.fixture(scope="module")
def images() -> LabeledDataset:
    return digits(600)


def state_bytes(model: TorchModel) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.module.state_dict().values())


def with_dropout() -> TorchModel:
    model = small_model()
    layers = [*model.module]
    return model.with_module(nn.Sequential(*layers[:-1], nn.Dropout(0.1), layers[-1]))


def test_it_learns_and_repeats_itself_exactly(images: LabeledDataset) -> None:
    model = with_dropout()
    before = state_bytes(model)
    report = train(model, images, SETTINGS)
    assert report.epochs[-1].loss < 0.7 * report.epochs[0].loss
    assert evaluate(report.model, images).share > 0.7 > 0.3 > evaluate(model, images).share
    assert state_bytes(model) == before and not report.model.module.training
    same = with_dropout()
    torch.manual_seed(123)  # what ran before does not matter
    again = train(same, images, SETTINGS)
    assert state_bytes(again.model) == state_bytes(report.model)
    other = train(with_dropout(), images, replace(SETTINGS, seed=1))
    assert state_bytes(other.model) != state_bytes(report.model)
    assert torch.get_num_threads() and not torch.are_deterministic_algorithms_enabled()


def test_mixed_precision_learns_the_same_with_float32_weights(images: LabeledDataset) -> None:
    kinds = set()

    def loss(module: nn.Module, batch: torch.Tensor, class_ids: torch.Tensor) -> torch.Tensor:
        logits = module(batch)
        kinds.add(logits.dtype)
        return nn.functional.cross_entropy(logits, class_ids)

    full = train(small_model(), images, SETTINGS)
    mixed = train(small_model(), images, replace(SETTINGS, amp=True), loss=loss)
    assert kinds == {torch.bfloat16}
    assert mixed.epochs[-1].loss < 0.7 * mixed.epochs[0].loss
    assert mixed.epochs[-1].loss == pytest.approx(full.epochs[-1].loss, rel=0.1)
    assert {each.dtype for each in mixed.model.module.parameters()} == {torch.float32}
    difference = evaluate(full.model, images).share - evaluate(mixed.model, images).share
    assert abs(difference) < 0.05


class Sizes(ArrayDataset):
    """Notes the batches."""

    def __init__(self, count: int) -> None:
        source = digits(count)
        images, class_ids = source.load(np.arange(count))
        super().__init__("sizes", source.labels, source.input, images, class_ids)
        self.sizes: list[int] = []

    def load(self, indices: Any) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        self.sizes.append(len(indices))
        return super().load(indices)


def test_a_last_image_alone_joins_the_batch_before() -> None:
    dataset = Sizes(33)
    norm = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.BatchNorm1d(10)).eval()
    model = small_model().with_module(norm)
    train(model, dataset, replace(SETTINGS, epochs=1, batch=16))
    assert dataset.sizes == [1, 16, 17]  # the first one checks the model
    with pytest.raises(ModelError, match="cannot be trained: Expected more than 1 value"):
        train(model, dataset, replace(SETTINGS, epochs=1, batch=1))
    with pytest.raises(SourceError, match="at least two images"):
        train(model, dataset.subset([0]), SETTINGS)


def test_the_first_loss_that_is_not_finite_ends_it(images: LabeledDataset) -> None:
    calls = []

    def loss(module: nn.Module, batch: torch.Tensor, class_ids: torch.Tensor) -> torch.Tensor:
        calls.append(len(batch))
        value = cross_entropy(module, batch, class_ids)
        return value * math.nan if len(calls) == 3 else value

    with pytest.raises(ModelError, match=r"loss of batch 3 of epoch 1 is nan; use a lower learn"):
        train(small_model(), images, SETTINGS, loss=loss)
    assert len(calls) == 3

    def root(module: nn.Module, batch: torch.Tensor, class_ids: torch.Tensor) -> torch.Tensor:
        first = next(iter(module.parameters()))
        return cross_entropy(module, batch, class_ids) + torch.sqrt((first - first).abs().sum())

    one_step = replace(SETTINGS, epochs=1, batch=600)
    with pytest.raises(ModelError, match=r"weights 0\.weight are not finite"):
        train(small_model(), images, one_step, loss=root)


def test_a_step_beyond_float16_is_skipped_but_not_for_ever(
    images: LabeledDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With scaled gradients, as on a GPU."""
    monkeypatch.setattr(train_module, "_scales", lambda settings: True)
    seen: list[torch.Tensor] = []
    overflowing = {2, 3}

    def loss(module: nn.Module, batch: torch.Tensor, class_ids: torch.Tensor) -> torch.Tensor:
        seen.append(module[0].weight.detach().clone())
        value = cross_entropy(module, batch, class_ids)
        if len(seen) in overflowing:
            value.register_hook(lambda gradient: gradient * math.inf)
        return value

    few = images.subset(range(80))
    report = train(small_model(), few, replace(SETTINGS, epochs=1), loss=loss)
    assert report.skipped_steps == 2
    assert torch.equal(seen[1], seen[2]) and torch.equal(seen[2], seen[3])
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[3], seen[4])
    overflowing.update(range(1000))
    with pytest.raises(ModelError, match=r"of 20 batches in a row .*or train without amp"):
        train(small_model(), images, replace(SETTINGS, amp=True), loss=loss)


def test_hooks_progress_and_cancel(images: LabeledDataset) -> None:
    phases: list[tuple[str, float | None]] = []

    def clear(module: nn.Module) -> None:
        with torch.no_grad():
            module[0].weight[0] = 0

    report = train(
        small_model(),
        images,
        SETTINGS,
        lambda phase, fraction: phases.append((phase, fraction)),
        after_step=clear,
    )
    assert not report.model.module[0].weight[0].any() and report.model.module[0].weight[1].any()
    assert phases[0][0] == "training, epoch 1 of 3" and phases[-1][1] == 1
    with pytest.raises(CancelledError):
        train(small_model(), images, SETTINGS, cancelled=lambda: len(phases) > 3)
    with pytest.raises(CancelledError):
        evaluate(report.model, images, cancelled=lambda: True)


def test_models_and_settings_that_do_not_fit(images: LabeledDataset) -> None:
    model = small_model()
    with pytest.raises(ModelError, match=r"expected logits of the shape \[1, 10\].*got \[1, 4\]"):
        train(model.with_module(small_cnn(8, classes=4)), images, SETTINGS)
    with pytest.raises(ModelError, match=r"does not take images of the shape \[1, 1, 28, 28\]"):
        train(model.with_module(small_cnn(8, channels=3)), images, SETTINGS)

    def fill(module: nn.Module, batch: torch.Tensor, class_ids: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("alloc_cpu.cpp: Error code 12 (Cannot allocate memory)")

    with pytest.raises(ModelError, match=r"use a smaller batch than 16; .*memory"):
        train(model, images, SETTINGS, loss=fill)
    unlike = model.with_module(nn.Sequential(small_cnn(), nn.Unflatten(1, (2, 5))))
    with pytest.raises(ModelError, match=r"expected logits .* got \[1, 2, 5\]"):
        evaluate(unlike, images)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="cuda is not available"):
            train(model, images, replace(SETTINGS, device="cuda"))
    for change in (
        {"epochs": 0},
        {"learning_rate": math.nan},
        {"optimizer": "lion"},
        {"seed": 1 << 32},
        {"threads": 10**8},
    ):
        with pytest.raises(ConfigError, match=next(iter(change))):
            replace(SETTINGS, **change)


def test_an_engine_is_evaluated_as_the_module(images: LabeledDataset) -> None:
    model = train(small_model(), images, replace(SETTINGS, epochs=1)).model

    def infer(inputs: Any) -> dict[str, NDArray[Any]]:
        (batch,) = inputs.values()
        with torch.inference_mode():
            logits = model.module(torch.from_numpy(batch))
        return {"logits": logits.numpy(), "other": -logits.numpy()}

    few = images.subset(range(100))
    measured = evaluate_engine(infer, "image", few, output_name="logits")
    assert measured == evaluate(model, few, batch=7)
    with pytest.raises(ModelError, match="expected one output, the scores, got logits, other"):
        evaluate_engine(infer, "image", few)
    with pytest.raises(SourceError, match="at least one image"):
        evaluate(model, images.subset([]))


def test_weights_come_from_a_file_that_fits(tmp_path: Any) -> None:
    file = tmp_path / "weights.pt"
    torch.save(small_cnn(8).state_dict(), file)
    source = ModuleSource("optimize_kit:small_cnn", {"width": 8}, file)
    module = load_module(source)
    assert torch.equal(module[0].weight, torch.load(file)["0.weight"])
    with pytest.raises(ModelError, match="do not fit the module"):
        load_module(replace(source, arguments={"width": 16}))
    with pytest.raises(ModelError, match=r"calling it with \{'size': 1\} failed: TypeError"):
        load_module(replace(source, arguments={"size": 1}))
    file.write_bytes(b"damaged")
    with pytest.raises(ModelError, match="not a file of weights"):
        load_weights(module, file)
    with pytest.raises(ModelError, match="cannot be read"):
        load_weights(module, tmp_path / "missing.pt")


def test_the_parts_have_no_image_in_common(images: LabeledDataset) -> None:
    split = split_dataset(images, seed=3)
    parts = [split.train, split.validation, split.test]
    pixels = [{image.tobytes() for image in part.load(range(len(part)))[0]} for part in parts]
    assert sum(map(len, parts)) == len(images)
    assert not (pixels[0] & pixels[1] or pixels[0] & pixels[2] or pixels[1] & pixels[2])
    assert all(len(np.unique(part.class_ids)) == 10 for part in parts)
    with pytest.raises(SourceError, match="too few"):
        split_dataset(images.subset([0, 1, 2]))
