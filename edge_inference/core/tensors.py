"""Named tensors between preprocessing, inference and decoding."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.errors import TensorError


@dataclass(frozen=True, eq=False)
class TensorBatch:
    """A model's inputs or raw outputs for one or more images.

    ``tensors`` maps a tensor name to its array, batch axis first.
    ``geometry`` has one entry for each image of the batch; it maps results to
    source pixels, independently of resizing and cropping.
    ``model`` names the model folder that the tensors belong to. ``images`` are
    the source images of the inputs; they do not leave the process, so a batch
    from another process has none. ``skipped`` counts the images since the previous
    batch that were dropped to keep to the commanded rate.
    """

    tensors: Mapping[str, NDArray[Any]]
    geometry: tuple[Geometry, ...]
    model: str
    stamp_ns: int = 0
    frame_id: str = ""
    images: tuple[Frame | CompressedFrame, ...] = ()
    skipped: int = 0

    def outputs_of(self, index: int) -> Mapping[str, NDArray[Any]]:
        """Return the raw outputs of one image of the batch, batch axis kept.

        Raises TensorError for an output of several images that has no batch axis.
        """
        count = len(self.geometry)
        if count == 1:
            return self.tensors
        for name, array in self.tensors.items():
            if array.shape[:1] != (count,):
                raise TensorError(
                    f"output {name!r}: expected a first axis of {count}, one entry for each image, "
                    f"got {list(array.shape)}; publish one image at a time for a model whose "
                    "number of rows depends on the image"
                )
        return {name: array[index : index + 1] for name, array in self.tensors.items()}


class DeferredTensors(Mapping[str, NDArray[Any]]):
    """Tensors that are computed on the first access to one of them.

    An engine that makes its inputs from the image, on its own device, may never
    access them. ``make`` runs once, in the thread of the first access.
    """

    def __init__(self, names: tuple[str, ...], make: Callable[[], Mapping[str, NDArray[Any]]]):
        self._names = names
        self._make = make
        self._tensors: Mapping[str, NDArray[Any]] | None = None
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        with self._lock:
            if self._tensors is None:
                self._tensors = self._make()
            return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
