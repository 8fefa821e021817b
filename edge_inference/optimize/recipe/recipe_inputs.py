"""What a recipe starts from: its data in three parts, and its network as a model folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.engines.cache.artifacts import Cancelled
from edge_inference.errors import ModelError
from edge_inference.optimize.export.model_folder import export_folder
from edge_inference.optimize.recipe.network_steps import (
    load_network,
    network_digest,
    save_network,
)
from edge_inference.optimize.recipe.recipe_file import Recipe
from edge_inference.optimize.recipe.step_store import StepStore, code_version, folder_digest
from edge_inference.optimize.training.dataset_sources import check_labels, open_dataset
from edge_inference.optimize.training.labeled_dataset import (
    DatasetSplit,
    LabeledDataset,
    split_dataset,
)
from edge_inference.optimize.training.source_digest import source_digest
from edge_inference.optimize.training.torch_model import ModuleSource, TorchModel, load_module
from edge_inference.optimize.training.train import deterministic, train

MODEL = "model"


@dataclass(frozen=True)
class Network:
    """A network as a model folder in fp32, and in PyTorch unless only its ONNX file exists.

    ``digest`` is a sha256 over both.
    """

    module: TorchModel | None
    model: ModelDescription
    digest: str


@dataclass(frozen=True)
class RecipeInputs:
    """The parts of the data with their digest, and the network of the recipe.

    ``own_code`` tells the user's code of the network apart, empty for one that is ONNX only.
    """

    split: DatasetSplit
    data_digest: str
    own_code: str
    network: Network

    def parts(self, **further: Any) -> dict[str, Any]:
        """Return what changes the result of any step, with ``further`` parts of one."""
        return {**_common_parts(self.data_digest, self.own_code), **further}


def open_inputs(recipe: Recipe, store: StepStore, cancelled: Cancelled) -> RecipeInputs:
    """Open the data and the model of a recipe, and check that they fit.

    Raises SourceError for unusable data, ModelError for an unusable model, ConfigError for a
    device that is not there, BackendError without PyTorch.
    """
    folder = None if recipe.model.folder is None else load_model(recipe.model.folder)
    if folder is not None:
        _check_folder(folder)
    spec = recipe.input
    if spec is None and folder is not None:
        spec = dataclasses.replace(folder.input, layout="NCHW", dtype="float32", batch=1)
    dataset = open_dataset(recipe.data.source, spec, limit=recipe.data.limit)
    split = split_dataset(dataset, recipe.seed, recipe.data.split)
    data_digest = f"{dataset.digest()} {recipe.seed} {recipe.data.split}"
    own_code = ""
    if folder is not None:
        check_labels(dataset, folder.labels)
        network = Network(None, folder, folder_digest(folder.folder))
    else:
        module = _load_network(recipe, dataset)
        assert recipe.model.function is not None
        # What the weights do not show, such as a dropout.
        own_code = f"{source_digest(recipe.model.function)} {dict(recipe.model.arguments)}"
        _check_devices(recipe, module, split)
        network = export_network(
            module,
            store,
            {"export": network_digest(module), **_common_parts(data_digest, own_code)},
            split,
            cancelled,
        )
    return RecipeInputs(split, data_digest, own_code, network)


def export_network(
    module: TorchModel,
    store: StepStore,
    parts: Mapping[str, Any],
    split: DatasetSplit,
    cancelled: Cancelled,
) -> Network:
    """Write a network and its model folder into the store, unless they are there."""
    stored = store.get_or_make(
        parts, "export", lambda folder: write_network(module, folder, split), cancelled
    )
    return read_network(stored.folder, module, stored.metadata)


def write_network(module: TorchModel, folder: Path, split: DatasetSplit) -> dict[str, Any]:
    """Write a network and its model folder; return the digest of both for :func:`read_network`."""
    save_network(module, folder)
    model = export_folder(module, folder / MODEL, evaluation=split.test, golden=split.validation)
    return {"digest": f"{network_digest(module)} {folder_digest(model.folder)}"}


def read_network(folder: Path, like: TorchModel, metadata: Mapping[str, Any]) -> Network:
    """Return the network that :func:`write_network` wrote."""
    return Network(load_network(folder, like), load_model(folder / MODEL), metadata["digest"])


def _common_parts(data_digest: str, own_code: str) -> dict[str, Any]:
    return {"data": data_digest, "code": code_version(), "own_code": own_code}


def _load_network(recipe: Recipe, dataset: LabeledDataset) -> TorchModel:
    model = recipe.model
    assert model.function is not None
    source = ModuleSource(model.function, model.arguments, model.weights)
    with deterministic(recipe.seed, recipe.training.threads):
        module = load_module(source)  # without weights it starts from random ones
    return TorchModel(module, dataset.input, dataset.labels, model.function.rpartition(":")[2])


def _check_folder(model: ModelDescription) -> None:
    if model.task != "classification":
        raise ModelError(
            f"model {model.name}: expected a classification, whose accuracy is the share of "
            f"correct images, got the task {model.task}; optimize it with "
            "`edge-inference quantize` or `edge-inference optimize mixed-precision`"
        )
    if "fp32" not in model.variants:
        raise ModelError(
            f"model {model.name}: expected an fp32 variant, got {', '.join(model.variants)}; "
            "other precisions are derived from it"
        )
    model.variants["fp32"].verify()


def _check_devices(recipe: Recipe, module: TorchModel, split: DatasetSplit) -> None:
    """Refuse a device that is not there before any step that takes long."""
    few = split.train.subset(range(min(2, len(split.train))))
    for step in recipe.plan:
        training = getattr(step.settings, "training", step.settings)
        if getattr(training, "device", "cpu") != "cpu":
            train(module, few, dataclasses.replace(training, epochs=1))
