"""A small classifier whose exporter wrote metadata into the ONNX file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import onnx

import small_model


def write_model(folder: Path, metadata: Mapping[str, str]) -> Path:
    """Write the model of ``small_model`` with metadata, and return its folder."""
    small_model.write_model(folder)
    file, description = folder / "small.onnx", folder / "model.yaml"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    model = onnx.load(file)
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, file)
    after = hashlib.sha256(file.read_bytes()).hexdigest()
    description.write_text(description.read_text().replace(before, after))
    return folder
