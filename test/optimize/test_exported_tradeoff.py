"""The trade-off of models that come from PyTorch: what was trained is what is measured."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from edge_inference.cli.optimize import run_tradeoff
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.optimize.export.model_folder import export_folder
from edge_inference.optimize.tradeoff.measure_tradeoff import (
    TradeoffRequest,
    dataset_images,
    measure_tradeoff,
)
from edge_inference.optimize.tradeoff.recommend import recommend
from edge_inference.optimize.training.dataset_sources import open_dataset
from edge_inference.optimize.training.evaluate import evaluate
from edge_inference.optimize.training.labeled_dataset import split_dataset
from edge_inference.optimize.training.train import TrainingSettings, train
from optimize_kit import digit_spec, small_model


def test_a_seed_leaves_the_images_that_were_held_out() -> None:
    options = argparse.Namespace(data="digits", limit=200, seed=3, images=None, labels=None)
    model = SimpleNamespace(labels=(), input=digit_spec())
    found = run_tradeoff._images(options, model)  # type: ignore[arg-type]
    held_out = split_dataset(open_dataset("digits", None, limit=200), 3).test
    assert len(found) == len(held_out) == 30
    for index in range(len(found)):
        frame = held_out.frame(index)
        assert frame is not None and np.array_equal(found[index].data, frame.data)


def test_two_widths_are_measured_on_their_images_and_one_is_recommended(tmp_path: Path) -> None:
    split = split_dataset(open_dataset("digits", None, limit=900))
    settings = TrainingSettings(epochs=3, learning_rate=2e-2, batch=16)
    folders, shares = [], {}
    for name, width in (("narrow", 4), ("wide", 32)):
        model = train(small_model(width), split.train, settings).model
        folders.append(export_folder(model, tmp_path / name, calibration=split.train))
        shares[name] = evaluate(model, split.test)
    images = [dataset_images(split.test, folder) for folder in folders]
    request = TradeoffRequest(
        folders, images, ("ort",), ("fp32", "int8"), ("exact",), batches=[8], runs=30
    )
    found = measure_tradeoff(request, ArtifactCache(tmp_path / "cache"))
    assert not [point.problem for point in found.points if point.problem]
    fp32 = {point.model: point for point in found.points if point.precision == "fp32"}
    assert {name: point.accuracy for name, point in fp32.items()} == shares
    times = {point.model: point.image_s for point in found.points if point.precision == "fp32"}
    assert times["narrow"] < times["wide"]
    wide = shares["wide"].share
    assert shares["narrow"].share < wide - 0.05  # so that only one width is accurate enough
    chosen = recommend(found, wide - 0.02, 1000.0, confidence=0.5).point
    assert chosen is not None and chosen.model == "wide"
    chosen = recommend(found, 0.2, 1000.0, confidence=0.5).point
    assert chosen is not None and chosen.model == "narrow"
