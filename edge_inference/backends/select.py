"""From a word in a configuration file to a backend, and why it was that one."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from edge_inference.backends.base import Backend
from edge_inference.backends.null import NullBackend
from edge_inference.backends.ort import CPU, CUDA, OrtBackend, import_onnxruntime
from edge_inference.core.model import PRECISIONS, ModelDescription, Variant
from edge_inference.core.settings import suggestion
from edge_inference.errors import BackendError, PluginError


@dataclass(frozen=True)
class Selection:
    """A backend that is not open yet, the precision it runs in, and the reason for both."""

    backend: Backend
    name: str
    precision: str
    reason: str


@dataclass(frozen=True)
class Candidate:
    """A backend by name: what keeps it from running here, and how to make it."""

    name: str
    obstacle: Callable[[], str | None]
    make: Callable[[Variant, int], Backend] | None


def select_backend(
    name: str, model: ModelDescription, precision: str = "auto", threads: int = 1
) -> Selection:
    """Choose a backend for a model.

    ``name`` is one of :data:`BACKEND_NAMES`; "auto" takes the first of TensorRT,
    ONNX Runtime with CUDA, ONNX Runtime on the CPU that can run here.
    ``precision`` is "auto" or one of the model's variants. ``threads`` is for
    engines that run on the CPU. Raises BackendError where the wanted one cannot
    run here, PluginError for an unknown name, ModelError for weights that are
    missing or altered.
    """
    if name not in BACKEND_NAMES:
        raise PluginError(f"unknown backend {name!r}{suggestion(name, BACKEND_NAMES)}")
    variant, why_precision = _choose_variant(model, precision)
    variant.verify()
    refused: list[str] = []
    for candidate in _CANDIDATES if name == "auto" else (_by_name(name),):
        obstacle = candidate.obstacle()
        if obstacle is None and candidate.make is not None:
            backend = candidate.make(variant, threads)
            why = "asked for" if name != "auto" else "first of the automatic order that can run"
            reason = "; ".join(
                [
                    f"backend {candidate.name}: {why}",
                    f"precision {variant.precision}: {why_precision}",
                    *refused,
                ]
            )
            return Selection(backend, candidate.name, variant.precision, reason)
        refused.append(f"{candidate.name} not available: {obstacle}")
    raise BackendError(
        f"backend {name!r} cannot run model {model.name!r} here: {'; '.join(refused)}"
    )


def _choose_variant(model: ModelDescription, precision: str) -> tuple[Variant, str]:
    if precision == "auto":
        best = next(name for name in PRECISIONS if name in model.variants)
        only = len(model.variants) == 1
        return model.variants[best], "the only variant" if only else "the most accurate variant"
    if precision not in model.variants:
        raise BackendError(
            f"model {model.name!r} has no variant of precision {precision!r}; it has "
            f"{', '.join(model.variants)}; ask for one of them or for 'auto'"
        )
    return model.variants[precision], "asked for"


def _tensorrt_obstacle() -> str | None:
    missing = [name for name in ("tensorrt", "pycuda") if importlib.util.find_spec(name) is None]
    if missing:
        return f"Python module {' and '.join(missing)} not installed"
    return "this version of edge_inference has no TensorRT backend"


def _onnxruntime_obstacle() -> str | None:
    try:
        import_onnxruntime()
    except BackendError as error:
        return str(error)
    return None


def _cuda_obstacle() -> str | None:
    obstacle = _onnxruntime_obstacle()
    if obstacle is not None:
        return obstacle
    if CUDA not in import_onnxruntime().get_available_providers():
        return f"the installed ONNX Runtime has no {CUDA}"
    return _cuda_device_obstacle()


def _cuda_device_obstacle() -> str | None:
    """Ask the driver itself: an ONNX Runtime with CUDA installs on machines without a GPU."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1 cannot be loaded)"
    status = driver.cuInit(0)
    if status != 0:
        return f"the NVIDIA driver does not start (cuInit gives error {status})"
    count = ctypes.c_int(0)
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0 or count.value == 0:
        return "the NVIDIA driver finds no GPU"
    return None


def _make_ort(variant: Variant, threads: int) -> Backend:
    return OrtBackend(variant.file, (CPU,), threads, variant.precision)


def _make_ort_cuda(variant: Variant, threads: int) -> Backend:
    return OrtBackend(variant.file, (CUDA, CPU), threads, variant.precision)


def _make_null(variant: Variant, threads: int) -> Backend:
    """Take the tensors of the real model, so that the rest of a pipeline cannot tell."""
    with OrtBackend(variant.file, (CPU,), threads) as real:
        return NullBackend(real.inputs, real.outputs)


_CANDIDATES = (
    Candidate("trt", _tensorrt_obstacle, None),
    Candidate("ort-cuda", _cuda_obstacle, _make_ort_cuda),
    Candidate("ort", _onnxruntime_obstacle, _make_ort),
)
_NULL = Candidate("null", _onnxruntime_obstacle, _make_null)

#: What ``select_backend`` takes.
BACKEND_NAMES = ("auto", *(candidate.name for candidate in (*_CANDIDATES, _NULL)))


def _by_name(name: str) -> Candidate:
    return next(candidate for candidate in (*_CANDIDATES, _NULL) if candidate.name == name)
