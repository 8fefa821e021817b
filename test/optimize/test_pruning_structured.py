"""Structured pruning: what depends on each other goes together, and nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edge_inference.errors import CancelledError, ConfigError, ModelError
from edge_inference.optimize.pruning.channel_groups import ChannelGroup
from edge_inference.optimize.pruning.structured import (
    StructuredPruning,
    choose_channels,
    prune_structured,
)
from edge_inference.optimize.training.torch_model import TorchModel
from optimize_kit import digits, small_model
from pruning_networks import (
    DEAD,
    Attention,
    Concatenated,
    Depthwise,
    FixedWidth,
    Flattened,
    Grouped,
    Halved,
    Network,
    Residual,
    Shuffled,
    TorchAttention,
    Vit,
    kill,
    seeded,
)

BOTH_HALVES = [*DEAD, *(16 + each for each in DEAD)]


def prune(model: TorchModel, **settings: Any) -> Any:
    return prune_structured(model, StructuredPruning(**settings), runs=None)


def outputs(model: TorchModel) -> Any:
    images, _ = digits(20).load(range(20))
    with torch.no_grad():
        return model.module(torch.from_numpy(images))


def widths(model: TorchModel, *names: str) -> list[int]:
    return [len(model.module.get_submodule(name).weight) for name in names]


@pytest.mark.parametrize(
    ("kind", "groups"),
    [
        (Residual, [("stem", "second"), ("first",)]),
        (Concatenated, [("stem",), ("left",), ("right",), ("join",)]),
        (Depthwise, [("stem", "depthwise"), ("squeeze",), ("point",)]),
        (Flattened, [("stem",), ("down",)]),
    ],
)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_worthless_channels_go_and_the_outputs_stay(kind: Any, groups: Any, scope: str) -> None:
    model = seeded(kind)
    dead = (
        {
            name: np.roll(DEAD, number).tolist()
            for number, part in enumerate(groups)
            for name in part
        }
        if kind is Concatenated
        else {name: DEAD for part in groups for name in part}
    )
    for name, channels in dead.items():
        kill(list(model.module.get_submodule(name)), sorted(each % 16 for each in channels))
    given = outputs(model)
    report = prune(model, scope=scope)
    torch.testing.assert_close(outputs(report.model), given, rtol=1e-4, atol=1e-5)
    assert widths(report.model, *(f"{name}.0" for name in dead)) == [8] * len(dead)
    assert widths(model, *(f"{name}.0" for name in dead)) == [16] * len(dead)
    assert report.after.macs < report.before.macs / 1.8


def test_groups_of_a_convolution_stay_equally_large() -> None:
    model = seeded(Grouped)
    for name in ("wide", "grouped"):
        kill(list(model.module.get_submodule(name)), BOTH_HALVES)
    given = outputs(model)
    report = prune(model, ignored=("stem", "point"))
    torch.testing.assert_close(outputs(report.model), given, rtol=1e-4, atol=1e-5)
    assert report.model.module.grouped[0].weight.shape[:2] == (16, 8)


def test_heads_of_an_attention_stay_equally_large() -> None:
    model = seeded(Vit)
    attention = model.module.attention
    kill([model.module.hidden], list(range(0, 64, 2)))
    kill([attention.qkv], [32 * part + each for part in range(3) for each in BOTH_HALVES])
    given = outputs(model)
    report = prune(model, ignored=("patch",))  # what goes through LayerNorm cannot be exact
    torch.testing.assert_close(outputs(report.model), given, rtol=1e-4, atol=1e-5)
    pruned = report.model.module.attention
    assert (pruned.num_heads, pruned.head_dim) == (2, 8) and attention.head_dim == 16
    assert widths(report.model, "attention.qkv", "attention.proj", "hidden") == [48, 32, 32]


def test_the_width_of_a_transformer_shrinks_with_its_heads() -> None:
    for attention in (Attention(32, 2), TorchAttention(32, 2)):
        report = prune(seeded(Vit, attention), scope="layer")
        assert outputs(report.model).shape == (20, 10)
        assert widths(report.model, "patch", "back", "hidden") == [16, 16, 32]
        assert report.model.module.position.shape == (1, 16, 16)
    assert report.model.module.attention.attention.head_dim == 8


@pytest.mark.parametrize(
    ("model", "name", "reason"),
    [
        (seeded(Halved), "wide.0", "split in parts"),
        (seeded(FixedWidth), "wide.0", "fails"),
        (seeded(Shuffled), "wide.0", "changes what the other channels compute"),
        (seeded(Vit, Attention(32, 2, "together")), "attention.together", "heads are not known"),
    ],
)
def test_what_cannot_be_pruned_stays_and_the_rest_goes(
    model: TorchModel, name: str, reason: str
) -> None:
    report = prune(model, scope="layer")
    kept = {layer.name: layer.reason for layer in report.kept}
    assert reason in kept[name] and "outputs of the network" in kept["head"]
    assert widths(report.model, name, "head") == widths(model, name, "head")
    assert report.pruned > 0.3 and outputs(report.model).shape == (20, 10)


@pytest.mark.parametrize("importance", ["l1", "l2", "bn_scale", "taylor"])
def test_the_ratio_is_met_in_multiples(importance: str) -> None:
    settings = StructuredPruning(0.4, importance=importance, max_ratio_per_layer=0.6)
    report = prune_structured(small_model(40), settings, dataset=digits(64), runs=None)
    pruned = [each for each in report.layers if each.channels_before != each.channels_after]
    assert len(pruned) >= 3 and report.pruned == pytest.approx(0.4, abs=0.03)
    for layer in pruned:
        assert layer.channels_after % 8 == 0
        assert layer.channels_after >= 0.4 * layer.channels_before
    assert report.layers[-1].channels_after == 10


def test_the_least_important_blocks_of_all_layers_go_first() -> None:
    values = np.arange(16.0)
    groups = [
        ChannelGroup("weak", 1, 0.1 * values, has_heads=False, is_exact=True),
        ChannelGroup("strong", 1, 10 + values, has_heads=False, is_exact=True),
        ChannelGroup("odd", 1, np.full(12, 0.7), has_heads=False, is_exact=True),
    ]
    original = {"weak": 16, "strong": 16, "odd": 12}
    chosen = choose_channels(groups, StructuredPruning(0.3), original)
    assert chosen == {"weak": 8, "odd": 4}  # 12 to 8 first; 0.3 of 44 are 13.2
    assert groups[0].indices(8) == list(range(8))
    by_layer = choose_channels(groups, StructuredPruning(0.5, scope="layer"), original)
    assert by_layer == {"weak": 8, "strong": 8, "odd": 4}


def test_the_same_model_is_pruned_the_same() -> None:
    first, second = (prune(small_model(32)).model.module.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_frozen_weights_are_pruned_and_stay_frozen() -> None:
    model = small_model(32)
    model.module.requires_grad_(False)
    report = prune(model)
    assert report.pruned == 0.5
    assert not any(each.requires_grad for each in report.model.module.parameters())


class Detached(Network):
    def forward(self, x: Any) -> Any:
        with torch.no_grad():
            return super().forward(x)

    def body(self, x: Any) -> Any:
        return x


class Broken(Network):
    def body(self, x: Any) -> Any:
        return self.head(x)


@pytest.mark.parametrize(
    ("model", "settings", "error", "words"),
    [
        (seeded(Detached), {}, ModelError, "Detached: its layers cannot be traced"),
        (
            seeded(Broken),
            {},
            ModelError,
            "forward() fails for an input of the shape [1, 1, 28, 28] in head",
        ),
        (small_model(), {"ignored": ("*",)}, ModelError, "ignored"),
        (
            small_model(),
            {"ignored": ("stem",)},
            ConfigError,
            "no layer of model digits_cnn matches",
        ),
        (small_model(), {"ratio": 0.02}, ModelError, "use a higher ratio or a lower round_to"),
        (small_model(8), {"round_to": 64}, ModelError, "lower round_to"),
        (
            seeded(nn.Sequential, nn.Flatten(), nn.BatchNorm1d(784)),
            {},
            ModelError,
            "nothing to prune",
        ),
        (small_model(), {"importance": "taylor"}, ConfigError, "needs labeled images"),
    ],
)
def test_what_cannot_be_done_is_said(
    model: TorchModel, settings: Any, error: Any, words: str
) -> None:
    with pytest.raises(error) as caught:
        prune(model, **settings)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ratio", 0.0),
        ("ratio", 1.0),
        ("ratio", float("nan")),
        ("scope", "net"),
        ("round_to", 0),
        ("importance", "l3"),
        ("max_ratio_per_layer", 1.5),
    ],
)
def test_bad_settings_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        StructuredPruning(**{name: value})


def test_cancelling_ends_it() -> None:
    with pytest.raises(CancelledError):
        prune_structured(small_model(), StructuredPruning(), cancelled=lambda: True)
