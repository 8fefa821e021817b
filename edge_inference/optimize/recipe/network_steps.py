"""The steps of a recipe that change the network: train, prune, distill."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.errors import ModelError
from edge_inference.optimize.recipe.step_kind import CostBasis, StepInput, StepKind, StepOutput
from edge_inference.optimize.training.torch_model import TorchModel, import_torch
from edge_inference.optimize.training.train import TrainingSettings, train

_NETWORK_FILE = "network.pt"


def _train(
    given: StepInput, settings: TrainingSettings, progress: Progress, cancelled: Cancelled
) -> StepOutput:
    report = train(network_of(given), given.split.train, settings, progress, cancelled)
    last = report.epochs[-1]
    return StepOutput(report.model, summary=f"{last.epoch} epochs, loss {last.loss:.4g}")


def _estimate_training(settings: TrainingSettings, basis: CostBasis) -> float:
    return basis.training_s(settings.epochs)


TRAIN = StepKind("train", TrainingSettings(), True, _train, _estimate_training, recovers=True)


def network_of(given: StepInput) -> TorchModel:
    """Return the network of a step that needs one; the recipe was checked for it."""
    assert given.network is not None
    return given.network


def save_network(model: TorchModel, folder: Path) -> None:
    """Write a network into a folder.

    It is pickled whole, because pruning changes its layers. Raises ModelError for one that
    cannot be, OSError for a full disk.
    """
    torch = import_torch()
    buffer = io.BytesIO()  # torch hides the cause of a failed write
    try:
        torch.save(model.module, buffer)
    except Exception as error:  # pickling runs the user's code: any error may come out of it
        raise ModelError(
            f"model {model.name}: its network cannot be saved ({type(error).__name__}: {error}); "
            "define its classes and functions at the top of a module, not inside a function"
        ) from error
    (folder / _NETWORK_FILE).write_bytes(buffer.getvalue())


def load_network(folder: Path, like: TorchModel) -> TorchModel:
    """Return a network that :func:`save_network` wrote.

    Reading a pickle runs code: the folder must be one whose content was verified.
    """
    torch = import_torch()
    module = torch.load(folder / _NETWORK_FILE, map_location="cpu", weights_only=False)
    return like.with_module(module)


def network_digest(model: TorchModel) -> str:
    """Return a sha256 over the names, types, shapes and values of all weights and buffers."""
    digest = hashlib.sha256(repr((model.input, model.labels)).encode())
    state: dict[str, Any] = model.module.state_dict()
    for name, value in state.items():
        array = value.detach().cpu().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
