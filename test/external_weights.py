"""Moves the weights of a model folder into a file of external weights, and changes them there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx

from edge_inference.core.models.model import ModelDescription, load_model

DATA = "weights/small.onnx.data"


def split_model(folder: Path, location: str = DATA) -> ModelDescription:
    """Move the weights of the fp32 variant into a file that model.yaml lists."""
    variant = load_model(folder).variants["fp32"]
    network = onnx.load(variant.file)
    (folder / location).parent.mkdir(exist_ok=True)
    with (folder / location).open("wb") as stream:
        for tensor in network.graph.initializer:
            data = onnx.numpy_helper.to_array(tensor).tobytes()
            place = {"location": location, "offset": stream.tell(), "length": len(data)}
            for field in ("raw_data", "float_data"):
                tensor.ClearField(field)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            stream.write(data)
    variant.file.write_bytes(network.SerializeToString())
    listed = f"{_sha256(variant.file)}\n    external_data: {{{location}: {'0' * 64}}}"
    _replace(folder, variant.sha256, listed)
    return _list_weights(folder, "0" * 64, location)


def retrain(model: ModelDescription, location: str = DATA) -> ModelDescription:
    """Double the weights in the file of external weights; the ONNX file does not change."""
    file = model.folder / location
    old = _sha256(file)
    change_weights(file)
    return _list_weights(model.folder, old, location)


def change_weights(file: Path) -> None:
    """Double each weight; model.yaml is not told."""
    file.write_bytes((np.frombuffer(file.read_bytes(), np.float32) * 2).tobytes())


def _list_weights(folder: Path, old: str, location: str) -> ModelDescription:
    _replace(folder, old, _sha256(folder / location))
    return load_model(folder)


def _replace(folder: Path, old: str, new: str) -> None:
    description = folder / "model.yaml"
    text = description.read_text()
    assert old in text
    description.write_text(text.replace(old, new))


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
