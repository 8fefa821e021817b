"""The shipped models give the results of their model.yaml, on real images."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import pytest

from edge_inference.backends.base import Backend
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.golden_check import read_image, run_golden_check
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import available_models, find_model
from edge_inference.engines.serving.engine_check import reference_backend

SHIPPED = Path(__file__).parents[2] / "models"
NAMES = sorted(available_models([SHIPPED]))


def load(name: str) -> tuple[ModelDescription, Backend]:
    model = find_model(name, [SHIPPED])
    return model, reference_backend(model)


def test_both_models_are_shipped() -> None:
    assert NAMES == ["efficientnet_lite0", "nanodet"]


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_is_complete(name: str) -> None:
    model, backend = load(name)
    model.verify_files()
    assert (model.folder / "NOTICE.md").is_file()
    assert model.golden
    assert len(set(model.labels)) == len(model.labels)
    with backend:
        (spec,) = backend.inputs
        assert spec.name == model.input.name
        assert spec.shape[1:] == model.input.shape[1:]


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_passes_its_golden_check(name: str) -> None:
    model, backend = load(name)
    with backend:
        report = run_golden_check(model, backend.infer)
    assert report.passed, report.summary()
    assert report.images == 2
    assert report.max_score_difference is not None
    assert report.max_score_difference < 0.02


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("efficientnet_lite0", {"color": "BGR"}),
        ("efficientnet_lite0", {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}),
        ("efficientnet_lite0", {"mean": (0.0,), "std": (255.0,)}),
        ("nanodet", {"mean": (0.0,), "std": (255.0,)}),
        ("nanodet", {"mean": (0.0,), "std": (1.0,)}),
        ("nanodet", {"resize": "center_crop"}),
    ],
)
def test_the_golden_check_fails_with_a_wrong_input(name: str, wrong: dict[str, object]) -> None:
    model, backend = load(name)
    altered = dataclasses.replace(model, input=dataclasses.replace(model.input, **wrong))
    with backend:
        assert not run_golden_check(altered, backend.infer).passed


def foolbox_images() -> list[tuple[Path, int]]:
    """Return the 20 ImageNet images with their class, which ends their file name."""
    spec = importlib.util.find_spec("foolbox")  # only located: importing it needs more packages
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package foolbox, which holds the labelled images, is not installed")
    folder = Path(spec.submodule_search_locations[0], "data")
    files = sorted(folder.glob("imagenet_*.jpg"))
    return [(file, int(file.stem.rpartition("_")[2])) for file in files]


def test_efficientnet_has_the_accuracy_of_its_description() -> None:
    images = foolbox_images()
    model, backend = load("efficientnet_lite0")
    preprocess = Preprocessor(model.input)
    right = 0
    with backend:
        for file, wanted in images:
            tensor, geometry = preprocess(read_image(file))
            result = model.decode(backend.infer({model.input.name: tensor}), geometry)
            right += int(result.class_ids[0]) == wanted
    (stated,) = model.variants["fp32"].accuracy
    assert stated.samples == len(images) == 20
    assert right == stated.value
    assert right >= 17
