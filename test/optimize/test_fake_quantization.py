"""Fake quantization in PyTorch: batch normalizations merged, and the numbers of the derivation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edge_inference.engines.precision.scales import (
    activation_scale,
    dequantize,
    quantize,
    quantize_weights,
    weight_scale,
)
from edge_inference.errors import ModelError
from edge_inference.optimize.quantization.batch_norm_folding import fold_batch_norm
from edge_inference.optimize.quantization.fake_quantization import (
    RoundedTensor,
    bake,
    insert_fake_quantization,
    round_ranges,
    set_frozen,
)
from edge_inference.optimize.training.torch_model import TorchModel
from optimize_kit import DIGIT_LABELS, digit_spec, small_model


def model_of(module: nn.Module, size: int = 8) -> TorchModel:
    return TorchModel(module.eval(), digit_spec(size), DIGIT_LABELS, "net")


def randomize(module: nn.Module) -> nn.Module:
    """Give batch normalizations statistics as after a training."""
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            nn.init.uniform_(layer.running_mean, -1, 1)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.uniform_(layer.bias, -1, 1)
    return module


def run(model: TorchModel, images: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(model.module(images))


class Various(nn.Module):
    """A network with every kind of batch normalization that folding meets."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.first_norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)
        self.up_norm = nn.BatchNorm2d(8)
        self.shared = nn.Conv2d(8, 8, 1)
        self.shared_norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(2))
        self.read_twice = nn.Conv2d(8, 8, 1)
        self.read_twice_norm = nn.BatchNorm2d(8)
        self.linear = nn.Linear(8, 10, bias=False)
        self.linear_norm = nn.BatchNorm1d(10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = torch.relu(self.first_norm(self.first(images)))
        values = self.up_norm(self.up(values))
        for norm in self.shared_norms:
            values = norm(self.shared(values))
        both = self.read_twice(values)
        values = (both + self.read_twice_norm(both)).mean((2, 3))
        return self.linear_norm(self.linear(values))


def test_batch_normalizations_go_into_the_layers_that_can_take_them() -> None:
    model = model_of(randomize(Various()))
    folded = fold_batch_norm(model)
    left = {name for name, layer in folded.module.named_modules() if "BatchNorm" in str(layer)}
    assert left - {""} == {
        "shared_norms",
        "shared_norms.0",
        "shared_norms.1",
        "read_twice_norm",
    }
    images = torch.rand(3, 1, 8, 8)
    assert np.allclose(run(model, images), run(folded, images), atol=1e-4)
    assert "up_norm" in dict(model.module.named_modules())


def test_a_module_in_training_mode_is_folded_as_it_is_deployed() -> None:
    model = small_model()
    expected = fold_batch_norm(model)
    model.module.train()
    folded = fold_batch_norm(model)
    images = torch.rand(2, 1, 28, 28)
    assert model.module.training and not folded.module.training
    assert np.array_equal(run(folded, images), run(expected, images))


class Branching(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.sum() > 0:
            return images.flatten(1)
        return -images.flatten(1)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Branching(), r"torch.fx cannot trace it: TraceError: .*line \d+: if images.sum\(\) > 0:"),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
            "the batch normalization 1 has no running statistics",
        ),
        (nn.Conv2d(3, 4, 3), r"does not take images of the shape \[2, 1, 8, 8\]"),
    ],
)
def test_what_cannot_be_folded_is_explained(module: nn.Module, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        fold_batch_norm(model_of(module))


def insert(model: TorchModel, tensors: list[RoundedTensor], layers: list[str], **changes: Any):  # type: ignore[no-untyped-def]
    options = {"weight_bits": 8, "activation_bits": 8, "per_channel": True, "signed": False}
    traced = fold_batch_norm(model).module
    return insert_fake_quantization(traced, tensors, layers, **{**options, **changes}), traced


@pytest.mark.parametrize("bits", [7, 8])
@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_are_the_numbers_of_the_derivation(bits: int, per_channel: bool) -> None:
    torch.manual_seed(3)
    model = model_of(nn.Sequential(nn.Conv2d(1, 16, 5), nn.Flatten(), nn.Linear(256, 10)))
    module, traced = insert(model, [], ["0", "2"], weight_bits=bits, per_channel=per_channel)
    baked = bake(module, traced)
    for name in ("0", "2"):
        weights = traced.get_submodule(name).weight.detach().numpy()
        scale = weight_scale(weights, 0 if per_channel else None, bits=bits)
        least, most = (-64, 63) if bits == 7 else (-127, 127)
        nearest = dequantize(np.clip(quantize(weights, scale), least, most), scale)
        rounded = baked.get_submodule(name).weight.detach().numpy()
        assert np.allclose(rounded, nearest, atol=1e-6)
        # Deriving from the baked weights finds the same numbers again.
        again = weight_scale(rounded, 0 if per_channel else None, bits=bits)
        assert np.allclose(dequantize(quantize_weights(rounded, again, bits), again), rounded)
    assert not any("fake" in name or "parametrizations" in name for name in baked.state_dict())


@pytest.mark.parametrize("bits", [3, 4])
def test_fewer_bits_have_fewer_numbers(bits: int) -> None:
    model = model_of(nn.Sequential(nn.Conv2d(1, 4, 5), nn.Flatten(), nn.Linear(64, 10)))
    module, traced = insert(model, [], ["2"], weight_bits=bits)
    rows = bake(module, traced).get_submodule("2").weight.detach().numpy()
    counts = [len(np.unique(row)) for row in rows]
    assert 2 ** (bits - 1) < max(counts) <= 2**bits


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("span", [(-0.3, 2.0), (0.0, 6.0), (0.0, 0.0)])
def test_activations_are_the_numbers_of_the_derivation(
    span: tuple[float, float], signed: bool
) -> None:
    model = model_of(nn.Sequential(nn.Flatten()))
    module, _ = insert(model, [RoundedTensor(("input_1",), span)], [], signed=signed)
    values = np.random.default_rng(0).normal(0, 2, (4, 1, 8, 8)).astype(np.float32)
    scale = activation_scale(span, signed=signed)
    limits = np.iinfo(scale.zero_point.dtype)
    zero = int(scale.zero_point)
    numbers = np.clip(np.rint(values / scale.scale) + zero, limits.min, limits.max)
    expected = ((numbers - zero) * scale.scale).reshape(4, -1)
    actual = module(torch.from_numpy(values)).numpy()
    # PyTorch multiplies by the inverse: a value in the middle may be rounded the other way.
    assert np.isclose(actual, expected, atol=1e-6).mean() > 0.995
    assert np.allclose(actual, expected, atol=1.001 * float(scale.scale))


def test_ranges_follow_only_a_training_and_only_until_frozen() -> None:
    model = model_of(nn.Sequential(nn.Flatten()))
    module, _ = insert(model, [RoundedTensor(("input_1",), (0.0, 1.0))], [])
    images = torch.full((1, 1, 8, 8), 3.0)
    images[0, 0, 0, 0] = -2.0
    module(images)
    assert round_ranges(module, 6) == {"input_1": (0.0, 1.0)}
    module.train()(images)
    assert round_ranges(module, 6)["input_1"] == pytest.approx((-0.02, 1.02))
    set_frozen(module, True)
    module(images)
    assert round_ranges(module, 6)["input_1"] == pytest.approx((-0.02, 1.02))


def test_gradients_pass_the_rounding_and_stop_where_values_are_clipped() -> None:
    model = model_of(nn.Sequential(nn.Flatten()))
    module, _ = insert(model, [RoundedTensor(("input_1",), (0.0, 1.0))], [])
    values = torch.tensor([0.3, 0.7, 1.5, -0.5]).repeat(16).reshape(1, 1, 8, 8).requires_grad_()
    module(values).sum().backward()
    assert values.grad is not None
    assert values.grad.flatten()[:4].tolist() == [1.0, 1.0, 0.0, 0.0]
