"""A teacher's logits for the images of a dataset, and whether they fit a student.

They are computed once for each image and kept in memory, so that a training of many epochs runs
the teacher once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.input_spec import MULTI, InputSpec
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.errors import CancelledError, ConfigError, ModelError
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.distillation.teachers import Teacher
from edge_inference.optimize.training.labeled_dataset import LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel

#: Logits of more bytes than this are computed anew for every batch instead of kept.
MAX_KEPT_BYTES = 512 << 20
#: Images that a teacher gets at once.
_BATCH = 64


class TeacherLogits:
    """A teacher's logits for the images of one or several datasets, in the order of the student.

    Images are numbered through all datasets. The logits are computed once, float32, if all of them
    have at most ``max_bytes``; otherwise anew for each batch.
    """

    def __init__(
        self,
        teacher: Teacher,
        datasets: tuple[LabeledDataset, ...],
        columns: NDArray[np.int64],
        max_bytes: int = MAX_KEPT_BYTES,
        progress: Progress = lambda phase, fraction: None,
        cancelled: Cancelled = lambda: False,
    ) -> None:
        """Compute the logits. Raises what the teacher raises, CancelledError."""
        self._teacher = teacher
        self._columns = columns
        count = sum(len(each) for each in datasets)
        self.are_kept = count * len(columns) * 4 <= max_bytes
        self._kept = np.empty((count if self.are_kept else 0, len(columns)), dtype=np.float32)
        done = 0
        for dataset in datasets if self.are_kept else ():
            for images, _ in dataset.batches(_BATCH):
                _stop_if(cancelled, teacher)
                self._kept[done : done + len(images)] = self._compute(images)
                done += len(images)
                progress(f"running the teacher {teacher.name}", done / count)

    def of(self, numbers: NDArray[np.int64], images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits ``(N, classes)`` of the images with these numbers."""
        return self._kept[numbers] if self.are_kept else self._compute(images)

    def _compute(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._teacher.logits(images)[:, self._columns]


def evaluate_teacher(
    teacher: Teacher,
    dataset: LabeledDataset,
    columns: NDArray[np.int64],
    cancelled: Cancelled = lambda: False,
) -> MeasuredAccuracy:
    """Return how many images a teacher classifies correctly. Raises CancelledError."""
    correct = 0
    for images, class_ids in dataset.batches(_BATCH):
        _stop_if(cancelled, teacher)
        found = teacher.logits(images)[:, columns].argmax(1)
        correct += int((found == class_ids).sum())
    return MeasuredAccuracy(correct, len(dataset))


def match_classes(teacher: Teacher, student: TorchModel) -> NDArray[np.int64]:
    """Return the teacher's class number of each class of the student.

    Raises ModelError where the two do not have the same classes; their order may differ.
    """
    spec = student.input
    probe = np.zeros((1, spec.channels, spec.height, spec.width), dtype=np.float32)
    count = teacher.logits(probe).shape[1]
    names, wanted = teacher.labels, student.labels
    if names and len(names) != count:
        raise ModelError(
            f"teacher {teacher.name}: it has {len(names)} labels, but returns {count} logits"
        )
    if count != len(wanted):
        raise ModelError(
            f"teacher {teacher.name}: expected logits of {len(wanted)} classes like the student "
            f"{student.name}, got {count}; both must be trained on the same classes"
        )
    if not names or names == wanted:
        return np.arange(count)
    missing = [each for each in wanted if each not in names]
    if missing or len(set(names)) != count:
        raise ModelError(
            f"teacher {teacher.name}: it does not have the student's class "
            f"{missing[0] if missing else wanted[0]!r}; it has {', '.join(names[:5])}"
            f"{' …' if count > 5 else ''}; both must be trained on the same classes"
        )
    return np.array([names.index(each) for each in wanted], dtype=np.int64)


def check_same_input(name: str, spec: InputSpec, other: str, wanted: InputSpec) -> None:
    """Raise ConfigError with all differences where two models do not read the same images.

    The name of the tensor, layout, batch and floating point type may differ.
    """
    own, expected = _preprocessing(spec), _preprocessing(wanted)
    different = [key for key in expected if own[key] != expected[key]]
    if different:
        raise ConfigError(
            f"{name} and {other} read different images: "
            + ", ".join(f"{key} {_show(own[key])} and {_show(expected[key])}" for key in different)
            + "; both must have the same preprocessing"
        )


def _preprocessing(spec: InputSpec) -> dict[str, object]:
    """Return the settings that decide the values of a tensor."""
    channels = spec.channels
    found: dict[str, object] = {
        "width": spec.width,
        "height": spec.height,
        "color": spec.color if spec.color != MULTI else f"MULTI of {channels}",
        "mean": tuple(spec.mean) * (channels if len(spec.mean) == 1 else 1),
        "std": tuple(spec.std) * (channels if len(spec.std) == 1 else 1),
        "resize": spec.resize,
        "interpolation": spec.interpolation,
    }
    # These have no effect on the other ways to resize.
    found["crop_fraction"] = spec.crop_fraction if spec.resize == "center_crop" else None
    padding = (spec.pad_value, spec.letterbox_align)
    found["padding"] = padding if spec.resize == "letterbox" else None
    return found


def _show(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _stop_if(cancelled: Cancelled, teacher: Teacher) -> None:
    if cancelled():
        raise CancelledError(f"teacher {teacher.name}: its run was cancelled")
