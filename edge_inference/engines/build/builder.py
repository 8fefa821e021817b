"""ONNX to TensorRT plan, the same on every TensorRT from 8.6 on and on TensorRT-RTX.

Precision is in the ONNX: networks are built strongly typed where TensorRT can
do that. TensorRT-RTX builds on machines without a GPU.
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
from edge_inference.core.bounded_file import is_regular_file
from edge_inference.core.checksum import sha256_of
from edge_inference.core.disk import describe_write_error
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
from edge_inference.engines.build.build_failures import cause_of, remedy_for, why_building_failed
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.build_progress import PhaseTree, BuildProgress, Report, make_monitor
from edge_inference.engines.build.layer_report import report_layers
from edge_inference.engines.build.network import (
    declared_inputs,
    describe_inputs,
    describe_outputs,
    is_strongly_typed,
    read_network,
    require_precision,
)
from edge_inference.engines.build.profiles import Profile, resolve_profiles
from edge_inference.engines.build.supervision import BuildCancelledError, supervise
from edge_inference.engines.build.timing_cache import TimingFile
from edge_inference.errors import BackendError

# Parts of the whole: reading the ONNX is quick, so is the report.
_READ, _BUILT = 0.02, 0.98


@dataclass(frozen=True)
class BuiltEngine:
    """A plan with all that is known of it.

    ``layer_source`` tells whether ``layers`` come from the engine ("inspector")
    or from the ONNX ("network"). ``timing_cache`` is "none", "new", "used" or
    "replaced". ``notes`` are sentences for people.
    """

    plan: bytes
    metadata: EngineMetadata
    layers: tuple[LayerPrecision, ...]
    layer_source: str
    timing_cache: str
    notes: tuple[str, ...]


def _silent(_progress: BuildProgress) -> None:
    """Report to nobody."""


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
    timing_cache: Path | None = None,
    progress: Report = _silent,
    cancelled: Callable[[], bool] = _never,
) -> BuiltEngine:
    """Build a plan. ``progress`` and ``cancelled`` are called on this thread.

    ``environment`` names the GPU that the plan is for; without it there is
    none, and only TensorRT-RTX builds. ``ranges`` are the calibrated values
    that int8 by builder flags needs. Nothing is written but the timing cache,
    after success. Raises BackendError with one sentence, BuildCancelledError.
    """
    if not is_regular_file(onnx_file):
        raise BackendError(f"{onnx_file}: no such file; expected an ONNX model")
    here = environment or Environment.here(vendor.library, vendor.version)
    order = _Order(onnx_file, options, vendor, here, model, ranges, TimingFile(timing_cache))

    def work(report: Report, stop: threading.Event) -> BuiltEngine:
        try:
            return _build(order, report, stop)
        except MemoryError as error:
            raise BackendError(
                f"{onnx_file}: the machine's memory is used up; {remedy_for(['out of memory'])}"
            ) from error

    return supervise(work, progress, cancelled)


def write_engine(built: BuiltEngine, destination: Path) -> Path:
    """Write plan and sidecar, each whole or not at all. Raises BackendError.

    The sidecar's checksum refuses a plan that is not its own, so a reader
    between the two sees a damaged engine, never a wrong one.
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
            f"{destination}: the engine cannot be written ({describe_write_error(error)}); make room, "
            "or choose another folder"
        ) from error
    return destination


@dataclass(frozen=True)
class _Order:
    onnx_file: Path
    options: BuildOptions
    vendor: Vendor
    environment: Environment
    model: str
    ranges: Ranges | None
    timing: TimingFile


@dataclass(frozen=True)
class _Prepared:
    builder: Any
    network: Any
    config: Any
    profiles: dict[str, Profile]
    notes: list[str]


def _build(order: _Order, report: Report, stop: threading.Event) -> BuiltEngine:
    started = time.monotonic()
    report(BuildProgress("reading the ONNX", 0.0))
    prepared = _prepare(order)
    _go_on(stop)
    plan = _serialize(order, prepared, report, stop)
    report(BuildProgress("reading the layers", _BUILT))
    network, options = prepared.network, order.options
    compute_capability = order.environment.compute_capability
    has_gpu = compute_capability is not None
    found = report_layers(order.vendor, plan, network, options, has_gpu=has_gpu)
    _go_on(stop)
    order.timing.save(prepared.config)
    targets = targets_for(prepared.config, options, compute_capability)
    metadata = EngineMetadata(
        environment=order.environment,
        precision=options.precision,
        model=order.model,
        onnx_sha256=sha256_of(order.onnx_file),
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        plan_bytes=len(plan),
        hardware=_hardware(prepared.config, order.options, targets),
        targets=targets,
        version_compatible=options.version_compatible,
        profiles={name: wanted.sizes for name, wanted in prepared.profiles.items()},
        inputs=describe_inputs(network),
        outputs=describe_outputs(network),
        options={**dataclasses.asdict(options), "dla_core": dla_core(options)},
        layer_precisions=count_precisions(found.layers),
        layer_source=found.source,
        build_seconds=round(time.monotonic() - started, 3),
    )
    notes = (*prepared.notes, *order.timing.notes)
    report(BuildProgress("done", 1.0))
    return BuiltEngine(plan, metadata, found.layers, found.source, order.timing.state, notes)


def _prepare(order: _Order) -> _Prepared:
    vendor, options = order.vendor, order.options
    strongly_typed = is_strongly_typed(vendor, options)
    builder = _make_builder(vendor)
    config = make_config(vendor, builder, options, order.environment.compute_capability)
    network = read_network(vendor, builder, order.onnx_file, strongly_typed)
    notes: list[str] = []
    if strongly_typed:
        require_precision(order.onnx_file, network, options.precision)
    else:
        notes += set_precision_flags(vendor, config, network, options, order.ranges)
    inputs = declared_inputs(network)
    profiles = resolve_profiles(inputs, options.parsed_profiles(), options.batch)
    add_profile(builder, config, inputs, profiles)
    if options.device != "gpu":
        notes.append(dla_note(config, network, options))
    order.timing.attach(vendor, config)
    return _Prepared(builder, network, config, profiles, notes)


def _make_builder(vendor: Vendor) -> Any:
    with vendor.errors.collect() as lines:
        try:
            return vendor.trt.Builder(vendor.logger)
        except (TypeError, RuntimeError) as error:  # pybind's word for a null from C++
            failure = error
    raise BackendError(
        f"{vendor.title} does not start building: {cause_of(lines) if lines else failure}; "
        f"{remedy_for([*lines, 'driver'])}"
    ) from failure


def _serialize(order: _Order, prepared: _Prepared, report: Report, stop: threading.Event) -> bytes:
    builder, config, network = prepared.builder, prepared.config, prepared.network
    tree = PhaseTree(report, _READ, _BUILT)
    monitor = make_monitor(order.vendor.trt, tree, stop)
    if monitor is None:
        report(BuildProgress("building", None))
    else:
        assign_if_present(config, "progress_monitor", monitor)
    with order.vendor.errors.collect() as lines:
        serialized = builder.build_serialized_network(network, config)
        if serialized is None and order.timing.state == "used" and not stop.is_set():
            order.timing.give_up(order.vendor, config)
            serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise BackendError(why_building_failed(order.onnx_file, order.vendor.title, lines))
    return bytes(serialized)


def _hardware(config: Any, options: BuildOptions, targets: tuple[str, ...]) -> str:
    if targets:
        return "listed"
    if options.hardware == "ampere_plus" or is_portable(config):
        return "ampere_plus"  # TensorRT-RTX leaves the rest to the GPU that runs the plan
    return "same"


def _go_on(stop: threading.Event) -> None:
    if stop.is_set():
        raise BuildCancelledError("the build was cancelled")
