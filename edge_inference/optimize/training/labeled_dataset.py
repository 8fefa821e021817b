"""Labeled images as a model reads them: preprocessed tensors with the number of their class.

What a model is trained on goes through the same preprocessing as on the robot, so that the
deployed model sees the numbers that it was trained with.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.frame import Frame
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.errors import SourceError

#: Shares of the images for training, for decisions, and for the final figure.
SHARES = (0.7, 0.15, 0.15)
#: Images that are read at once for a checksum.
_DIGEST_IMAGES = 64

#: Images ``(N, C, H, W)`` as float32, and the number of the class of each, ``(N,)`` as int64.
Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


class LabeledDataset(ABC):
    """Images with their classes, read on demand.

    ``name`` is what the user gave, ``labels`` the names of the classes by number, ``input`` the
    format of the tensors, always in the order NCHW and float32. ``skipped`` says why images were
    left out.
    """

    name: str
    labels: tuple[str, ...]
    input: InputSpec
    skipped: tuple[str, ...] = ()

    @property
    @abstractmethod
    def class_ids(self) -> NDArray[np.int64]:
        """The class of each image, shape ``(len(self),)``; reads no image."""

    @abstractmethod
    def load(self, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        """Return the images with these numbers. Raises SourceError for one that is unreadable."""

    def frame(self, index: int) -> Frame | None:
        """Return an image as it was before preprocessing, None where that is unknown."""
        return None

    def __len__(self) -> int:
        return len(self.class_ids)

    def batches(
        self, size: int, order: Sequence[int] | NDArray[np.int64] | None = None
    ) -> Iterator[Batch]:
        """Yield all images, or those of ``order`` in this order, at most ``size`` at a time."""
        chosen = np.arange(len(self)) if order is None else np.asarray(order, dtype=np.int64)
        for start in range(0, len(chosen), size):
            yield self.load(chosen[start : start + size])

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> LabeledDataset:
        """Return the images with these numbers as a dataset of their own."""
        return _Subset(self, np.asarray(indices, dtype=np.int64))

    def digest(self) -> str:
        """Return a sha256 over the labels, the format, and all images with their classes.

        It tells whether a cached result belongs to this dataset, so it reads every image: a single
        one that was changed makes another dataset. Raises SourceError for an unreadable one.
        """
        digest = hashlib.sha256(repr((self.labels, self.input)).encode())
        digest.update(self.class_ids.tobytes())
        for images, _ in self.batches(_DIGEST_IMAGES):
            digest.update(np.ascontiguousarray(images).tobytes())
        return digest.hexdigest()


class ArrayDataset(LabeledDataset):
    """Images that are in memory: ``images`` as ``(N, C, H, W)`` float32 of the format ``input``."""

    def __init__(
        self,
        name: str,
        labels: Sequence[str],
        spec: InputSpec,
        images: NDArray[np.float32],
        class_ids: NDArray[np.int64],
    ) -> None:
        """Raises SourceError for arrays that do not fit each other."""
        if len(images) != len(class_ids) or not len(images):
            raise SourceError(
                f"dataset {name}: expected as many images as classes and at least one, got "
                f"{len(images)} images and {len(class_ids)} classes"
            )
        self.name = name
        self.labels = tuple(labels)
        self.input = spec
        self._images = images
        self._class_ids = class_ids.astype(np.int64)

    @property
    def class_ids(self) -> NDArray[np.int64]:
        """The class of each image, shape ``(len(self),)``."""
        return self._class_ids

    def load(self, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        """Return the images with these numbers."""
        chosen = np.asarray(indices, dtype=np.int64)
        return self._images[chosen], self._class_ids[chosen]


class _Subset(LabeledDataset):
    def __init__(self, whole: LabeledDataset, indices: NDArray[np.int64]) -> None:
        self.name = whole.name
        self.labels = whole.labels
        self.input = whole.input
        self.skipped = whole.skipped
        self._whole = whole
        self._indices = indices

    @property
    def class_ids(self) -> NDArray[np.int64]:
        return self._whole.class_ids[self._indices]

    def load(self, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        return self._whole.load(self._indices[np.asarray(indices, dtype=np.int64)])

    def frame(self, index: int) -> Frame | None:
        return self._whole.frame(int(self._indices[index]))


@dataclass(frozen=True)
class DatasetSplit:
    """One dataset in three parts without a common image.

    Models learn from ``train``, decisions are made on ``validation``, and ``test`` gives the
    figures that are reported: nothing was chosen by it.
    """

    train: LabeledDataset
    validation: LabeledDataset
    test: LabeledDataset


def split_dataset(
    dataset: LabeledDataset, seed: int = 0, shares: tuple[float, float, float] = SHARES
) -> DatasetSplit:
    """Split by class, so that each part has about the same share of every class.

    The same seed gives the same parts. Raises SourceError if a part would be empty.
    """
    generator = np.random.default_rng(seed)
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    class_ids = dataset.class_ids
    for class_id in np.unique(class_ids):
        indices = generator.permutation(np.flatnonzero(class_ids == class_id))
        first, second = np.round(np.cumsum(shares[:2]) * len(indices)).astype(int)
        for part, chosen in zip(
            parts, (indices[:first], indices[first:second], indices[second:]), strict=True
        ):
            part.extend(chosen.tolist())
    if not all(parts):
        raise SourceError(
            f"dataset {dataset.name}: {len(dataset)} images of {len(np.unique(class_ids))} classes "
            f"are too few for parts of {shares} for training, validation and test; give at least "
            "ten of each class"
        )
    return DatasetSplit(*(dataset.subset(sorted(part)) for part in parts))
