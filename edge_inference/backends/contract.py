"""Checks that a backend keeps the promises of :class:`Backend`, for the tests of its author.

::

    def test_my_backend_keeps_the_contract():
        check_contract(MyBackend(file))

It feeds random numbers and compares runs with each other. Whether the results are right, the
command ``edge-inference models check MODEL --backend NAME`` checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import Backend, TensorSpec
from edge_inference.errors import BackendError

Tensors = Mapping[str, NDArray[Any]]

_THREADS = 4
_RUNS_OF_A_THREAD = 5
#: An engine may add in another order in each run.
_TOLERANCE = 1e-4


def check_contract(backend: Backend) -> None:
    """Raise BackendError with the broken promise, if there is one.

    ``backend`` is closed, before and afterwards. An axis of any length is tried with 1 and 2.
    """
    _check(backend, bool(backend.name), "name is empty")
    _check(backend, bool(backend.describe()), "describe() returns nothing while it is closed")
    with backend.open():
        _check(backend, bool(backend.describe()), "describe() returns nothing while it is open")
        _check_specs(backend)
        specs = backend.inputs, backend.outputs
        for length in (1, 2) if any(None in spec.shape for spec in backend.inputs) else (1,):
            _check_runs(backend, length)
        inputs = _random_inputs(backend, 0)
        outputs = backend.infer(inputs)
        expected = _copy(outputs)
    _check_same(backend, outputs, expected, "outputs change when the backend is closed")
    with backend.open():
        _check(backend, (backend.inputs, backend.outputs) == specs, "opens with other tensors")
        again = backend.infer(inputs)
        _check_same(backend, again, expected, "outputs differ after it was opened again")


def _check_specs(backend: Backend) -> None:
    for title, specs in (("input", backend.inputs), ("output", backend.outputs)):
        names = [spec.name for spec in specs]
        _check(backend, bool(names), f"has no {title}")
        _check(backend, len(set(names)) == len(names), f"has two {title}s of one name")


def _check_runs(backend: Backend, length: int) -> None:
    first, second = (_random_inputs(backend, seed, length) for seed in (1, 2))
    given = _copy(first)
    outputs = backend.infer(first)
    expected = _copy(outputs)
    _check_same(backend, first, given, "changes its inputs")
    for name, output in outputs.items():
        _check(backend, output.flags.writeable, f"output {name!r} is read-only")
        for tensor in first.values():
            shared = np.shares_memory(output, tensor)
            _check(backend, not shared, f"output {name!r} is in the memory of an input")
    others = backend.infer(second)
    for name, output in outputs.items():
        shared = np.shares_memory(output, others[name])
        _check(backend, not shared, f"output {name!r} is in the memory of the next run's")
    _check_same(backend, outputs, expected, "outputs change with the next run")
    others_expected = _copy(others)
    for tensor in first.values():
        tensor.flags.writeable = False
    _check_same(backend, backend.infer(first), expected, "outputs differ for read-only inputs")
    reversed_axes = {name: tensor.T.copy().T for name, tensor in first.items()}
    _check_same(
        backend,
        backend.infer(reversed_axes),
        expected,
        "outputs differ for inputs that are not contiguous",
    )
    _check_threads(backend, [(first, expected), (second, others_expected)])


def _check_threads(backend: Backend, runs: list[tuple[Tensors, Tensors]]) -> None:
    def work(number: int) -> None:
        inputs, expected = runs[number % len(runs)]
        for _ in range(_RUNS_OF_A_THREAD):
            outputs = backend.infer(inputs)
            _check_same(backend, outputs, expected, "outputs differ when several threads infer")

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(work, range(_THREADS)))  # raises the error of a thread


def _random_inputs(backend: Backend, seed: int, length: int = 1) -> dict[str, NDArray[Any]]:
    numbers = np.random.default_rng(seed)
    return {spec.name: _random_tensor(spec, numbers, length) for spec in backend.inputs}


def _random_tensor(spec: TensorSpec, numbers: np.random.Generator, length: int) -> NDArray[Any]:
    shape = [length if axis is None else axis for axis in spec.shape]
    if np.issubdtype(spec.dtype, np.floating):
        return numbers.random(shape).astype(spec.dtype)
    return numbers.integers(0, 2, shape).astype(spec.dtype)  # valid indices of most models


def _copy(tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {name: tensor.copy() for name, tensor in tensors.items()}


def _check_same(backend: Backend, found: Tensors, expected: Tensors, problem: str) -> None:
    for name, tensor in expected.items():
        is_same = found[name].shape == tensor.shape and np.allclose(
            found[name], tensor, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True
        )
        _check(backend, is_same, f"{problem} (tensor {name!r})")


def _check(backend: Backend, is_kept: bool, problem: str) -> None:
    if not is_kept:
        raise BackendError(f"backend {backend.name!r} breaks the contract: {problem}")
