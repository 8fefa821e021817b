"""Opens images that only a teacher has to name."""

from __future__ import annotations

from pathlib import Path

from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.images.media import IMAGE_SUFFIXES
from edge_inference.errors import SourceError
from edge_inference.optimize.images.calibration_images import pick_evenly
from edge_inference.optimize.images.image_set import load_labeled_files
from edge_inference.optimize.training.dataset_sources import FrameDataset, open_dataset
from edge_inference.optimize.training.labeled_dataset import LabeledDataset


def open_unlabeled(source: str, spec: InputSpec, *, limit: int | None = None) -> LabeledDataset:
    """Open the images of a folder, or those of a source of labeled images.

    ``source`` is a folder with images, which are read when they are needed, or what
    ``open_dataset`` takes; the classes of the result have no meaning. Raises SourceError for a
    folder without a readable image, and what ``open_dataset`` raises.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return open_dataset(source, spec, limit=limit)
    try:
        entries = sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise SourceError(f"unlabeled {source}: cannot be read ({error.strerror})") from error
    files = [each for each in entries if each.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        if any(each.is_dir() for each in entries):
            return open_dataset(source, spec, limit=limit)
        raise SourceError(
            f"unlabeled {source}: expected images of {', '.join(IMAGE_SUFFIXES)} in the folder, "
            "got none"
        )
    chosen = [files[index] for index in pick_evenly(len(files), limit or len(files))]
    images = load_labeled_files(dict.fromkeys(chosen, 0), source, None)
    return FrameDataset(source, (), spec, images)
