"""The check of the contract that authors of backends run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_inference.backends.base import Backend, TensorSpec
from edge_inference.backends.contract import check_contract
from edge_inference.backends.null import NullBackend
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.models.model_search import find_model
from edge_inference.errors import BackendError

F32 = np.dtype(np.float32)
INPUTS = (TensorSpec("data", F32, (None, 3)), TensorSpec("index", np.dtype(np.int64), (2,)))
OUTPUTS = (TensorSpec("sum", F32, (None, 3)),)
Tensors = Mapping[str, np.ndarray]


class SumBackend(NullBackend):
    """Keeps the contract; the classes below break it in one way each."""

    name = "sum"

    def __init__(self) -> None:
        super().__init__(INPUTS, OUTPUTS, self._sum)
        self.runs = 0
        self.kept = np.zeros((2, 3), np.float32)

    def _sum(self, inputs: Tensors) -> dict[str, np.ndarray]:
        self.runs += 1
        return {"sum": inputs["data"] + inputs["index"].sum().astype(np.float32)}


class Nameless(SumBackend):
    name = ""


class Silent(SumBackend):
    def describe(self) -> str:
        return "sum" if self._is_open else ""


class SilentWhenOpen(SumBackend):
    def describe(self) -> str:
        return "" if self._is_open else "sum"


class Inputless(SumBackend):
    def _open(self):
        return (), OUTPUTS


class Doubled(SumBackend):
    def _open(self):
        return INPUTS, OUTPUTS * 2


class Changing(SumBackend):
    def _sum(self, inputs: Tensors) -> dict[str, np.ndarray]:
        outputs = super()._sum(inputs)
        if inputs["data"].flags.writeable:
            inputs["data"][...] = 0
        return outputs


class Passing(SumBackend):
    def _sum(self, inputs: Tensors) -> dict[str, np.ndarray]:
        return {"sum": inputs["data"]}


class ReadOnly(SumBackend):
    def _sum(self, inputs: Tensors) -> dict[str, np.ndarray]:
        outputs = super()._sum(inputs)
        outputs["sum"].flags.writeable = False
        return outputs


class Reusing(SumBackend):
    def _sum(self, inputs: Tensors) -> dict[str, np.ndarray]:
        memory = self.kept[: len(inputs["data"])]
        memory[...] = super()._sum(inputs)["sum"]
        return {"sum": memory}


class Contiguous(SumBackend):
    def _sum(self, inputs: Tensors) -> dict[str, np.ndarray]:
        data = inputs["data"]
        flat = np.ascontiguousarray(data) if data.flags.c_contiguous else np.zeros_like(data)
        return {"sum": flat + inputs["index"].sum().astype(np.float32)}


class Forgetful(SumBackend):
    def _sum(self, inputs: Tensors) -> dict[str, np.ndarray]:
        outputs = super()._sum(inputs)
        outputs["sum"] += self.runs > 10
        return outputs


class Freeing(SumBackend):
    def _sum(self, inputs: Tensors) -> dict[str, np.ndarray]:
        outputs = super()._sum(inputs)
        self.kept = outputs["sum"]
        return outputs

    def _close(self) -> None:
        self.kept[...] = 0


class OtherTensors(SumBackend):
    def _open(self):
        inputs, outputs = super()._open()
        return (inputs if self.runs == 0 else inputs[::-1]), outputs


class Worn(SumBackend):
    def _close(self) -> None:
        self.kept = None

    def _sum(self, inputs: Tensors) -> dict[str, np.ndarray]:
        outputs = super()._sum(inputs)
        return outputs if self.kept is not None else {"sum": outputs["sum"] + 1}


class Late(SumBackend):
    def _sum(self, inputs: Tensors) -> dict[str, np.ndarray]:
        if len(inputs["data"]) == 2:
            raise RuntimeError("no batches")
        return super()._sum(inputs)


BROKEN: dict[type[Backend], str] = {
    Nameless: "name is empty",
    Silent: "nothing while it is closed",
    SilentWhenOpen: "nothing while it is open",
    Inputless: "has no input",
    Doubled: "two outputs of one name",
    Changing: "changes its inputs",
    Passing: "'sum' is in the memory of an input",
    ReadOnly: "'sum' is read-only",
    Reusing: "'sum' is in the memory of the next run's",
    Contiguous: "inputs that are not contiguous",
    Forgetful: "several threads",
    Freeing: "change when the backend is closed",
    OtherTensors: "opens with other tensors",
    Worn: "after it was opened again",
    Late: "RuntimeError: no batches",
}


@pytest.mark.parametrize("broken", list(BROKEN), ids=lambda each: each.__name__)
def test_a_broken_promise_is_named(broken: Callable[[], Backend]) -> None:
    with pytest.raises(BackendError, match=BROKEN[broken]):
        check_contract(broken())


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (None, "expected a dict of outputs, got NoneType"),
        ({}, "tensor 'sum' is missing"),
        ({"sum": [1.0]}, "expected a numpy array of sum"),
        ({"sum": np.zeros((1, 4), np.float32)}, r"got float32 \[1, 4\]"),
        ({"sum": np.zeros((1, 3), np.float64)}, "got float64"),
        ({"sum": np.zeros((1, 3), np.float32), "more": np.zeros(1)}, "'more' is unknown"),
    ],
)
def test_outputs_that_do_not_fit_are_an_error_of_the_backend(outputs: Any, reason: str) -> None:
    with NullBackend(INPUTS, OUTPUTS, lambda inputs: outputs) as backend:
        inputs = {"data": np.zeros((1, 3), np.float32), "index": np.zeros(2, np.int64)}
        with pytest.raises(BackendError, match=reason):
            backend.infer(inputs)


def test_a_backend_that_keeps_the_contract_passes() -> None:
    check_contract(SumBackend())


def test_onnx_runtime_keeps_the_contract(doubling_onnx: Path) -> None:
    check_contract(OrtBackend(doubling_onnx))


def test_the_backend_of_the_extension_package_keeps_the_contract(extension_package: None) -> None:
    from my_robot.opencv_backend import OpenCvBackend

    model = find_model("efficientnet_lite0")
    check_contract(OpenCvBackend(model.variants["fp32"].file, model.input.name, model.input.shape))
