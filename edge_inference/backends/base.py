"""The interface of every inference backend.

The public methods check arguments and results here, once for all backends. A backend implements
only ``describe``, ``_open``, ``_infer`` and ``_close``. ``null.py`` is the smallest complete
example, and ``contract.py`` checks what this class cannot enforce.

An exception of a backend's own code becomes a BackendError, after which another engine serves.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.frame import Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.graph.graph_binding import GraphBinding, bind_graph
from edge_inference.core.models.graph.tensor_spec import TensorSpec
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.runtime.worker import format_error
from edge_inference.errors import BackendError, EdgeInferenceError, ModelError, TensorError

__all__ = ["Backend", "TensorSpec", "check_tensors"]


class Backend(ABC):
    """One model in one engine. Use it as a context manager, or call ``open`` and ``close``.

    Any thread may call ``infer``. At most ``concurrency`` calls run at a time; other calls, and
    ``close``, wait for them.
    """

    #: Name in configuration files and parameters.
    name = ""

    def __init__(self, concurrency: int = 1) -> None:
        self.inputs: tuple[TensorSpec, ...] = ()
        self.outputs: tuple[TensorSpec, ...] = ()
        #: The precision that really computes, None where the engine does not report it.
        self.precision_in_use: str | None = None
        #: Whether the backend preprocesses images on its device; see ``takes_image``.
        self.takes_images = False
        self._model: ModelDescription | None = None
        self._graph_outputs: tuple[TensorSpec, ...] = ()
        self._binding = GraphBinding((), ())
        self._is_open = False
        self._concurrency = concurrency
        self._running = 0
        self._changed = threading.Condition()
        self._of_thread = threading.local()

    @property
    def device_ms(self) -> float | None:
        """The time for which the accelerator worked in this thread's last call of ``infer``.

        Milliseconds, copies included; None where the backend does not tell. A backend that can
        sets it in ``_infer``.
        """
        return getattr(self._of_thread, "device_ms", None)

    @device_ms.setter
    def device_ms(self, value: float | None) -> None:
        self._of_thread.device_ms = value

    def fit_to(self, model: ModelDescription) -> Backend:
        """Let ``open`` fit the graph to a model; return this backend.

        ``inputs`` is then the image's tensor only, always with a batch axis: the model has the
        values of all other inputs.
        """
        self._model = model
        return self

    def open(self) -> Backend:
        """Load the model.

        Raises BackendError where that fails, or where it is open already, and ModelError where
        the graph contradicts the model that it was fitted to.
        """
        with self._changed:
            if self._is_open:
                raise BackendError(f"backend {self.name!r} is open already; close it first")
            with self._errors("open"):
                inputs, outputs = self._open()
                try:
                    self._bind(tuple(inputs), tuple(outputs))
                except ModelError:
                    self._close()
                    raise
            self._is_open = True
        return self

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model once.

        Inputs and outputs are arrays by tensor name; the caller owns the outputs. Raises
        TensorError for inputs that do not fit the model, BackendError for a run that fails.
        """
        with self._slot():
            check_tensors(inputs, self.inputs)
            feeds = self._binding.feed(inputs)
            with self._errors("infer"):
                outputs = self._infer(feeds)
            self._check_outputs(outputs)
            return self._binding.unwrap(outputs, inputs)

    def takes_image(self, image: Frame, spec: InputSpec) -> bool:
        """Tell whether :meth:`infer_image` accepts an image like this for this input."""
        return False

    def infer_image(
        self, image: Frame, spec: InputSpec
    ) -> tuple[dict[str, NDArray[Any]], Geometry]:
        """Preprocess on the device and run the model once; only if ``takes_image`` is True.

        Returns the outputs as ``infer`` does, and the geometry of the image in the tensor.
        Raises ImageError for an inconsistent image.
        """
        with self._slot():
            with self._errors("infer"):
                outputs, geometry = self._infer_image(image, spec)
            self._check_outputs(outputs)
            return outputs, geometry

    def close(self) -> None:
        """Free everything. Closing a closed backend does nothing."""
        with self._changed:
            if self._is_open:
                self._is_open = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._running == 0)
                with self._errors("close"):
                    self._close()

    def __enter__(self) -> Backend:
        return self if self._is_open else self.open()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Wait for one of the ``concurrency`` slots, and hold it during the block."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_open or self._running < self._concurrency)
            if not self._is_open:
                raise BackendError(f"backend {self.name!r} is not open; call open() first")
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        """Let only exceptions of this package pass."""
        try:
            yield
        except EdgeInferenceError:
            raise
        except Exception as error:
            raise BackendError(
                f"backend {self.name!r} failed to {action}: {format_error(error)}"
            ) from error

    def _bind(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
        self._graph_outputs = outputs
        self._binding = (
            GraphBinding(inputs, outputs)
            if self._model is None
            else bind_graph(self._model, inputs, outputs)
        )
        self.inputs, self.outputs = self._binding.inputs, self._binding.outputs

    def _check_outputs(self, outputs: dict[str, NDArray[Any]]) -> None:
        if not isinstance(outputs, dict):
            raise BackendError(
                f"backend {self.name!r}: expected a dict of outputs, got {type(outputs).__name__}"
            )
        try:
            check_tensors(outputs, [_of_shape(spec, outputs) for spec in self._graph_outputs])
        except TensorError as error:
            raise BackendError(f"backend {self.name!r}: its outputs are wrong: {error}") from error

    @abstractmethod
    def describe(self) -> str:
        """Return what really runs as text: engine, device, threads, precision."""

    @abstractmethod
    def _open(self) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        """Load the model and return its input and output specs."""

    @abstractmethod
    def _infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model on checked inputs."""

    def _infer_image(
        self, image: Frame, spec: InputSpec
    ) -> tuple[dict[str, NDArray[Any]], Geometry]:
        """Preprocess on the device and run the model."""
        raise BackendError(f"backend {self.name!r} accepts tensors only; preprocess the image")

    @abstractmethod
    def _close(self) -> None:
        """Free everything."""


def _of_shape(spec: TensorSpec, outputs: Mapping[str, NDArray[Any]]) -> TensorSpec:
    """Return an output's spec, with the shape that came where the graph tells none."""
    output = outputs.get(spec.name)
    if spec.shape or not isinstance(output, np.ndarray):
        return spec
    return replace(spec, shape=output.shape)


def check_tensors(tensors: Mapping[str, NDArray[Any]], specs: Sequence[TensorSpec]) -> None:
    """Raise TensorError where tensors do not fit the specs."""
    for spec in specs:
        tensor = tensors.get(spec.name)
        if tensor is None:
            raise TensorError(
                f"tensor {spec.name!r} is missing: expected {_list_specs(specs)}, "
                f"got {sorted(tensors)}"
            )
        if not isinstance(tensor, np.ndarray):
            raise TensorError(
                f"tensor {spec.name!r}: expected a numpy array of {spec}, "
                f"got a {type(tensor).__name__}"
            )
        fits = len(tensor.shape) == len(spec.shape) and all(
            expected is None or expected == length
            for expected, length in zip(spec.shape, tensor.shape, strict=True)
        )
        if not fits or tensor.dtype != spec.dtype:
            raise TensorError(
                f"tensor {spec.name!r}: expected {spec}, got {tensor.dtype} {list(tensor.shape)}"
            )
    if len(tensors) > len(specs):
        extra = sorted(set(tensors) - {spec.name for spec in specs})
        raise TensorError(f"tensor {extra[0]!r} is unknown: expected {_list_specs(specs)}")


def _list_specs(specs: Sequence[TensorSpec]) -> str:
    return "; ".join(str(spec) for spec in specs)
