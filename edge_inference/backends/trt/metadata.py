"""The sidecar of a plan: its metadata, available before the plan is loaded.

``engine.plan`` has the sidecar ``engine.plan.json``. A plan is code: it is loaded only if its
checksum equals the one in the sidecar, and the sidecar's own checksum is valid.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.core.bounded_file import read_bytes, read_json
from edge_inference.errors import EngineFileError

SIDECAR_SUFFIX = ".json"
FORMAT = 1
REBUILD_HINT = "rebuild it here with: edge-inference engine build MODEL"


@dataclass(frozen=True)
class Environment:
    """The environment that a plan must fit: TensorRT, operating system and GPU.

    ``device`` and ``compute_capability`` are None where there is no GPU.
    """

    library: str
    version: str
    system: str
    machine: str
    device: str | None = None
    compute_capability: str | None = None

    @classmethod
    def here(
        cls,
        library: str,
        version: str,
        device: str | None = None,
        compute_capability: str | None = None,
    ) -> Environment:
        """Describe this machine with the given TensorRT and GPU."""
        return cls(
            library, version, platform.system(), platform.machine(), device, compute_capability
        )


@dataclass(frozen=True)
class EngineMetadata:
    """The content of the sidecar: what the plan is, and where it can run.

    ``hardware`` is "same" (one compute capability), "ampere_plus", or "listed" (``targets`` are
    compute capabilities such as "8.7"). ``profiles`` maps an input to its minimum, optimum and
    maximum shape. ``inputs`` and ``outputs`` map a tensor to ``[dtype, *shape]``, with -1 for a
    dynamic axis. ``layer_precisions`` counts layers by precision. ``layer_source`` is its
    source: the engine "inspector", or the "network" where no engine could be loaded.
    """

    environment: Environment
    precision: str
    model: str
    onnx_sha256: str
    plan_sha256: str
    plan_bytes: int
    hardware: str = "same"
    targets: tuple[str, ...] = ()
    version_compatible: bool = False
    profiles: Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = (
        dataclasses.field(default_factory=dict)
    )
    inputs: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    outputs: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    layer_precisions: Mapping[str, int] = dataclasses.field(default_factory=dict)
    layer_source: str = ""
    build_seconds: float | None = None

    def incompatibility(self, here: Environment) -> str | None:
        """Return why the plan cannot run here, None where it can."""
        built = self.environment
        if built.library != here.library:
            return f"built by {built.library}, this machine has {here.library}"
        if built.version != here.version and not self.version_compatible:
            return f"built by {built.library} {built.version}, this machine has {here.version}"
        if (built.system, built.machine) != (here.system, here.machine):
            return (
                f"built for {built.system} on {built.machine}, this machine is {here.system} on "
                f"{here.machine}"
            )
        if here.compute_capability is None or self._runs_on(here.compute_capability):
            return None
        return (
            f"built for {self._device_text()}, this GPU is {here.device} (compute "
            f"{here.compute_capability})"
        )

    def _runs_on(self, compute_capability: str) -> bool:
        if self.hardware == "listed":
            return compute_capability in self.targets
        if self.hardware == "ampere_plus":
            return int(compute_capability.partition(".")[0]) >= 8
        return compute_capability == self.environment.compute_capability

    def _device_text(self) -> str:
        if self.hardware == "listed":
            return f"compute {', '.join(self.targets)}"
        if self.hardware == "ampere_plus":
            return "compute 8.0 or later"
        return f"{self.environment.device} (compute {self.environment.compute_capability})"


def sidecar_of(plan: Path) -> Path:
    """Return the path of a plan's sidecar."""
    return plan.with_name(plan.name + SIDECAR_SUFFIX)


def write_sidecar(plan: Path, metadata: EngineMetadata) -> Path:
    """Write the sidecar of a plan and return its path."""
    content = {"format": FORMAT, **dataclasses.asdict(metadata)}
    text = json.dumps({**content, "checksum": _checksum(content)}, indent=1, sort_keys=True)
    sidecar = sidecar_of(plan)
    sidecar.write_text(text + "\n", encoding="utf-8")
    return sidecar


def read_sidecar(plan: Path) -> EngineMetadata:
    """Read a plan's sidecar; raises EngineFileError if it is missing, altered or unknown."""
    sidecar = sidecar_of(plan)
    try:
        content = read_json(sidecar)
    except OSError as error:
        raise EngineFileError(
            f"{sidecar}: the plan's sidecar cannot be read ({error.strerror}), so the plan cannot "
            f"be checked; {REBUILD_HINT}"
        ) from error
    except ValueError as error:
        raise EngineFileError(
            f"{sidecar}: expected the JSON of a sidecar, got another text; {REBUILD_HINT}"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise EngineFileError(
            f"{sidecar}: expected a sidecar of format {FORMAT}, got {found!r}; {REBUILD_HINT}"
        )
    checksum = content.pop("checksum", None)
    if checksum != _checksum(content):
        raise EngineFileError(
            f"{sidecar}: altered after it was written (its checksum is wrong); {REBUILD_HINT}"
        )
    del content["format"]
    try:
        return _metadata(content)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise EngineFileError(
            f"{sidecar}: expected the fields of this version, got others ({error}); {REBUILD_HINT}"
        ) from error


def verify_plan(plan: Path, metadata: EngineMetadata) -> bytes:
    """Return the plan's bytes. Raises EngineFileError where they differ from the sidecar."""
    try:
        size = plan.stat().st_size
        content = read_bytes(plan, size) if size == metadata.plan_bytes else b""
    except OSError as error:
        raise EngineFileError(
            f"{plan}: the plan cannot be read ({error.strerror}); {REBUILD_HINT}"
        ) from error
    if size != metadata.plan_bytes:
        raise EngineFileError(
            f"{plan}: expected {metadata.plan_bytes} bytes, as its sidecar says, got {size}: "
            f"cut off or replaced; {REBUILD_HINT}"
        )
    found = hashlib.sha256(content).hexdigest()
    if found != metadata.plan_sha256:
        raise EngineFileError(
            f"{plan}: expected the plan of its sidecar (sha256 {metadata.plan_sha256[:12]}…), got "
            f"another one ({found[:12]}…); {REBUILD_HINT}"
        )
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _metadata(content: dict[str, Any]) -> EngineMetadata:
    """Return the dataclass: JSON has lists instead of tuples."""
    content["environment"] = Environment(**content["environment"])
    content["targets"] = tuple(content["targets"])
    for name in ("inputs", "outputs"):
        content[name] = {tensor: tuple(entry) for tensor, entry in content[name].items()}
    content["profiles"] = {
        tensor: tuple(tuple(shape) for shape in shapes)
        for tensor, shapes in content["profiles"].items()
    }
    return EngineMetadata(**content)
