"""What can be said about building a TensorRT engine, declared once.

The same declaration serves the section ``engine`` of ``model.yaml``, the
command line and the engine's sidecar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_inference.core.models.model import MAX_LAYERS, PRECISIONS
from edge_inference.core.settings import setting
from edge_inference.engines.build.profiles import Profile, check_batch, parse_profile
from edge_inference.errors import ConfigError

#: Where precision comes from: the tensors of the ONNX, or flags that let TensorRT choose.
TYPINGS = ("onnx", "flags")
HARDWARE = ("same", "compute_capability", "ampere_plus")
DEVICES = ("gpu", "dla0", "dla1")

_COMPUTE_CAPABILITY = re.compile(r"\d+\.\d")


@dataclass(frozen=True)
class BuildOptions:
    """How to build an engine from an ONNX file."""

    precision: str = setting(
        "fp32", "precision of the ONNX, or the lowest that flags allow", choices=PRECISIONS
    )
    typing: str = setting(
        "onnx",
        "onnx: compute in the types of the ONNX; flags: TensorRT chooses layer by layer what is "
        "fastest (up to TensorRT 10)",
        choices=TYPINGS,
    )
    keep_fp32: tuple[str, ...] = setting(
        (),
        "layers that stay in fp32, by name or pattern, where flags choose the others' precision",
        max_length=MAX_LAYERS,
    )
    profiles: tuple[str, ...] = setting(
        (), "sizes of inputs with dynamic axes, NAME:MIN,USUAL,MAX as in x:1x3x64x64,4x3x64x64,…"
    )
    batch: tuple[int, ...] = setting(
        (),
        "smallest, usual and largest batch of inputs whose first axis is dynamic; empty where the "
        "batch is fixed",
        minimum=1,
    )
    workspace_mib: int = setting(
        0,
        "most memory for a layer's intermediate values; 0 for all there is",
        unit="MiB",
        minimum=0,
    )
    optimization_level: int = setting(
        3, "how long to search: 0 builds fastest, 5 runs fastest", minimum=0, maximum=5
    )
    tf32: bool = setting(
        True, "let fp32 layers compute with 10-bit mantissas where the GPU does that faster"
    )
    sparse_weights: bool = setting(False, "use sparse kernels for weights with 2:4 sparsity")
    device: str = setting(
        "gpu", "what runs the engine; a DLA leaves what it cannot do to the GPU", choices=DEVICES
    )
    hardware: str = setting(
        "same",
        "where the engine runs: this model of GPU, its compute capability, or Ampere and later",
        choices=HARDWARE,
    )
    targets: tuple[str, ...] = setting(
        (), "compute capabilities to build for, as in 8.6; empty for the usual (TensorRT-RTX only)"
    )
    version_compatible: bool = setting(False, "let later TensorRT of the same major version run it")
    exclude_lean_runtime: bool = setting(
        False, "leave out the runtime that a version-compatible engine carries; install it instead"
    )

    def check(self) -> str | None:
        """Say what contradicts itself."""
        try:
            names = [wanted.name for wanted in self.parsed_profiles()]
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
            return "exclude_lean_runtime: has a meaning only with version_compatible"
        for target in self.targets:
            if not _COMPUTE_CAPABILITY.fullmatch(target):
                return f"targets: expected compute capabilities as in '8.6', got {target!r}"
        if self.targets and self.hardware != "same":
            return "targets: they already say where the engine runs; leave hardware at 'same'"
        return None

    def parsed_profiles(self) -> tuple[Profile, ...]:
        """Return the profiles. Raises ConfigError."""
        return tuple(parse_profile(text) for text in self.profiles)
