"""Writes a new model.yaml, with a comment where a value is assumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from edge_inference.core.exports.proposal import Proposal
from edge_inference.core.models.variants import Accuracy
from edge_inference.core.text_line import one_line
from edge_inference.core.yaml_file import to_yaml_line

UNKNOWN_LICENSE = "unknown"
#: The first lines of a file that says what an ONNX file does not.
ASSUMED_HEADER = """\
# Written by `edge-inference models new`. Values marked as assumed are those that the exporter
# usually means; the file itself does not say them. docs/models.md explains all keys.
"""
_NO_LICENSE = "the file names no license: write that of the weights"
_MAX_COMMENT = 300
#: Values in this order; further keys follow.
_INPUT_KEYS = ("name", "layout", "color", "width", "height", "mean", "std", "dtype", "resize")


@dataclass(frozen=True)
class GoldenEntry:
    """A golden image in model.yaml: ``entries`` are the expected ones, as plain values."""

    image: str
    key: str
    entries: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class NewDescription:
    """All that a new model.yaml says.

    ``weights`` and ``external`` are checksums by file name, ``labels`` is the name of a file or a
    list. ``precision`` is the key of the variant, ``accuracy`` was measured with it.
    ``calibration`` is the name of a file, empty for none, ``reduce_range`` has the operators whose
    int8 weights have 7 bits.
    """

    proposal: Proposal
    input: Mapping[str, Any]
    description: str
    license: str
    source: str
    labels: str | list[str]
    extra_inputs: Mapping[str, Any]
    precision: str
    weights: tuple[str, str]
    external: Mapping[str, str]
    accuracy: tuple[Accuracy, ...] = ()
    calibration: str = ""
    reduce_range: tuple[str, ...] = ()
    golden: tuple[GoldenEntry, ...] = ()
    header: str = ASSUMED_HEADER

    def text(self) -> str:
        """Return the text of the file."""
        return self.header + "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        proposal, assumed = self.proposal, self.proposal.assumed
        yield from _key("", "task", proposal.task, assumed.get("task"))
        yield from _key("", "description", self.description)
        comment = _NO_LICENSE if self.license == UNKNOWN_LICENSE else None
        yield from _key("", "license", self.license, comment)
        yield from _key("", "source", self.source)
        yield ""
        yield "input:"
        order = [*_INPUT_KEYS, *(key for key in self.input if key not in _INPUT_KEYS)]
        for key in order:
            if key in self.input:
                yield from _key("  ", key, self.input[key], assumed.get(f"input.{key}"))
        if self.extra_inputs:
            yield ""
            yield from _comment("", assumed.get("extra_inputs"))
            yield "extra_inputs:"
            for name, value in self.extra_inputs.items():
                yield from _key("  ", name, value)
        yield ""
        yield "decoder:"
        yield from _key("  ", "name", proposal.decoder, assumed.get("decoder.name"))
        for key, value in proposal.settings.items():
            yield from _key("  ", key, value, assumed.get(f"decoder.{key}"))
        if self.labels:
            yield ""
            yield from _key("", "labels", self.labels, assumed.get("labels"))
        yield ""
        yield "variants:"
        yield f"  {self.precision}:"
        yield from _key("    ", "file", self.weights[0])
        yield from _key("    ", "sha256", self.weights[1])
        if self.external:
            yield "    external_data:"
            for name, checksum in self.external.items():
                yield from _key("      ", name, checksum)
        if self.accuracy:
            yield "    accuracy:"
        for measured in self.accuracy:
            values = {each.name: getattr(measured, each.name) for each in fields(measured)}
            yield from _item("      ", {key: value for key, value in values.items() if value != ""})
        if self.calibration:
            yield from ("", "derive:")
            yield from _key("  ", "calibration", self.calibration)
            if self.reduce_range:
                yield from _key("  ", "int8_reduce_range", list(self.reduce_range))
        if self.golden:
            yield from ("", "golden:")
        for golden in self.golden:
            yield from _item("  ", {"image": golden.image, golden.key: list(golden.entries)})


def _key(indent: str, key: str, value: Any, comment: str | None = None) -> Iterator[str]:
    yield from _comment(indent, comment)
    yield f"{indent}{to_yaml_line(key)}: {to_yaml_line(value)}"


def _item(indent: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield an entry of a list: ``- `` before its first key."""
    start = "- "
    for key, value in values.items():
        yield from _key(indent + start, key, value)
        start = "  "


def _comment(indent: str, text: str | None) -> Iterator[str]:
    if text:
        yield f"{indent}# {one_line(text, _MAX_COMMENT)}"
