"""Finds where the exporter's metadata in an ONNX file contradicts model.yaml."""

from __future__ import annotations

from collections.abc import Iterator

from edge_inference.core.exports.exporter_metadata import (
    TASKS,
    ExporterMetadata,
    read_exporter_metadata,
)
from edge_inference.core.exports.onnx_summary import read_metadata
from edge_inference.core.images.input_spec import FLOATS
from edge_inference.core.models.model import DESCRIPTION_FILE, ModelDescription
from edge_inference.errors import ModelError


def find_contradictions(model: ModelDescription) -> tuple[str, ...] | None:
    """Return a sentence for each contradiction, None where the file has no such metadata.

    A model may be right nevertheless, with translated labels for example. A file that cannot be
    read has no metadata; opening it shows the error.
    """
    variant = model.variants.get("fp32") or next(iter(model.variants.values()))
    try:
        metadata = read_exporter_metadata(read_metadata(variant.file))
    except ModelError:
        return None
    if metadata == ExporterMetadata(
        metadata.author, metadata.description, metadata.license, metadata.source, metadata.version
    ):
        return None
    name = variant.file.name
    return tuple(f"the metadata of {name} {text}" for text in _compare(model, metadata))


def _compare(model: ModelDescription, metadata: ExporterMetadata) -> Iterator[str]:
    task = TASKS.get(metadata.task, model.task)
    if task != model.task:
        yield (
            f"says that the task is {metadata.task!r}, {DESCRIPTION_FILE} says {model.task}; "
            "correct task and decoder"
        )
    yield from _compare_labels(model.labels, metadata.labels)
    spec = model.input
    if metadata.size is not None and metadata.size != (spec.width, spec.height):
        width, height = metadata.size
        yield (
            f"says that its input is {width} wide and {height} high (imgsz), {DESCRIPTION_FILE} "
            f"says {spec.width} and {spec.height}; correct input.width and input.height"
        )
    stride = metadata.stride
    if stride is not None and (spec.width % stride or spec.height % stride):
        yield (
            f"says that its stride is {stride}, and {spec.width} x {spec.height} in "
            f"{DESCRIPTION_FILE} is no multiple of it; correct input.width and input.height"
        )
    if metadata.author == "Ultralytics" and spec.dtype in FLOATS and set(spec.std) == {1.0}:
        yield (
            "says that it is of Ultralytics, whose models take pixels from 0 to 1, "
            f"{DESCRIPTION_FILE} has pixels from 0 to 255; correct input.std to [255.0]"
        )
    yield from _compare_suppression(model, metadata)


def _compare_labels(labels: tuple[str, ...], names: tuple[str, ...]) -> Iterator[str]:
    if not labels or not names:
        return
    if len(labels) != len(names):
        yield (
            f"names {len(names)} classes, {DESCRIPTION_FILE} has {len(labels)} labels; correct "
            "labels"
        )
        return
    for number, (label, name) in enumerate(zip(labels, names, strict=True)):
        if _simple(label) != _simple(name):
            yield (
                f"calls class {number} {name!r:.100}, {DESCRIPTION_FILE} calls it {label!r:.100}; "
                "correct labels, unless you renamed the class"
            )
            return


def _simple(name: str) -> str:
    """Return a name without what differs between lists of the same classes."""
    return "".join(filter(str.isalnum, name.casefold()))


def _compare_suppression(model: ModelDescription, metadata: ExporterMetadata) -> Iterator[str]:
    layout = getattr(model.decoder_settings, "layout", None)
    if model.task != "detection" or layout in (None, "auto"):
        return
    is_end_to_end = layout == "end_to_end"
    if metadata.end2end is True and not is_end_to_end:
        yield (
            f"says that it is end to end, {DESCRIPTION_FILE} has decoder.layout {layout}; correct "
            "it to end_to_end"
        )
    if metadata.end2end is False and metadata.nms is False and is_end_to_end:
        yield (
            f"says that it is not end to end, {DESCRIPTION_FILE} has decoder.layout end_to_end; "
            "correct it to channels_first"
        )
