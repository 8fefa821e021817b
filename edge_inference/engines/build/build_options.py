"""The options of a TensorRT build.

The section ``engine`` of model.yaml, the command line and the engine's sidecar share this one
declaration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_inference.core.models.variants import MAX_LAYERS, PRECISIONS
from edge_inference.core.settings import setting
from edge_inference.engines.build.profiles import Profile, check_batch, parse_profile
from edge_inference.errors import ConfigError

#: Source of the precision: the tensor types of the ONNX, or flags that let TensorRT choose.
TYPINGS = ("onnx", "flags")
HARDWARE = ("same", "compute_capability", "ampere_plus")
DEVICES = ("gpu", "dla0", "dla1")

_COMPUTE_CAPABILITY = re.compile(r"\d+\.\d")


@dataclass(frozen=True)
class BuildOptions:
    """How to build an engine from an ONNX file."""

    precision: str = setting(
        "fp32", "precision of the ONNX, or the lowest one that the flags allow", choices=PRECISIONS
    )
    typing: str = setting(
        "onnx",
        "onnx: compute in the types of the ONNX; flags: TensorRT chooses the fastest type of "
        "each layer (up to TensorRT 10)",
        choices=TYPINGS,
    )
    keep_fp32: tuple[str, ...] = setting(
        (),
        "layers that stay in fp32, by name or pattern, with typing flags",
        max_length=MAX_LAYERS,
    )
    profiles: tuple[str, ...] = setting(
        (), "sizes of inputs with dynamic axes, NAME:MIN,OPT,MAX as in x:1x3x64x64,4x3x64x64,…"
    )
    batch: tuple[int, ...] = setting(
        (),
        "minimum, optimum and maximum batch of inputs with a dynamic first axis; empty for a "
        "fixed batch",
        minimum=1,
    )
    workspace_mib: int = setting(
        0,
        "maximum memory for a layer's intermediate values; 0 for all available memory",
        unit="MiB",
        minimum=0,
    )
    optimization_level: int = setting(
        3,
        "effort of the search: 0 builds fastest, 5 gives the fastest engine",
        minimum=0,
        maximum=5,
    )
    tf32: bool = setting(True, "let fp32 layers compute with 10-bit mantissas where that is faster")
    sparse_weights: bool = setting(False, "use sparse kernels for weights with 2:4 sparsity")
    device: str = setting(
        "gpu",
        "device of the engine; the GPU runs the layers that a DLA does not support",
        choices=DEVICES,
    )
    hardware: str = setting(
        "same",
        "GPUs of the engine: this model, its compute capability, or Ampere and later",
        choices=HARDWARE,
    )
    targets: tuple[str, ...] = setting(
        (),
        "compute capabilities to build for, as in 8.6; empty for the default (TensorRT-RTX only)",
    )
    version_compatible: bool = setting(
        False, "let later releases of the same major version run the engine"
    )
    exclude_lean_runtime: bool = setting(
        False, "leave the runtime out of a version-compatible engine; install it instead"
    )

    def check(self) -> str | None:
        """Return the first contradiction, None where there is none."""
        try:
            names = [profile.name for profile in self.parsed_profiles()]
        except ConfigError as error:
            return f"profiles: {error}"
        if len(set(names)) != len(names):
            return f"profiles: expected one for each input, got {', '.join(sorted(names))}"
        batch = check_batch(self.batch)
        if batch:
            return f"batch: {batch}"
        return self._check_place()

    def _check_place(self) -> str | None:
        if self.exclude_lean_runtime and not self.version_compatible:
            return "exclude_lean_runtime: needs version_compatible"
        for target in self.targets:
            if not _COMPUTE_CAPABILITY.fullmatch(target):
                return f"targets: expected compute capabilities as in '8.6', got {target!r}"
        if self.targets and self.hardware != "same":
            return "targets: they replace hardware; leave it at 'same'"
        return None

    def parsed_profiles(self) -> tuple[Profile, ...]:
        """Return the profiles. Raises ConfigError."""
        return tuple(parse_profile(text) for text in self.profiles)
