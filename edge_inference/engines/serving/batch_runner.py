"""Runs one batch on the engine in service."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.tensors import DeferredTensors, TensorBatch
from edge_inference.engines.serving.engine import Engine
from edge_inference.errors import TensorError

#: Called after each inference with the engine, the number of images, wall and CPU seconds.
OnInference = Callable[[Engine, int, float, float], None]


def _ignore(engine: Engine, images: int, wall_s: float, cpu_s: float) -> None:
    """Ignore the times."""


class BatchRunner:
    """Runs batches on engines. Not thread-safe: it keeps a preprocessor.

    The runner calls ``on_inference`` after each inference on tensors that another stage made.
    """

    def __init__(self, on_inference: OnInference = _ignore) -> None:
        self._on_inference = on_inference
        self._preprocessor: Preprocessor | None = None
        #: For how long an accelerator worked for the last batch, milliseconds; None if unknown.
        self.device_ms: float | None = None

    def __call__(
        self, engine: Engine, batch: TensorBatch, max_batch: int | None = None
    ) -> TensorBatch:
        """Return the raw outputs; at most ``max_batch`` images run at a time.

        If the tensors do not exist yet and the engine takes images, the engine preprocesses the
        image. Tensors for another model were sent before the model changed: the runner
        preprocesses the image again. Raises TensorError for inputs that do not fit, and the
        errors of the engine.
        """
        model = engine.request.model
        outputs: Mapping[str, NDArray[Any]]
        image = batch.images[0] if len(batch.images) == 1 else None
        geometry = batch.geometry
        self.device_ms = None
        if image is not None and _takes_image(engine, batch, image):
            assert isinstance(image, Frame)
            outputs, place = engine.backend.infer_image(image, model.input)
            self._add_device_ms(engine)
            geometry = (place,)
        elif batch.model == model.name:
            if not batch.images:
                _check_finite(batch.tensors)
            outputs = self._infer(engine, batch, max_batch)
        elif image is not None:
            tensor, place = self._preprocess(engine, image)
            outputs = engine.backend.infer({model.input.name: tensor})
            self._add_device_ms(engine)
            geometry = (place,)
        else:
            raise TensorError(
                f"tensor for model {batch.model!r}; this node runs {model.name!r}: set the "
                "parameter model of the node that makes the tensors to the same"
            )
        return TensorBatch(outputs, geometry, model.name, batch.stamp_ns, batch.frame_id)

    def _infer(
        self, engine: Engine, batch: TensorBatch, max_batch: int | None
    ) -> Mapping[str, NDArray[Any]]:
        """Run the batch, in parts if it is too large and every tensor has it as first axis."""
        count = len(batch.geometry)
        tensors = dict(batch.tensors)
        is_indivisible = any(not each.shape or each.shape[0] != count for each in tensors.values())
        if max_batch is None or count <= max_batch or is_indivisible:
            return self._infer_timed(engine, tensors, count)
        parts = [
            self._infer_timed(
                engine,
                {name: each[start : start + max_batch] for name, each in tensors.items()},
                min(max_batch, count - start),
            )
            for start in range(0, count, max_batch)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _infer_timed(
        self, engine: Engine, tensors: Mapping[str, NDArray[Any]], images: int
    ) -> Mapping[str, NDArray[Any]]:
        wall_ns, cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
        outputs = engine.backend.infer(tensors)
        cpu_s = (time.thread_time_ns() - cpu_ns) / 1e9
        self._add_device_ms(engine)
        self._on_inference(engine, images, (time.perf_counter_ns() - wall_ns) / 1e9, cpu_s)
        return outputs

    def _add_device_ms(self, engine: Engine) -> None:
        if engine.backend.device_ms is not None:
            self.device_ms = (self.device_ms or 0.0) + engine.backend.device_ms

    def _preprocess(
        self, engine: Engine, image: Frame | CompressedFrame
    ) -> tuple[NDArray[Any], Geometry]:
        spec = engine.request.model.input
        if self._preprocessor is None or self._preprocessor.spec != spec:
            self._preprocessor = Preprocessor(spec)
        return self._preprocessor(image)


def _takes_image(engine: Engine, batch: TensorBatch, image: Frame | CompressedFrame) -> bool:
    return (
        isinstance(image, Frame)
        and (isinstance(batch.tensors, DeferredTensors) or batch.model != engine.request.model.name)
        and engine.backend.takes_image(image, engine.request.model.input)
    )


def _check_finite(tensors: Mapping[str, NDArray[Any]]) -> None:
    """Check tensors from another process; the preprocessing of this one gives finite values."""
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise TensorError(f"tensor {name!r} has NaN or infinite values; expected finite ones")
