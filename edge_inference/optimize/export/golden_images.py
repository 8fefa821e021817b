"""Golden images of a classifier: images that it is sure of, with the result on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.image_file import write_png
from edge_inference.core.images.input_spec import MULTI
from edge_inference.core.images.media import IMAGE_SUFFIXES
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.golden_check import read_image
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.results import Classification
from edge_inference.errors import ImageError
from edge_inference.optimize.export.model_yaml import GoldenEntry
from edge_inference.optimize.images.calibration_images import pick_evenly
from edge_inference.optimize.training.labeled_dataset import LabeledDataset

GOLDEN_IMAGES = 2
GOLDEN_FOLDER = "golden"
_GOLDEN_CANDIDATES = 64
#: Below this lead of the first class over the second, int8 may change the order.
_MIN_LEAD = 0.2
_MAX_GOLDEN_BYTES = 1 << 20
_MAX_GOLDEN_SIDE = 512
_ENCODINGS = {"GRAY": "mono8", "RGB": "rgb8", "BGR": "bgr8", "RGBA": "rgba8", "BGRA": "bgra8"}


class GoldenWriter:
    """Chooses golden images of a dataset, and writes them with the results of an engine."""

    def __init__(self, model: ModelDescription, backend: Backend, folder: Path) -> None:
        self._model = model
        self._backend = backend
        self._folder = folder
        self._preprocess = Preprocessor(model.input)

    def write(self, dataset: LabeledDataset) -> Iterator[GoldenEntry]:
        """Yield the entries of ``golden``, best first, after writing their images."""
        for index in self._choose(dataset):
            frame = source_frame(dataset, index)
            assert frame is not None
            file = self._write_image(frame, index)
            if file is None:
                continue
            # As the check reads it: a copy may be smaller, or have lost its alpha.
            result = self._classify(read_image(file))
            if result is not None and _lead(result) >= _MIN_LEAD:
                score = round(float(result.scores[0]), 2)
                entry = {"label": result.label(0), "score": score}
                yield GoldenEntry(f"{GOLDEN_FOLDER}/{file.name}", "classes", (entry,))
            else:
                file.unlink()

    def _choose(self, dataset: LabeledDataset) -> list[int]:
        """Return the images of different classes that are recognized with the largest lead."""
        found: dict[int, tuple[float, int]] = {}
        for index in pick_evenly(len(dataset), _GOLDEN_CANDIDATES):
            frame = source_frame(dataset, index)
            result = None if frame is None else self._classify(frame)
            if result is None or int(result.class_ids[0]) != int(dataset.class_ids[index]):
                continue
            class_id, lead = int(result.class_ids[0]), _lead(result)
            if lead > found.get(class_id, (0.0, 0))[0]:
                found[class_id] = lead, index
        best = sorted(found.values(), key=lambda pair: (-pair[0], pair[1]))
        return [index for _, index in best[:GOLDEN_IMAGES]]

    def _classify(self, frame: Frame) -> Classification | None:
        try:
            tensor, geometry = self._preprocess(frame)
        except ImageError:  # its colors or numbers are not those of the model
            return None
        outputs = self._backend.infer({self._model.input.name: tensor})
        result = self._model.decode(outputs, geometry)
        assert isinstance(result, Classification)
        return result if len(result) > 1 else None

    def _write_image(self, frame: Frame, index: int) -> Path | None:
        """Copy a small file, else write the pixels as PNG; None for numbers that are no pixels."""
        folder = self._folder / GOLDEN_FOLDER
        folder.mkdir(exist_ok=True)
        origin = Path(frame.origin)
        if origin.suffix.lower() in IMAGE_SUFFIXES and origin.stat().st_size <= _MAX_GOLDEN_BYTES:
            copy = folder / f"{index}{origin.suffix.lower()}"
            copy.write_bytes(origin.read_bytes())
            return copy
        file = folder / f"{index}.png"
        try:
            write_png(file, frame, _MAX_GOLDEN_SIDE)
        except ImageError:
            return None
        return file


def _lead(result: Classification) -> float:
    return float(result.scores[0] - result.scores[1])


def source_frame(dataset: LabeledDataset, index: int) -> Frame | None:
    """Return the source of an image, else the pixels that its tensor stands for."""
    frame = dataset.frame(index)
    spec = dataset.input
    if frame is not None or spec.color == MULTI:
        return frame
    tensor, _ = dataset.load([index])
    values = tensor[0].transpose(1, 2, 0) * np.array(spec.std) + np.array(spec.mean)
    pixels: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return Frame.from_array(pixels, _ENCODINGS[spec.color])
