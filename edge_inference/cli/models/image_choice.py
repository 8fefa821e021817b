"""Chooses the images for ``compare`` and ``bisect`` from their options."""

from __future__ import annotations

from pathlib import Path

from edge_inference.cli.exit_status import UsageError, print_error
from edge_inference.core.models.model import ModelDescription
from edge_inference.optimize.images.image_set import ImageSet, golden_image_set, load_image_set
from edge_inference.optimize.images.labeled_images import load_labeled_folders, load_labeled_table


def choose_images(
    model: ModelDescription,
    source: str | None,
    labels: str | None = None,
    topic: str = "",
    limit: int | None = None,
) -> ImageSet:
    """Return the images of the source or of the table of labels; by default the golden images.

    Images that cannot be read are reported on stderr. Raises UsageError for options that exclude
    each other, ConfigError for wrong labels, SourceError without any image.
    """
    images = _load_images(model, source, labels, topic, limit)
    for reason in images.skipped:
        print_error(reason)
    return images


def _load_images(
    model: ModelDescription, source: str | None, labels: str | None, topic: str, limit: int | None
) -> ImageSet:
    if topic and source is None:
        raise UsageError("--topic needs --images: the bag that has the topic")
    if labels is not None:
        folder = None if source is None else Path(source)
        if folder is not None and not folder.is_dir():
            raise UsageError(f"--images {source}: expected the folder of the images in --labels")
        return load_labeled_table(model, Path(labels), folder, limit)
    if source is None:
        return golden_image_set(model, limit)
    labeled = None if topic else load_labeled_folders(model, Path(source), limit)
    return labeled or load_image_set(source, topic, limit)
