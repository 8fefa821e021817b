"""Builds a TensorRT plan from an ONNX file, with TensorRT 8.6 and later and TensorRT-RTX.

The ONNX defines the precision: networks are strongly typed where TensorRT supports that.
TensorRT-RTX also builds on machines without a GPU.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.backends.trt.layers import LayerPrecision, count_precisions
from edge_inference.backends.trt.metadata import (
    EngineMetadata,
    Environment,
    sidecar_of,
    write_sidecar,
)
from edge_inference.backends.trt.vendor import Vendor
from edge_inference.core.disk import describe_write_error
from edge_inference.core.onnx_format.onnx_files import onnx_digest
from edge_inference.core.onnx_format.onnx_problems import find_access_problem
from edge_inference.engines.build.build_config import (
    Ranges,
    add_profile,
    assign_if_present,
    dla_core,
    dla_note,
    is_portable,
    make_config,
    set_precision_flags,
    targets_for,
)
from edge_inference.engines.build.build_failures import cause_of, explain_build_failure, hint_for
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.build_progress import (
    BuildProgress,
    PhaseTree,
    Report,
    make_monitor,
)
from edge_inference.engines.build.build_thread import run_in_thread
from edge_inference.engines.build.layer_report import report_layers
from edge_inference.engines.build.network import (
    declared_inputs,
    describe_inputs,
    describe_outputs,
    is_strongly_typed,
    read_network,
    require_precision,
)
from edge_inference.engines.build.profiles import (
    NO_FIXED_INPUTS,
    FixedInputs,
    Profile,
    resolve_profiles,
)
from edge_inference.engines.build.timing_cache import TimingCacheFile
from edge_inference.errors import BackendError, CancelledError, ModelError

# Progress after reading the ONNX and after building: both ends are quick.
_READ, _BUILT = 0.02, 0.98


@dataclass(frozen=True)
class BuiltEngine:
    """A plan with its metadata.

    ``layer_source`` is "inspector" where ``layers`` come from the engine, "network" where they
    come from the ONNX. ``timing_cache`` is "none", "new", "used" or "replaced". ``notes`` are
    sentences for the user.
    """

    plan: bytes
    metadata: EngineMetadata
    layers: tuple[LayerPrecision, ...]
    layer_source: str
    timing_cache: str
    notes: tuple[str, ...]


def _ignore(_progress: BuildProgress) -> None:
    """Ignore progress."""


def _never() -> bool:
    return False


def build_engine(
    onnx_file: Path,
    options: BuildOptions,
    *,
    vendor: Vendor,
    environment: Environment | None = None,
    model: str = "",
    ranges: Ranges | None = None,
    fixed_inputs: FixedInputs = NO_FIXED_INPUTS,
    timing_cache: Path | None = None,
    progress: Report = _ignore,
    cancelled: Callable[[], bool] = _never,
) -> BuiltEngine:
    """Build a plan. This thread calls ``progress`` and ``cancelled``.

    ``environment`` names the GPU of the plan; without it only TensorRT-RTX builds. ``ranges``
    are the calibrated ranges for int8 by builder flags, ``fixed_inputs`` the values of inputs
    that never change. The only file written is the timing
    cache, after success. Raises BackendError with one sentence, and CancelledError.
    """
    problem = find_access_problem(onnx_file)
    if problem is not None:
        raise BackendError(problem)
    try:
        digest = onnx_digest(onnx_file)
    except ModelError as error:
        raise BackendError(str(error)) from error
    here = environment or Environment.here(vendor.library, vendor.version)
    request = _BuildRequest(
        onnx_file,
        digest,
        options,
        vendor,
        here,
        model,
        ranges,
        fixed_inputs,
        TimingCacheFile(timing_cache),
    )

    def work(report: Report, stop: threading.Event) -> BuiltEngine:
        try:
            return _build(request, report, stop)
        except MemoryError as error:
            raise BackendError(
                f"{onnx_file}: the machine has no memory left; {hint_for(['out of memory'])}"
            ) from error

    return run_in_thread(work, progress, cancelled)


def write_engine(built: BuiltEngine, destination: Path) -> Path:
    """Write plan and sidecar, each atomically. Raises BackendError.

    A reader between the two writes sees a damaged engine, never a wrong one: the sidecar's
    checksum does not match the other plan.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".engine-") as folder:
            plan = Path(folder, destination.name)
            plan.write_bytes(built.plan)
            write_sidecar(plan, built.metadata).replace(sidecar_of(destination))
            plan.replace(destination)
    except OSError as error:
        raise BackendError(
            f"{destination}: the engine cannot be written ({describe_write_error(error)}); free "
            "space, or choose another folder"
        ) from error
    return destination


@dataclass(frozen=True)
class _BuildRequest:
    onnx_file: Path
    digest: str
    options: BuildOptions
    vendor: Vendor
    environment: Environment
    model: str
    ranges: Ranges | None
    fixed_inputs: FixedInputs
    timing: TimingCacheFile


@dataclass(frozen=True)
class _Prepared:
    builder: Any
    network: Any
    config: Any
    profiles: dict[str, Profile]
    notes: list[str]


def _build(request: _BuildRequest, report: Report, stop: threading.Event) -> BuiltEngine:
    started = time.monotonic()
    report(BuildProgress("reading the ONNX", 0.0))
    prepared = _prepare(request)
    _raise_if_stopped(stop)
    plan = _serialize(request, prepared, report, stop)
    report(BuildProgress("reading the layers", _BUILT))
    network, options = prepared.network, request.options
    compute_capability = request.environment.compute_capability
    has_gpu = compute_capability is not None
    layer_report = report_layers(request.vendor, plan, network, options, has_gpu=has_gpu)
    _raise_if_stopped(stop)
    request.timing.save(prepared.config)
    targets = targets_for(prepared.config, options, compute_capability)
    metadata = EngineMetadata(
        environment=request.environment,
        precision=options.precision,
        model=request.model,
        onnx_sha256=request.digest,
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        plan_bytes=len(plan),
        hardware=_hardware(prepared.config, request.options, targets),
        targets=targets,
        version_compatible=options.version_compatible,
        profiles={name: each.sizes for name, each in prepared.profiles.items()},
        inputs=describe_inputs(network),
        outputs=describe_outputs(network),
        options={**dataclasses.asdict(options), "dla_core": dla_core(options)},
        layer_precisions=count_precisions(layer_report.layers),
        layer_source=layer_report.source,
        build_seconds=round(time.monotonic() - started, 3),
    )
    notes = (*prepared.notes, *request.timing.notes)
    report(BuildProgress("done", 1.0))
    return BuiltEngine(
        plan, metadata, layer_report.layers, layer_report.source, request.timing.state, notes
    )


def _prepare(request: _BuildRequest) -> _Prepared:
    vendor, options = request.vendor, request.options
    strongly_typed = is_strongly_typed(vendor, options)
    builder = _make_builder(vendor)
    config = make_config(vendor, builder, options, request.environment.compute_capability)
    network = read_network(vendor, builder, request.onnx_file, strongly_typed)
    notes: list[str] = []
    if strongly_typed:
        require_precision(request.onnx_file, network, options.precision)
    else:
        notes += set_precision_flags(vendor, config, network, options, request.ranges)
    inputs = declared_inputs(network)
    profiles = resolve_profiles(
        inputs, options.parsed_profiles(), options.batch, request.fixed_inputs
    )
    add_profile(builder, config, inputs, profiles)
    if options.device != "gpu":
        notes.append(dla_note(config, network, options))
    request.timing.attach(vendor, config)
    return _Prepared(builder, network, config, profiles, notes)


def _make_builder(vendor: Vendor) -> Any:
    with vendor.errors.collect() as lines:
        try:
            return vendor.trt.Builder(vendor.logger)
        except (TypeError, RuntimeError) as error:  # pybind raises these for a null from C++
            failure = error
    raise BackendError(
        f"{vendor.title} cannot create a builder: {cause_of(lines) if lines else failure}; "
        f"{hint_for([*lines, 'driver'])}"
    ) from failure


def _serialize(
    request: _BuildRequest, prepared: _Prepared, report: Report, stop: threading.Event
) -> bytes:
    builder, config, network = prepared.builder, prepared.config, prepared.network
    tree = PhaseTree(report, _READ, _BUILT)
    monitor = make_monitor(request.vendor.trt, tree, stop)
    if monitor is None:
        report(BuildProgress("building", None))
    else:
        assign_if_present(config, "progress_monitor", monitor)
    with request.vendor.errors.collect() as lines:
        serialized = builder.build_serialized_network(network, config)
        if serialized is None and request.timing.state == "used" and not stop.is_set():
            request.timing.reset(request.vendor, config)
            serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise BackendError(explain_build_failure(request.onnx_file, request.vendor.title, lines))
    return bytes(serialized)


def _hardware(config: Any, options: BuildOptions, targets: tuple[str, ...]) -> str:
    if targets:
        return "listed"
    if options.hardware == "ampere_plus" or is_portable(config):
        return "ampere_plus"  # TensorRT-RTX compiles the rest on the GPU that runs the plan
    return "same"


def _raise_if_stopped(stop: threading.Event) -> None:
    if stop.is_set():
        raise CancelledError("the build was cancelled")
