"""Reads the files that exporters put beside an ONNX file, as far as a proposal needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from edge_inference.core.bounded_file import is_regular_file, read_json, read_text
from edge_inference.core.label_file import labels_of
from edge_inference.core.yaml_file import BoundedLoader

_TRANSFORMERS, _PREPROCESSOR = "config.json", "preprocessor_config.json"
_PADDLE = "infer_cfg.yml"


@dataclass(frozen=True)
class Sidecars:
    """The settings of other tools, empty where there is no such file.

    ``transformers`` is config.json, which timm writes, too; ``preprocessor`` is
    preprocessor_config.json; ``paddle`` is PaddleDetection's infer_cfg.yml. ``found`` names the
    files, ``problems`` says which of them cannot be read.
    """

    transformers: Mapping[str, Any] = field(default_factory=dict)
    preprocessor: Mapping[str, Any] = field(default_factory=dict)
    paddle: Mapping[str, Any] = field(default_factory=dict)
    found: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, empty where no file has them."""
        pretrained = self.transformers.get("pretrained_cfg")
        for values in (self.transformers, pretrained, self.paddle):
            if isinstance(values, Mapping):
                try:
                    labels = labels_of(dict(values))
                except ValueError:
                    continue
                if labels and not _are_placeholders(labels):
                    return labels
        return ()


def read_sidecars(folder: Path) -> Sidecars:
    """Read the known files of a folder, or of its parent: optimum puts graphs into ``onnx/``."""
    found: list[str] = []
    problems: list[str] = []

    def read(name: str) -> Mapping[str, Any]:
        for file in (folder / name, folder.parent / name):
            if file.parent != folder and folder.name != "onnx":
                continue
            if is_regular_file(file):
                try:
                    value = read_json(file) if file.suffix == ".json" else _read_yaml(file)
                except OSError as error:
                    problems.append(f"{file} is ignored: {error.strerror}")
                except (ValueError, yaml.YAMLError) as error:
                    problems.append(f"{file} is ignored: {error}")
                else:
                    if isinstance(value, dict):
                        found.append(name)
                        return value
        return {}

    return Sidecars(
        read(_TRANSFORMERS), read(_PREPROCESSOR), read(_PADDLE), tuple(found), tuple(problems)
    )


def _read_yaml(file: Path) -> Any:
    return yaml.load(read_text(file), BoundedLoader)


def _are_placeholders(labels: tuple[str, ...]) -> bool:
    """Tell whether Transformers made the names up: LABEL_0, LABEL_1 and so on."""
    return all(label == f"LABEL_{number}" for number, label in enumerate(labels))
