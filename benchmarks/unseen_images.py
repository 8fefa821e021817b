"""Agreement of derived models with fp32 on images that their calibration did not use.

The shipped models were calibrated on the ImageNet images of foolbox with even numbers, and on
other videos than the sample video.
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
    compare_outputs,
    compare_results,
)
from edge_inference.core.models.golden_check import read_image
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.results import Result, ResultAgreement
from edge_inference.core.settings import change
from edge_inference.errors import SourceError
from edge_inference.optimize.images.calibration_images import calibration_images

#: A box whose score is this close to the threshold may be missing on one side.
_SCORE_MARGIN = 0.1
_VIDEO_FRAMES = 12
#: Left, top and size of the crops, relative to the image.
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
    """Agreement summed over all images."""

    results: ResultAgreement
    outputs: OutputAgreement


class Fp32Reference:
    """The outputs and results of fp32 on all images, to compare candidates with."""

    def __init__(self, model: ModelDescription, fp32: Backend, images: Sequence[Frame]) -> None:
        preprocess = Preprocessor(model.input)
        self._model = model
        self._input_name = model.input.name
        self._lenient: Any = None
        if model.task == "detection":
            confidence = model.decoder_settings.confidence - _SCORE_MARGIN
            self._lenient = change(model.decoder_settings, {"confidence": confidence})
        #: The input tensors, with the geometry that maps results to source pixels.
        self.inputs: list[tuple[NDArray[Any], Geometry]] = [preprocess(image) for image in images]
        self._expected_outputs = [
            fp32.infer({self._input_name: tensor}) for tensor, _ in self.inputs
        ]
        self._expected_results = [
            self._decode(outputs, geometry)
            for outputs, (_, geometry) in zip(self._expected_outputs, self.inputs, strict=True)
        ]

    def compare(self, candidate: Backend, stride: int = 1) -> ReferenceAgreement:
        """Compare a candidate on every image, or on one image in ``stride``.

        Classes must be equal; a box must have a matching box.
        """
        results, outputs = [], []
        selected = list(
            zip(self.inputs, self._expected_outputs, self._expected_results, strict=True)
        )[::stride]
        for (tensor, geometry), expected, (result, lenient_result) in selected:
            actual = candidate.infer({self._input_name: tensor})
            outputs.append(compare_outputs(expected, actual))
            candidate_result, lenient_candidate = self._decode(actual, geometry)
            results.append(
                compare_results(
                    result,
                    candidate_result,
                    lenient_reference=lenient_result,
                    lenient_candidate=lenient_candidate,
                )
            )
        total = ReferenceAgreement(results[0], outputs[0])
        for result_agreement, output_agreement in zip(results[1:], outputs[1:], strict=True):
            total = ReferenceAgreement(
                total.results + result_agreement, total.outputs + output_agreement
            )
        return total

    def _decode(self, outputs: dict[str, NDArray[Any]], geometry: Geometry) -> tuple[Result, Any]:
        strict = self._model.decode(outputs, geometry)
        if self._lenient is None:
            return strict, None
        return strict, self._model.decode(outputs, geometry, self._lenient)


def unseen_images(
    model: ModelDescription, crops: int | None = None, *, min_images: int = 0
) -> list[Frame]:
    """Return images and crops of them: the golden images, and those of foolbox.

    A detector also gets frames of the sample video, as foolbox's images show few of its classes.
    ``crops`` is the number of crops of each image; by default there are as many as are needed
    for ``min_images``. Raises SourceError if a package is missing.
    """
    images = [read_image(golden.image) for golden in model.golden]
    images += [read_image(file) for file in foolbox_images()[1::2]]
    if model.task == "detection":
        frames = calibration_images(sample_video(), limit=_VIDEO_FRAMES)
        images += [frame for frame in frames if isinstance(frame, Frame)]
    if crops is None:
        crops = -(-min_images // len(images)) - 1
    return [part for image in images for part in (image, *_crop(image, crops))]


def foolbox_images() -> list[Path]:
    """Return the 20 ImageNet images of foolbox, by number."""
    spec = importlib.util.find_spec("foolbox")  # importing foolbox would need more packages
    for folder in (spec.submodule_search_locations or []) if spec else []:
        files = sorted(Path(folder, "data").glob("imagenet_*.jpg"))
        if files:
            return files
    raise SourceError(
        "the ImageNet images need the package foolbox, which is not installed; install it with: "
        "pip install --no-deps foolbox==3.3.4"
    )


def _crop(image: Frame, count: int) -> Iterator[Frame]:
    pixels = image.data.reshape(image.height, image.width, 3)
    for left, top, size in _CROPS[:count]:
        x, y = int(left * image.width), int(top * image.height)
        width, height = int(size * image.width), int(size * image.height)
        yield Frame.from_array(np.ascontiguousarray(pixels[y : y + height, x : x + width]))
