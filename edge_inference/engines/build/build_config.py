"""Makes TensorRT's builder configuration from build options.

An option that this version of TensorRT lacks is an error that names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from edge_inference.backends.trt.layers import moves_data
from edge_inference.backends.trt.vendor import Vendor, enum_member
from edge_inference.core.settings import suggestion
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.network import is_quantized, layers_of, tensors_of
from edge_inference.engines.build.profiles import DeclaredInput, Profile
from edge_inference.errors import BackendError

#: For each tensor its lowest and highest value in the calibration.
Ranges = Mapping[str, tuple[float, float]]

_MIB = 1 << 20
_AMPERE = 8
_FLOATS = ("FLOAT", "HALF", "BF16")


def make_config(
    vendor: Vendor, builder: Any, options: BuildOptions, compute_capability: str | None
) -> Any:
    """Return a configuration with everything that does not depend on the network.

    ``compute_capability`` is that of this machine's GPU, None without one. Raises BackendError
    for an option that this TensorRT or this machine does not support.
    """
    trt = vendor.trt
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the layer report needs it
    config.builder_optimization_level = options.optimization_level
    if options.workspace_mib:
        limit = options.workspace_mib * _MIB
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, limit)
    _set_flag(config, trt.BuilderFlag.TF32, options.tf32)
    _set_flag(config, trt.BuilderFlag.SPARSE_WEIGHTS, options.sparse_weights)
    _set_flag(config, trt.BuilderFlag.VERSION_COMPATIBLE, options.version_compatible)
    _set_flag(config, trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME, options.exclude_lean_runtime)
    _set_hardware(vendor, config, options.hardware)
    _set_targets(vendor, config, targets_for(config, options, compute_capability))
    _set_device(vendor, builder, config, options)
    _share_profiles(trt, config)
    return config


def _share_profiles(trt: Any, config: Any) -> None:
    """Let several contexts use one profile; TensorRT 8.6 needs a flag, later ones do not."""
    feature = enum_member(getattr(trt, "PreviewFeature", None), "PROFILE_SHARING_0806")
    if feature is not None and hasattr(config, "set_preview_feature"):
        config.set_preview_feature(feature, True)


def targets_for(
    config: Any, options: BuildOptions, compute_capability: str | None
) -> tuple[str, ...]:
    """Return the compute capabilities to build for; empty for TensorRT's default.

    TensorRT-RTX builds for Ampere and later by default; an older GPU must be named.
    """
    if options.targets or compute_capability is None or not is_portable(config):
        return options.targets
    is_older = int(compute_capability.partition(".")[0]) < _AMPERE
    return (compute_capability,) if is_older else ()


def is_portable(config: Any) -> bool:
    """Tell whether plans run on several models of GPU, as those of TensorRT-RTX do."""
    return hasattr(config, "num_compute_capabilities")


def add_profile(
    builder: Any, config: Any, inputs: Sequence[DeclaredInput], profiles: Mapping[str, Profile]
) -> None:
    """Set the sizes of dynamic inputs. Raises BackendError where TensorRT refuses them."""
    if not profiles:
        return
    profile = builder.create_optimization_profile()
    shape_inputs = {declared.name for declared in inputs if declared.is_shape_tensor}
    for name, sizes_of_input in profiles.items():
        try:
            if name in shape_inputs:
                profile.set_shape_input(name, *sizes_of_input.sizes)
            else:
                profile.set_shape(name, *sizes_of_input.sizes)
        except RuntimeError as error:
            raise BackendError(f"profile for {name!r}: TensorRT refuses it: {error}") from error
    if config.add_optimization_profile(profile) < 0:
        raise BackendError(
            f"profiles for {', '.join(profiles)}: TensorRT refuses them; give sizes that the ONNX "
            "accepts, min <= opt <= max"
        )


def set_precision_flags(
    vendor: Vendor, config: Any, network: Any, options: BuildOptions, ranges: Ranges | None
) -> list[str]:
    """Set the precision of a network that is not strongly typed. Returns notes.

    Raises BackendError where flags or calibration are missing.
    """
    trt = vendor.trt
    for name in _precision_flags(options):
        flag = enum_member(trt.BuilderFlag, name)
        if flag is None:
            raise BackendError(
                f"precision {options.precision}: {vendor.title} has no builder flag {name}; set "
                "typing to 'onnx' and give it an ONNX of that precision"
            )
        config.set_flag(flag)
    notes = []
    if options.precision == "int8" and not is_quantized(network):
        notes += _set_ranges(network, ranges)
    if options.keep_fp32:
        _keep_in_fp32(vendor, config, network, options.keep_fp32)
    return notes


def dla_note(config: Any, network: Any, options: BuildOptions) -> str:
    """Return a note on how many layers the DLA runs."""
    layers = list(layers_of(network))
    on_dla = sum(bool(config.can_run_on_DLA(layer)) for layer in layers)
    return f"{options.device} runs {on_dla} of {len(layers)} layers, the GPU the others"


def dla_core(options: BuildOptions) -> int | None:
    """Return the number of the DLA core in the options, None for the GPU."""
    return None if options.device == "gpu" else int(options.device.removeprefix("dla"))


def assign_if_present(target: Any, name: str, value: Any) -> None:
    """Set an attribute if this version of TensorRT has it."""
    if hasattr(target, name):
        setattr(target, name, value)


def _set_hardware(vendor: Vendor, config: Any, hardware: str) -> None:
    if hardware == "same":
        return
    name = {"ampere_plus": "AMPERE_PLUS", "compute_capability": "SAME_COMPUTE_CAPABILITY"}[hardware]
    level = enum_member(vendor.trt.HardwareCompatibilityLevel, name)
    if level is None:
        raise BackendError(
            f"hardware {hardware!r}: {vendor.title} has no such compatibility; set it to 'same'"
        )
    config.hardware_compatibility_level = level


def _set_targets(vendor: Vendor, config: Any, targets: Sequence[str]) -> None:
    if not targets:
        return
    capabilities = getattr(vendor.trt, "ComputeCapability", None)
    set_target = getattr(config, "set_compute_capability", None)
    if capabilities is None or set_target is None:
        raise BackendError(
            f"targets {', '.join(targets)}: {vendor.title} builds for the GPU of this machine; "
            "leave targets empty, or build with TensorRT-RTX"
        )
    assign_if_present(config, "num_compute_capabilities", len(targets))
    for index, target in enumerate(targets):
        member = enum_member(capabilities, "SM" + target.replace(".", ""))
        if member is None or not set_target(member, index):
            raise BackendError(
                f"targets: {vendor.title} builds for {', '.join(_known_targets(capabilities))}, "
                f"not for {target}"
            )


def _set_device(vendor: Vendor, builder: Any, config: Any, options: BuildOptions) -> None:
    core = dla_core(options)
    if core is None:
        return
    if options.precision == "fp32":
        raise BackendError(
            f"device {options.device!r}: a DLA computes in fp16 or int8, not in fp32; choose one "
            "of them, or set device to 'gpu'"
        )
    cores = int(builder.num_DLA_cores)
    if core >= cores:
        raise BackendError(
            f"device {options.device!r}: {vendor.title} finds {cores or 'no'} DLA cores on this "
            "machine; set device to 'gpu'"
        )
    trt = vendor.trt
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _precision_flags(options: BuildOptions) -> list[str]:
    names = {"fp32": [], "fp16": ["FP16"], "int8": ["INT8"]}[options.precision]
    if options.precision == "int8" and (options.typing == "flags" or options.device != "gpu"):
        names = [*names, "FP16"]  # for layers without int8: a DLA has no fp32
    if options.keep_fp32:
        names = [*names, "OBEY_PRECISION_CONSTRAINTS"]
    return names


def _set_ranges(network: Any, ranges: Ranges | None) -> list[str]:
    if not ranges:
        raise BackendError(
            "precision int8 by builder flags needs the value ranges of a calibration; calibrate "
            "the model with: edge-inference quantize MODEL, or give a quantized ONNX"
        )
    missing = 0
    for tensor in tensors_of(network):
        set_range = getattr(tensor, "set_dynamic_range", None)
        if set_range is None or tensor.name not in ranges:
            missing += tensor.dtype.name in _FLOATS
        else:
            low, high = ranges[tensor.name]
            set_range(float(low), float(high))
    if not missing:
        return []
    return [f"{missing} tensors have no calibrated range; their layers do not run in int8"]


def _keep_in_fp32(vendor: Vendor, config: Any, network: Any, patterns: Sequence[str]) -> None:
    single = vendor.trt.DataType.FLOAT
    unmatched = set(patterns)
    for layer in layers_of(network):
        matched = {p for p in patterns if p == layer.name or fnmatchcase(layer.name, p)}
        unmatched -= matched
        if matched and not moves_data(layer.type.name):
            _constrain(layer, single)
    if unmatched:
        name = min(unmatched)
        names = [layer.name for layer in layers_of(network)]
        raise BackendError(f"keep_fp32: no layer has the name {name!r}{suggestion(name, names)}")


def _constrain(layer: Any, single: Any) -> None:
    assign_if_present(layer, "precision", single)
    for index in range(layer.num_outputs):
        set_output_type = getattr(layer, "set_output_type", None)
        if set_output_type is not None and layer.get_output(index).dtype.name in _FLOATS:
            set_output_type(index, single)


def _known_targets(capabilities: Any) -> list[str]:
    digits = [name[2:] for name in capabilities.__members__ if name.startswith("SM")]
    return [f"{text[:-1]}.{text[-1]}" for text in digits]


def _set_flag(config: Any, flag: Any, on: bool) -> None:
    if on:
        config.set_flag(flag)
    else:
        config.clear_flag(flag)
