"""A backend: OpenCV's dnn module runs the model on the CPU, in fp32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import Backend, TensorSpec
from edge_inference.engines.cache.artifacts import Artifact, onnx_for
from edge_inference.engines.serving.backend_table import BackendCandidate, EngineRequest
from edge_inference.errors import BackendError, EngineFileError

F32 = np.dtype(np.float32)


class OpenCvBackend(Backend):
    """Runs an ONNX file with one input, of that name and shape."""

    name = "opencv"

    def __init__(self, file: Path, name: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._file = file
        self._input = name
        self._shape = shape
        self._net: Any = None
        self._names: list[str] = []

    def describe(self) -> str:
        """Return the version of OpenCV and the file as text."""
        return f"OpenCV {cv2.__version__}, {self._file.name}, fp32"

    def _open(self) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        try:
            self._net = cv2.dnn.readNetFromONNX(str(self._file))
        except cv2.error as error:
            raise EngineFileError(f"{self._file}: OpenCV cannot read it: {error}") from error
        self._names = list(self._net.getUnconnectedOutLayersNames())
        # OpenCV knows the shapes of the outputs only after a run.
        outputs = self._infer({self._input: np.zeros(self._shape, F32)})
        specs = [TensorSpec(name, F32, output.shape) for name, output in outputs.items()]
        return [TensorSpec(self._input, F32, self._shape)], specs

    def _infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self._net.setInput(np.ascontiguousarray(inputs[self._input]))
        outputs = self._net.forward(self._names)
        # OpenCV puts the kind of its layer before a name, and reuses the memory of the outputs.
        return {
            name.rpartition("!")[2]: np.array(output, F32)
            for name, output in zip(self._names, outputs, strict=True)
        }

    def _close(self) -> None:
        self._net = None


def _unavailable_reason() -> str | None:
    return None if hasattr(cv2, "dnn") else "this OpenCV has no dnn module"


def _artifact(request: EngineRequest, precision: str) -> Artifact:
    if precision != "fp32":
        raise BackendError(f"backend 'opencv': expected precision fp32, got {precision}")
    return onnx_for(request.model, precision, "onnxruntime")


def _make(request: EngineRequest, precision: str, file: Path) -> Backend:
    return OpenCvBackend(file, request.model.input.name, request.model.input.shape)


def _execution(request: EngineRequest) -> str:
    return f"OpenCV {cv2.__version__}"


OPENCV = BackendCandidate("opencv", _unavailable_reason, _artifact, _make, "fp32", _execution)
