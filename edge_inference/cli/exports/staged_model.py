"""The folder of a new model, written under a hidden name until it is proved to run."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_inference.cli.bounded_run import remove_with_child
from edge_inference.cli.exports.model_yaml import UNKNOWN_LICENSE, NewDescription
from edge_inference.core.checksum import sha256_of
from edge_inference.core.exports.graph_input import ImageInput
from edge_inference.core.exports.proposal import Evidence, Proposal
from edge_inference.core.label_file import parse_labels
from edge_inference.core.models.model import DESCRIPTION_FILE
from edge_inference.core.onnx_format.onnx_files import MAX_EXTERNAL_BYTES

LABELS_FILE = "labels.txt"
_QUANTIZED = ("DequantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul")


def is_same_file(one: Path, other: Path) -> bool:
    """Tell whether both exist and are one file."""
    return one.exists() and other.exists() and one.samefile(other)


class StagedModel:
    """The new folder under a hidden name beside its destination, until all of it is proved."""

    def __init__(self, file: Path, target: Path, weights: Sequence[str], *, replaces: bool) -> None:
        self._file = file
        self._given = target
        self._weights = weights
        self._replaces = replaces
        target = Path(os.path.abspath(target))  # noqa: PTH100 - links stay as they are
        self._target = target
        self._outer = target.parent / f".{target.name}.{secrets.token_hex(4)}"
        self.folder = self._outer / target.name

    def write(
        self, evidence: Evidence, image: ImageInput, proposal: Proposal, extra: Mapping[str, Any]
    ) -> NewDescription:
        """Copy the weights, and write labels and description. Raises OSError."""
        file, summary = self._file, evidence.summary
        remove_with_child(self._outer)
        self.folder.mkdir(parents=True)
        for name in self._weights:
            copy = self.folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.parent / name, copy)
        keys = {**image.keys(), **proposal.input}
        metadata = evidence.metadata
        is_quantized = bool(summary.operators & set(_QUANTIZED))
        description = NewDescription(
            proposal=proposal,
            input=keys,
            description=metadata.description or f"{proposal.family}, {file.name}",
            license=metadata.license or UNKNOWN_LICENSE,
            source=metadata.source or summary.producer or file.name,
            labels=self._write_labels(proposal.labels),
            extra_inputs=extra,
            precision="int8" if is_quantized else "fp32",
            weights=(file.name, sha256_of(self.folder / file.name)),
            external={
                name: sha256_of(self.folder / name, MAX_EXTERNAL_BYTES)
                for name in self._weights[1:]
            },
        )
        (self.folder / DESCRIPTION_FILE).write_text(description.text(), encoding="utf-8")
        return description

    def _write_labels(self, labels: tuple[str, ...]) -> str | list[str]:
        """Write one label a line, where that reads back as the same labels."""
        text = "".join(f"{label}\n" for label in labels)
        try:
            data = text.encode()
            is_plain = bool(labels) and parse_labels(text) == labels
        except ValueError:  # it cannot be read back, or has half of a surrogate pair
            is_plain = False
        if not is_plain:
            return list(labels)
        (self.folder / LABELS_FILE).write_bytes(data)
        return LABELS_FILE

    def keep(self) -> Path:
        """Move the folder to its destination, and return that. Raises OSError."""
        if self._replaces or self._target.exists():
            for source in [*self.folder.rglob("*")]:
                if source.is_file():
                    there = self._target / source.relative_to(self.folder)
                    if not is_same_file(there, self._file.parent / there.name):
                        there.parent.mkdir(parents=True, exist_ok=True)
                        source.replace(there)
        else:
            self.folder.rename(self._target)
        return self._given

    def remove(self) -> None:
        """Remove what was not kept."""
        shutil.rmtree(self._outer, ignore_errors=True)
