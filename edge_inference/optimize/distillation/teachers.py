"""The models that a student learns from: a PyTorch module, a model folder or an ONNX file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.decoders import checks
from edge_inference.core.decoders.classification import ClassificationSettings
from edge_inference.core.images.input_spec import InputSpec, to_dtype
from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.precision.onnx_file import import_onnx, read_onnx
from edge_inference.errors import ModelError, TensorError
from edge_inference.optimize.export.onnx_export import export_onnx
from edge_inference.optimize.training.evaluate import describe_forward_error
from edge_inference.optimize.training.torch_model import TorchModel, import_torch

_PRECISIONS = ("fp32", "fp16")
#: The smallest probability whose logarithm is a logit: that of float32's rounding near 1.
_MIN_PROBABILITY = 1e-7
#: How far the sum of an image's probabilities may be from 1, since half precision rounds.
_SUM_TOLERANCE = 2e-3


class Teacher(Protocol):
    """A classifier that a student learns from.

    ``input`` is the format of its images, ``labels`` has the names of its classes, and is empty
    if they have none.
    """

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def input(self) -> InputSpec:
        """Format of the images."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes by number; empty if they have none."""

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits ``(N, classes)`` for images ``(N, C, H, W)``. Raises ModelError."""

    def parameter_count(self) -> int:
        """Return the number of weights."""

    def onnx_file(self, folder: Path) -> Path:
        """Return an ONNX file of the teacher, written into ``folder`` if there is none yet."""

    def engine(self, folder: Path) -> Backend:
        """Return the teacher in ONNX Runtime, not open yet; ``folder`` as for ``onnx_file``."""


class TorchTeacher:
    """A teacher in PyTorch; its inner tensors can be learned from, too."""

    def __init__(self, model: TorchModel) -> None:
        self.model = model

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    @property
    def input(self) -> InputSpec:
        """Format of the images."""
        return self.model.input

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes by number."""
        return self.model.labels

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits ``(N, classes)``. Raises ModelError for a module that returns others."""
        torch = import_torch()
        try:
            with torch.inference_mode():
                logits = self.model.module(torch.from_numpy(images))
        except Exception as error:  # the user's own forward(): any error may come out of it
            raise ModelError(
                f"teacher {self.name}: it does not take images of the shape {list(images.shape)}: "
                f"{describe_forward_error(error)}"
            ) from error
        if not isinstance(logits, torch.Tensor):
            raise _no_logits(self.name, type(logits).__name__)
        return _check_logits(self.name, logits.float().numpy(), len(images))

    def parameter_count(self) -> int:
        """Return the number of weights."""
        return self.model.parameter_count()

    def onnx_file(self, folder: Path) -> Path:
        """Export the module. Raises ModelError if it cannot be exported."""
        file = folder / "teacher.onnx"
        if not file.exists():
            # With a fixed batch all shapes in the graph are known.
            export_onnx(self.model, file, dynamic_batch=False)
        return file

    def engine(self, folder: Path) -> Backend:
        """Return the exported module in ONNX Runtime, not open yet."""
        return OrtBackend(self.onnx_file(folder))


class OnnxTeacher:
    """A classifier in ONNX Runtime, with any layout, floating point type and batch.

    A network that ends in a softmax is taken, too: the logarithm of its probabilities is its
    logits up to a constant, which a softmax ignores. Use it as a context manager, or call
    ``close``.
    """

    def __init__(self, model: ModelDescription) -> None:
        """Open a model folder's classifier.

        Raises ModelError for a model of another task, one whose scores are no distribution over
        classes, and altered files; BackendError for a file that ONNX Runtime cannot run.
        """
        if model.task != "classification" or not isinstance(
            model.decoder_settings, ClassificationSettings
        ):
            raise ModelError(
                f"teacher {model.name}: its task is {model.task} with the decoder "
                f"{model.decoder}; a student learns from a classifier's logits; expected task: "
                "classification"
            )
        if model.decoder_settings.activation == "sigmoid":
            raise ModelError(
                f"teacher {model.name}: its classes are independent of each other (activation "
                "sigmoid in model.yaml); a student learns from one distribution over all classes, "
                "a softmax"
            )
        precision = next((each for each in _PRECISIONS if each in model.variants), None)
        if precision is None:
            raise ModelError(
                f"teacher {model.name}: expected a variant fp32 or fp16, got "
                f"{', '.join(model.variants) or 'none'}"
            )
        variant = model.variants[precision]
        variant.verify()
        self._start(model, variant.file)

    @classmethod
    def from_file(cls, file: Path, spec: InputSpec, labels: tuple[str, ...]) -> OnnxTeacher:
        """Open an ONNX file that has no model folder.

        The caller states the format of its images and the classes; the name of the input is the
        file's. Raises ModelError for a file with other inputs than one image, BackendError.
        """
        with OrtBackend(file) as backend:
            names = [each.name for each in backend.inputs]
        if len(names) != 1:
            raise ModelError(
                f"{file}: expected one input, the images, got {', '.join(names) or 'none'}; make "
                "a model folder that states the others, with edge-inference models new"
            )
        model = ModelDescription(
            name=file.stem,
            folder=file.parent,
            task="classification",
            description="",
            license="",
            source="",
            input=replace(spec, name=names[0]),
            decoder="classification",
            decoder_settings=ClassificationSettings(),
            labels=labels,
            variants={},
            golden=(),
        )
        teacher = cls.__new__(cls)
        teacher._start(model, file)
        return teacher

    def _start(self, model: ModelDescription, file: Path) -> None:
        self._model = model
        self._file = file
        self._backend = self.engine(file.parent).open()

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._model.name

    @property
    def input(self) -> InputSpec:
        """Format of the images, as the graph has it."""
        return self._model.input

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes by number; empty if they have none."""
        return self._model.labels

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits ``(N, classes)`` for images ``(N, C, H, W)``, whatever the graph's layout.

        Raises ModelError for a graph whose scores are not one row of classes for each image,
        TensorError for images that do not fit the input.
        """
        spec = self._model.input
        tensors = images if spec.is_planar else images.transpose(0, 2, 3, 1)
        tensors = np.ascontiguousarray(
            to_dtype(tensors.astype(np.float64), np.dtype(spec.dtype))
            if np.dtype(spec.dtype) != tensors.dtype
            else tensors
        )
        rows = self._rows_at_once(len(images))
        parts = [
            self._scores(tensors[start : start + rows]) for start in range(0, len(tensors), rows)
        ]
        return np.concatenate(parts)

    def parameter_count(self) -> int:
        """Return the number of floating point values in the graph's weights."""
        onnx = import_onnx()
        types = onnx.TensorProto
        floats = (types.FLOAT, types.FLOAT16, types.DOUBLE, types.BFLOAT16)
        graph = read_onnx(self._file)[0].graph
        return sum(
            int(np.prod(tensor.dims, dtype=np.int64))
            for tensor in graph.initializer
            if tensor.data_type in floats
        )

    def onnx_file(self, folder: Path) -> Path:
        """Return the file itself."""
        return self._file

    def engine(self, folder: Path) -> Backend:
        """Return a second engine of the file, not open yet."""
        return OrtBackend(self._file).fit_to(self._model)

    def close(self) -> None:
        """Free the engine."""
        self._backend.close()

    def __enter__(self) -> OnnxTeacher:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _rows_at_once(self, count: int) -> int:
        """Return how many images the graph takes in one run."""
        spec = self._model.input
        if not spec.has_batch_axis or spec.batch > 1:
            return spec.batch
        return count if self._backend.inputs[0].shape[0] is None else 1

    def _scores(self, tensors: NDArray[Any]) -> NDArray[np.float32]:
        outputs = self._backend.infer({self._model.input.name: tensors})
        try:
            output = checks.choose_output(
                outputs,
                self._model.decoder_settings.scores_output,
                setting="scores_output",
                expected="the class scores [N, C]",
                fits=lambda array: array.ndim == 2,
                keywords=("logit", "score", "prob", "class"),
            )
            scores = checks.to_unchecked_floats(output)
        except TensorError as error:
            raise ModelError(f"teacher {self.name}: {error}") from error
        if scores.ndim == 4 and scores.size == len(tensors) * max(scores.shape[1:]):
            scores = scores.reshape(len(tensors), -1)
        scores = _check_logits(self.name, scores, len(tensors))
        if scores.min() >= 0 and (np.abs(scores.sum(axis=1) - 1) <= _SUM_TOLERANCE).all():
            return np.asarray(np.log(np.maximum(scores, _MIN_PROBABILITY)), dtype=np.float32)
        if self._model.decoder_settings.activation == "none":
            raise ModelError(
                f"teacher {self.name}: its scores are no probabilities of one distribution over "
                "all classes, but its model.yaml has activation: none; a student learns from a "
                "softmax or from logits"
            )
        return scores


def _check_logits(name: str, logits: NDArray[Any], count: int) -> NDArray[np.float32]:
    if logits.ndim != 2 or len(logits) != count or logits.shape[1] < 2:
        raise _no_logits(name, str(list(logits.shape)), count)
    if not np.isfinite(logits).all():
        raise ModelError(
            f"teacher {name}: its logits are NaN or infinite; check its weights and the mean and "
            "std of its input"
        )
    return np.asarray(logits, dtype=np.float32)


def _no_logits(name: str, got: str, count: int = 1) -> ModelError:
    return ModelError(
        f"teacher {name}: expected logits of the shape [{count}, classes], got {got}; a student "
        "learns from a classifier, not from one that returns boxes or masks"
    )
