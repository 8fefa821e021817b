"""Named arrays between preprocessing, inference and decoding."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.geometry import Geometry


@dataclass(frozen=True, eq=False)
class TensorBatch:
    """A model's inputs or raw outputs for one or more images.

    ``tensors`` maps a tensor name to its array, batch axis first.
    ``geometry`` has one entry an image of the batch, so that results can be
    given in source pixels whatever was done to fit the image in.
    ``skipped`` counts the images that were given up for a commanded rate since the
    batch before this one.
    ``model`` names the model folder the tensors belong to. ``images`` are
    what inputs were made from; they do not leave the process, and are missing
    from a batch that came from another one.
    """

    tensors: Mapping[str, NDArray[Any]]
    geometry: tuple[Geometry, ...]
    model: str
    stamp_ns: int = 0
    frame_id: str = ""
    images: tuple[Frame | CompressedFrame, ...] = ()
    skipped: int = 0


class DeferredTensors(Mapping[str, NDArray[Any]]):
    """Tensors that are made when somebody first looks at one.

    For inputs that an engine makes from the image itself, on its own device:
    nobody may ever look. ``make`` runs once, in the thread that looks first.
    """

    def __init__(self, names: tuple[str, ...], make: Callable[[], Mapping[str, NDArray[Any]]]):
        self._names = names
        self._make = make
        self._made: Mapping[str, NDArray[Any]] | None = None
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
