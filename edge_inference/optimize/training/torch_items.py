"""A torch Dataset as labeled images, with its items checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.input_spec import MULTI, InputSpec, pixel_tables
from edge_inference.errors import SourceError
from edge_inference.optimize.training.labeled_dataset import (
    ArrayDataset,
    Batch,
    LabeledDataset,
)

#: Items stay in memory up to this size; those of a larger dataset are read each time.
CACHED_ITEM_BYTES = 512 << 20
_COLORS = {1: "GRAY", 3: "RGB", 4: "RGBA"}
#: Values may exceed those of pixels by rounding, relative to their range.
_TOLERANCE = 0.01
#: More are not numbers of classes.
_MAX_CLASSES = 1 << 20

#: Returns the numbers of the items to keep, from the class of each.
Pick = Callable[[NDArray[np.int64]], NDArray[np.int64]]


class _TorchItems(LabeledDataset):
    """Items that are read and checked each time."""

    def __init__(
        self,
        name: str,
        labels: tuple[str, ...],
        spec: InputSpec,
        items: _Items,
        indices: NDArray[np.int64],
        class_ids: NDArray[np.int64],
    ) -> None:
        self.name = name
        self.labels = labels
        self.input = spec
        self._items = items
        self._indices = indices
        self._class_ids = class_ids

    @property
    def class_ids(self) -> NDArray[np.int64]:
        return self._class_ids

    def load(self, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        chosen = np.asarray(indices, dtype=np.int64)
        images = np.empty((len(chosen), *self.input.shape[1:]), np.float32)
        for place, index in enumerate(chosen):
            number = int(self._indices[index])
            images[place], class_id = self._items.read(number, self.input)
            if class_id != self._class_ids[index]:
                raise SourceError(
                    f"data {self.name}: item {number}: its class was {self._class_ids[index]}, "
                    f"and is {class_id} now; expected the same item each time"
                )
        return images, self._class_ids[chosen]


def open_torch_dataset(
    source: str, dataset: Any, spec: InputSpec | None, pick: Pick
) -> LabeledDataset:
    """Return a torch Dataset, or that which a function or class without arguments returns.

    Items are kept in memory where they take at most ``CACHED_ITEM_BYTES``. Without ``spec`` the
    format is that of the first item, for values from 0 to 1. Raises SourceError with the number
    of the first item that does not fit.
    """
    items = _Items(source, _make(source, dataset))
    spec = spec or items.infer_input()
    class_ids = items.find_classes(spec)
    labels = items.find_labels(class_ids)
    if len(np.unique(class_ids)) < 2:
        raise SourceError(
            f"data {source}: expected at least two classes, got only class {class_ids[0]} in "
            f"{len(class_ids)} items"
        )
    chosen = pick(class_ids)
    whole = _TorchItems(source, labels, spec, items, chosen, class_ids[chosen])
    if len(chosen) * int(np.prod(spec.shape)) * 4 > CACHED_ITEM_BYTES:
        return whole
    images, classes = whole.load(np.arange(len(chosen)))
    return ArrayDataset(source, labels, spec, images, classes)


def _make(source: str, dataset: Any) -> Any:
    if not hasattr(dataset, "__getitem__") or isinstance(dataset, type):
        if not callable(dataset):
            raise SourceError(
                f"data {source}: expected a torch Dataset or a function that returns one, got "
                f"{type(dataset).__name__}"
            )
        try:
            dataset = dataset()
        except (Exception, SystemExit) as error:  # the user's own code: any may come out of it
            raise SourceError(
                f"data {source}: calling it without arguments failed: {type(error).__name__}: "
                f"{error}"
            ) from error
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise SourceError(
            f"data {source}: expected a torch Dataset with __getitem__ and __len__, got "
            f"{type(dataset).__name__}"
        )
    return dataset


class _Items:
    """The items of a Dataset, each checked when it is read."""

    def __init__(self, source: str, dataset: Any) -> None:
        self._source = source
        self._dataset = dataset
        try:
            self._count = len(dataset)
        except Exception as error:  # the user's own code: any error may come out of it
            raise SourceError(
                f"data {source}: its length cannot be read: {type(error).__name__}: {error}"
            ) from error
        if not self._count:
            raise SourceError(f"data {source}: the Dataset is empty; expected items of two classes")

    def infer_input(self) -> InputSpec:
        """Return the format of the first item, for pixels divided by 255."""
        image, _ = self._read(0)
        channels, height, width = image.shape
        color = _COLORS.get(channels, MULTI)
        return InputSpec(
            name="image",
            width=width,
            height=height,
            color=color,
            channel_count=channels if color == MULTI else 3,
            std=(255.0,),
        )

    def find_classes(self, spec: InputSpec) -> NDArray[np.int64]:
        """Return the class of each item, from ``targets`` where the Dataset has it."""
        targets: Any = getattr(self._dataset, "targets", None)
        if hasattr(targets, "__len__") and len(targets) == self._count:
            found = [self._class(number, value) for number, value in enumerate(targets)]
        else:
            found = [self.read(number, spec)[1] for number in range(self._count)]
        return np.array(found, dtype=np.int64)

    def find_labels(self, class_ids: NDArray[np.int64]) -> tuple[str, ...]:
        """Return the Dataset's ``classes``, else the numbers of the classes."""
        names = getattr(self._dataset, "classes", None)
        if not isinstance(names, Iterable):
            return tuple(str(number) for number in range(int(class_ids.max()) + 1))
        labels = tuple(str(name) for name in names)
        wrong = np.flatnonzero(class_ids >= len(labels))
        if len(wrong):
            number = int(wrong[0])
            raise SourceError(
                f"data {self._source}: item {number}: expected a class of 0 to {len(labels) - 1}, "
                f"since classes has {len(labels)} names, got {class_ids[number]}"
            )
        return labels

    def read(self, number: int, spec: InputSpec) -> tuple[NDArray[np.float32], int]:
        """Return an item's image and class. Raises SourceError if it does not fit the format."""
        image, class_id = self._read(number)
        if image.shape != spec.shape[1:]:
            raise SourceError(
                f"data {self._source}: item {number}: expected an image of the shape "
                f"{list(spec.shape[1:])}, got {list(image.shape)}; resize in the Dataset"
            )
        if spec.color != MULTI:
            self._check_values(number, image, spec)
        return image, class_id

    def _check_values(self, number: int, image: NDArray[np.float32], spec: InputSpec) -> None:
        """Check that normalized pixels of 0 to 255 can have the image's values."""
        table = pixel_tables(spec)
        low, high = table.min(), table.max()
        allowed = _TOLERANCE * (high - low)
        if image.min() < low - allowed or image.max() > high + allowed:
            raise SourceError(
                f"data {self._source}: item {number}: expected values of {low:g} to {high:g}, "
                f"which pixels have after mean {list(spec.mean)} and std {list(spec.std)}, got "
                f"{image.min():g} to {image.max():g}; give mean and std of the input as the "
                "Dataset normalizes with, for pixels of 0 to 255"
            )

    def _read(self, number: int) -> tuple[NDArray[np.float32], int]:
        where = f"data {self._source}: item {number}"
        try:
            item = self._dataset[number]
        except (Exception, SystemExit) as error:  # the user's own code: any may come out of it
            raise SourceError(
                f"{where}: reading it failed: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise SourceError(f"{where}: expected (image, class), got {type(item).__name__}")
        image = item[0].detach().cpu().numpy() if hasattr(item[0], "detach") else item[0]
        if not isinstance(image, np.ndarray) or image.ndim != 3 or image.dtype.kind != "f":
            got = (
                f"{image.dtype} {list(image.shape)}"
                if isinstance(image, np.ndarray)
                else type(image).__name__
            )
            raise SourceError(
                f"{where}: expected a float32 image of the shape [channels, height, width], got "
                f"{got}; torchvision's ToTensor makes one"
            )
        if not image.size or not np.isfinite(image).all():
            raise SourceError(f"{where}: expected finite values, got NaN, infinity or none")
        return image.astype(np.float32, copy=False), self._class(number, item[1])

    def _class(self, number: int, value: Any) -> int:
        try:
            class_id = value.__index__()
        except (AttributeError, TypeError, ValueError) as error:
            raise SourceError(
                f"data {self._source}: item {number}: expected the number of its class, got "
                f"{value!r:.100}"
            ) from error
        if not 0 <= class_id < _MAX_CLASSES:
            raise SourceError(
                f"data {self._source}: item {number}: expected a class of 0 to "
                f"{_MAX_CLASSES - 1}, got {class_id!r:.20}"
            )
        return int(class_id)
