"""ONNX Runtime: runs an ONNX file on the CPU or through CUDA."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.base import Backend, TensorSpec
from edge_inference.backends.cpu_instructions import CpuInstructions, find_cpu_instructions
from edge_inference.backends.ort_failures import explain_open_failure, explain_run_failure
from edge_inference.core.onnx_format.onnx_memory import check_memory
from edge_inference.core.onnx_format.onnx_problems import find_access_problem
from edge_inference.core.package_import import explain_import
from edge_inference.core.runtime.memory_limit import is_out_of_memory
from edge_inference.errors import BackendError, EngineFileError, ModelError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    **{
        f"tensor({sign}int{bits})": f"{sign}int{bits}"
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}
_FATAL_ONLY = 4
_EXACT_INT8 = "session.x64quantprecision"
#: With it, ONNX Runtime 1.24 to at least 1.32 crashes on x86 where a cast from fp16 is between a
#: transpose and a product (microsoft/onnxruntime 28392).
_CRASHING = ("optimization.disable_specified_optimizers", "MatmulTransposeFusion")


class OrtBackend(Backend):
    """Runs the ONNX file at ``path``.

    ``providers`` are ONNX Runtime's execution providers in order of preference. The first one
    must run the model: a silent fallback to the CPU is an error. ``threads`` work inside one
    operator (one is often fastest on a small machine). They sleep between operators instead of
    spinning, so that other processes get the cores. ``precision`` is only for ``describe``.
    With ``keeps_memory`` False the memory of a run is freed after it: with inputs of various
    lengths, such as speech, the longest one would otherwise keep its memory.

    Contiguous input arrays are not copied, and every output is a new array. Measurements on the
    CPU showed no gain from bound buffers.
    """

    name = "ort"

    def __init__(
        self,
        path: Path,
        providers: Sequence[str] = (CPU,),
        threads: int = 1,
        precision: str = "",
        *,
        keeps_memory: bool = True,
    ) -> None:
        super().__init__()
        if threads < 1:
            raise BackendError(f"threads: expected an integer of at least 1, got {threads}")
        if not providers:
            raise BackendError(f"providers: expected at least one, such as {CPU}, got none")
        self._path = Path(path)
        self._providers = tuple(providers)
        self._threads = threads
        self._precision = precision
        self._keeps_memory = keeps_memory
        self._session: Any = None
        self._output_names: list[str] = []
        self._record_prefix: Path | None = None

    @property
    def file(self) -> Path:
        """The ONNX file."""
        return self._path

    def record_nodes(self, prefix: Path) -> None:
        """Let ``open`` start recording the time of each node, into a file whose name begins so."""
        self._record_prefix = prefix

    def end_recording(self) -> Path:
        """End the recording of an open backend; return the file, ONNX Runtime's profile."""
        return Path(self._session.end_profiling())

    def describe(self) -> str:
        """Return the execution providers in use, the number of threads and the file as text."""
        engine = ", ".join(self._session.get_providers()) if self._session else "not open"
        parts = [f"ONNX Runtime ({engine})", f"{self._threads} thread(s)", self._path.name]
        return ", ".join(parts + ([self._precision] if self._precision else []))

    def _open(self) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        session = self._make_session()
        inputs = [self._spec(node) for node in session.get_inputs()]
        outputs = [self._spec(node) for node in session.get_outputs()]
        if not outputs:
            raise BackendError(
                f"{self._path}: expected an ONNX model with outputs, got one without; declare its "
                "results as outputs when you export it"
            )
        self._output_names = [spec.name for spec in outputs]
        self._session = session
        return inputs, outputs

    def _infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        try:
            outputs = self._session.run(self._output_names, dict(inputs))
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise BackendError(explain_run_failure(self._path, error)) from error
        return dict(zip(self._output_names, outputs, strict=True))

    def _close(self) -> None:
        self._session = None

    def _make_session(self) -> Any:
        onnxruntime = import_onnxruntime()
        self._check_providers(onnxruntime.get_available_providers())
        problem = find_access_problem(self._path)
        if problem is not None:
            raise BackendError(problem)
        try:
            check_memory(self._path)
        except ModelError as error:
            raise BackendError(str(error)) from error
        options = session_options(onnxruntime, self._threads)
        options.enable_cpu_mem_arena = self._keeps_memory
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._record_prefix is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(self._record_prefix)
        try:
            session = onnxruntime.InferenceSession(
                str(self._path),
                options,
                providers=list(self._providers),
                enable_fallback=0,  # a fallback would print to stdout, which is for results
            )
        except Exception as error:  # ONNX Runtime's errors share no base class
            reason = explain_open_failure(self._path, error, onnxruntime)
            kind = BackendError if is_out_of_memory(error) else EngineFileError
            raise kind(reason) from error
        serving = session.get_providers()
        if self._providers[0] not in serving:
            raise BackendError(
                f"{self._providers[0]} is part of this ONNX Runtime but did not start; "
                f"{', '.join(serving)} would run instead; install its driver and libraries, "
                "or choose that provider"
            )
        return session

    def _check_providers(self, available: Sequence[str]) -> None:
        for provider in self._providers:
            if provider not in available:
                raise BackendError(
                    f"expected an ONNX Runtime with {provider}, got one with "
                    f"{', '.join(available)}; install another build, or choose another backend"
                )

    def _spec(self, node: Any) -> TensorSpec:
        try:
            return tensor_spec(node)
        except BackendError as error:
            raise BackendError(f"{self._path}: {error}") from None


def tensor_spec(node: Any) -> TensorSpec:
    """Return an input or output of a session. Raises BackendError for one that numpy lacks."""
    if node.type not in _DTYPES:
        raise BackendError(
            f"{node.name!r}: expected a tensor of {', '.join(_DTYPES.values())}, got {node.type}; "
            "export it with float32 inputs and outputs"
        )
    shape = tuple(
        length if isinstance(length, int) and length >= 0 else None for length in node.shape
    )
    return TensorSpec(node.name, np.dtype(_DTYPES[node.type]), shape)


def session_options(onnxruntime: Any, threads: int = 1, cpu: CpuInstructions | None = None) -> Any:
    """Return the options of every session; with them int8 is exact on every CPU.

    ``cpu`` is this machine's by default. Where its sums saturate, ONNX Runtime uses its
    slower kernels; weights that fit in 7 bits still use the fast ones. On other CPUs the option
    must not be set, because ONNX Runtime would use the slow kernels there, too.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Errors are raised and reported by this package; do not print them a second time.
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry(*_CRASHING)
    if (cpu or find_cpu_instructions()).saturates:
        options.add_session_config_entry(_EXACT_INT8, "1")
    return options


def import_onnxruntime() -> Any:
    """Import ONNX Runtime. Raises BackendError where it is missing or broken.

    Telemetry is off unless the user's environment enables it: from 1.31 on, ONNX Runtime
    writes paths and a machine id to the user's cache folder.
    """
    # ONNX Runtime reads this at import; disable_telemetry_events() is too late.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(explain_import("ONNX Runtime", "onnxruntime", error)) from error
    return onnxruntime
