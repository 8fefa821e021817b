"""The images that ``compare`` and ``bisect`` are told to use."""

from __future__ import annotations

from pathlib import Path

from edge_inference.cli.exit_status import UsageError, print_error
from edge_inference.core.models.model import ModelDescription
from edge_inference.optimize.image_set import ImageSet, images_of, own_images
from edge_inference.optimize.labelled_images import labelled_by_folders, labelled_by_table


def choose_images(
    model: ModelDescription,
    source: str | None,
    labels: str | None = None,
    topic: str = "",
    limit: int | None = None,
) -> ImageSet:
    """Return the images: those of the source or table of labels, else the model's own.

    What cannot be read is told on stderr. Raises UsageError for options that do not go
    together, ConfigError for wrong labels, SourceError where there is no image.
    """
    chosen = _chosen(model, source, labels, topic, limit)
    for reason in chosen.skipped:
        print_error(reason)
    return chosen


def _chosen(
    model: ModelDescription, source: str | None, labels: str | None, topic: str, limit: int | None
) -> ImageSet:
    if topic and source is None:
        raise UsageError("--topic is a topic of the bag that --images names")
    if labels is not None:
        folder = None if source is None else Path(source)
        if folder is not None and not folder.is_dir():
            raise UsageError(f"--images {source}: with --labels, the folder that they are in")
        return labelled_by_table(model, Path(labels), folder, limit)
    if source is None:
        own = own_images(model)
        return own if limit is None else own[:limit]
    labelled = None if topic else labelled_by_folders(model, Path(source), limit)
    return labelled or images_of(source, topic, limit)
