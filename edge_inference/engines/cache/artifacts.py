"""The files that backends open, and how each is made.

An artifact knows its key in the cache, with which it is found, and how it is made. Both
depend on the model and the machine only: every process computes the same key.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from edge_inference.backends.cpu_instructions import find_cpu_instructions
from edge_inference.backends.trt.metadata import Environment
from edge_inference.backends.trt.vendor import import_tensorrt
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import command_argument
from edge_inference.core.models.variants import Variant
from edge_inference.core.onnx_format.onnx_files import combine_digests, onnx_digest
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.model_options import build_options, environment_here
from edge_inference.engines.cache.artifact_cache import ArtifactCache, default_cache_folder, key_of
from edge_inference.engines.precision.derivation import (
    calibration_digest,
    derivation_rules,
    int8_parts,
    version_of,
)
from edge_inference.engines.precision.int8_mode import FULL_BITS
from edge_inference.engines.quantized.variant_choice import choose_variant, require_unquantized
from edge_inference.errors import CacheError, ModelError

#: Called with the name of a phase and the progress of the whole, 0 to 1, or None if unknown.
Progress = Callable[[str, float | None], None]
Cancelled = Callable[[], bool]

_ONNX = "model.onnx"
_PLAN = "engine.plan"
#: Folder of the timing caches, inside the cache folder.
TIMING_FOLDER = "timing"


def default_cache() -> ArtifactCache:
    """Return the user's cache."""
    return ArtifactCache(default_cache_folder())


class Artifact(ABC):
    """A file for a backend."""

    #: Why it is this file, for the user; an empty text where there is nothing to say.
    reason: str = ""

    @property
    def source(self) -> Variant | None:
        """The variant in the model folder that the file is or is made from, None if unknown."""
        return None

    @abstractmethod
    def find(self, cache: ArtifactCache) -> Path | None:
        """Return the file, or None where it does not exist yet. Raises CacheError if damaged."""

    @abstractmethod
    def make(self, cache: ArtifactCache, progress: Progress, cancelled: Cancelled) -> Path:
        """Return the file; make it first if it is missing or damaged."""

    @abstractmethod
    def discard(self, cache: ArtifactCache) -> bool:
        """Remove the file, so that it is made again; False for a file outside the cache."""

    def digest(self, cache: ArtifactCache) -> str | None:
        """Return the checksum of the file, and of the files of weights that it references.

        None where it does not exist yet. Raises CacheError where it is damaged, ModelError where
        it cannot be read.
        """
        file = self.find(cache)
        return None if file is None else onnx_digest(file)


@dataclass(frozen=True)
class ShippedFile(Artifact):
    """A variant in the model folder."""

    variant: Variant
    reason: str = dataclasses.field(default="", compare=False)

    @property
    def source(self) -> Variant:
        """The variant."""
        return self.variant

    def find(self, cache: ArtifactCache) -> Path | None:
        """Return the variant's file."""
        return self.variant.file

    def make(self, cache: ArtifactCache, progress: Progress, cancelled: Cancelled) -> Path:
        """Return the variant's file after verifying its checksum."""
        self.variant.verify()
        return self.variant.file

    def discard(self, cache: ArtifactCache) -> bool:
        """Keep the file: the model folder does not change."""
        return False

    def digest(self, cache: ArtifactCache) -> str | None:
        """Return the checksum by model.yaml; it is verified before a backend opens the file."""
        return self.variant.digest


class CachedFile(Artifact):
    """A file in the cache, found by everything that changes its content."""

    #: Its name in the cache entry.
    file_name: ClassVar[str]

    @abstractmethod
    def parts(self) -> dict[str, Any]:
        """Return everything that changes the file."""

    def find(self, cache: ArtifactCache) -> Path | None:
        """Find the file in the cache; its bytes, and those of the files beside it, are verified."""
        entry = cache.find(key_of(self.parts()))
        if entry is None:
            return None
        entry.verify()
        return entry.path(self.file_name)

    def digest(self, cache: ArtifactCache) -> str | None:
        """Return the digest in the cache entry."""
        entry = cache.find(key_of(self.parts()))
        return None if entry is None else entry.files[self.file_name].sha256

    def discard(self, cache: ArtifactCache) -> bool:
        """Remove it from the cache."""
        return cache.remove(key_of(self.parts()))


@dataclass(frozen=True)
class DerivedModel(CachedFile):
    """The model in another precision, derived from its fp32 variant for one kind of engine.

    ``weight_bits`` apply to int8: 7 bits are for CPUs that add products in 16 bits. ``quantized``
    is an int8 variant that is only changed to the form that TensorRT takes.
    """

    model: ModelDescription
    precision: str
    target: str
    weight_bits: int = FULL_BITS
    quantized: Variant | None = None
    reason: str = dataclasses.field(default="", compare=False)

    file_name = _ONNX

    @property
    def source(self) -> Variant:
        """The fp32 variant, or the one that is already quantized."""
        return self.quantized or self.model.variants["fp32"]

    def parts(self) -> dict[str, Any]:
        """Return everything that changes the file or the result of its checks.

        The CPU computes int8 of ONNX Runtime: checks on a CPU with other instructions do not
        hold here.
        """
        by_cpu = self.precision == "int8" and self.target == "onnxruntime"
        if self.quantized is not None:
            return {
                "kind": "onnx",
                "rules": derivation_rules(),
                "quantized": self.quantized.digest,
                "target": self.target,
                "made with": {"onnx": version_of("onnx")},
            }
        return {
            "kind": "onnx",
            "rules": derivation_rules(),
            "source": self.source.digest,
            "precision": self.precision,
            "target": self.target,
            "weight_bits": self.weight_bits if self.precision == "int8" else None,
            "instructions": find_cpu_instructions().instruction_set if by_cpu else None,
            "keep_fp32": list(self.model.derive.keep_fp32(self.precision)),
            **int8_parts(self.model, self.precision, self.target),
            "calibration": calibration_digest(self.model, self.precision),
            "made with": {name: version_of(name) for name in ("onnx", "onnxruntime")},
        }

    def digest(self, cache: ArtifactCache) -> str | None:
        """Return the digest of all files in the cache entry."""
        entry = cache.find(key_of(self.parts()))
        if entry is None:
            return None
        digests = {name: record.sha256 for name, record in entry.files.items()}
        return combine_digests(digests.pop(_ONNX), digests)

    def make(self, cache: ArtifactCache, progress: Progress, cancelled: Cancelled) -> Path:
        """Derive the model in this precision."""
        bits = f"{self.weight_bits}-bit " if self.weight_bits < FULL_BITS else ""
        kind = f"{bits}{self.precision}"
        label = f"{self.model.name}-{kind.replace(' ', '-')}-{self.target}"
        parts = self.parts()

        def derive_into(folder: Path) -> Mapping[str, Any]:
            from edge_inference.engines.precision.derive import derive_model
            from edge_inference.engines.precision.tensorrt_form import write_for_tensorrt

            progress(f"deriving {kind}", None)
            self.source.verify()
            if self.quantized is not None:
                write_for_tensorrt(self.quantized.file, folder / _ONNX)
                return {"model": self.model.name, **parts}
            derive_model(self.model, self.precision, self.target, folder / _ONNX, self.weight_bits)
            return {"model": self.model.name, **parts}

        entry = cache.get_or_make(
            key_of(parts),
            derive_into,
            label=label,
            cancelled=cancelled,
            report=lambda damage: progress(damage, None),
        )
        return entry.path(_ONNX)


@dataclass(frozen=True)
class EnginePlan(CachedFile):
    """A TensorRT engine, built on this machine from one of the model's ONNX files."""

    model: ModelDescription
    onnx: ShippedFile | DerivedModel
    options: BuildOptions
    environment: Environment
    reason: str = dataclasses.field(default="", compare=False)

    file_name = _PLAN

    @property
    def source(self) -> Variant:
        """The variant that its ONNX is or is derived from."""
        return self.onnx.source

    def parts(self) -> dict[str, Any]:
        """Return everything that changes the plan."""
        onnx = self.onnx
        extra = {name: value.tolist() for name, value in self.model.extra_inputs.items()}
        return {
            "kind": "engine",
            **({"extra inputs": extra} if extra else {}),
            "onnx": onnx.variant.digest if isinstance(onnx, ShippedFile) else onnx.parts(),
            "calibration": calibration_digest(self.model, self.options.precision),
            "options": dataclasses.asdict(self.options),
            "environment": dataclasses.asdict(self.environment),
        }

    def make(self, cache: ArtifactCache, progress: Progress, cancelled: Cancelled) -> Path:
        """Build the engine."""
        from edge_inference.engines.build.builder import build_engine, write_engine

        onnx_file = self.onnx.make(cache, progress, cancelled)

        def build_into(folder: Path) -> Mapping[str, Any]:
            built = build_engine(
                onnx_file,
                self.options,
                vendor=import_tensorrt(),
                environment=self.environment,
                model=self.model.name,
                ranges=self._ranges(),
                fixed_inputs=self.model.extra_inputs,
                timing_cache=self._timing_cache(cache),
                progress=lambda step: progress(step.phase, step.fraction),
                cancelled=cancelled,
            )
            write_engine(built, folder / _PLAN)
            return {
                "model": self.model.name,
                "precision": self.options.precision,
                "notes": list(built.notes),
            }

        label = f"{self.model.name}-{self.options.precision}-{self.environment.library}"
        key = key_of(self.parts())
        entry = cache.get_or_make(
            key,
            build_into,
            label=label,
            cancelled=cancelled,
            report=lambda damage: progress(damage, None),
        )
        return entry.path(_PLAN)

    def notes(self, cache: ArtifactCache) -> tuple[str, ...]:
        """Return the builder's notes on the engine in the cache."""
        entry = cache.find(key_of(self.parts()))
        return () if entry is None else tuple(entry.metadata.get("notes", ()))

    def _ranges(self) -> Mapping[str, tuple[float, float]] | None:
        """Return the calibrated ranges for int8 by builder flags; an int8 ONNX has its own."""
        file = self.model.calibration
        if self.options.precision != "int8" or file is None:
            return None
        from edge_inference.engines.precision.calibration import Calibration

        return Calibration.load(file).ranges

    def _timing_cache(self, cache: ArtifactCache) -> Path:
        """Return the timing cache of this GPU and TensorRT; all models share it."""
        name = key_of(dataclasses.asdict(self.environment))[:16]
        return cache.folder / TIMING_FOLDER / f"{name}.cache"


def onnx_for(
    model: ModelDescription, precision: str, target: str, weight_bits: int = FULL_BITS
) -> ShippedFile | DerivedModel:
    """Return the ONNX artifact of a model in a precision.

    ``target`` is "onnxruntime" or "tensorrt", ``weight_bits`` apply to int8. A variant in the
    model folder has priority if it fits the engine, see :func:`choose_variant`. With 7 bits,
    int8 is derived if the model has a calibration. Raises ModelError where there is neither a
    variant that fits nor a way to derive one.
    """
    is_int8 = precision == "int8"
    bits = weight_bits if is_int8 else FULL_BITS
    can_derive = "fp32" in model.variants and (
        precision == "fp16" or (is_int8 and model.calibration is not None)
    )
    reason = ""
    if precision in model.variants and not (bits < FULL_BITS and can_derive):
        choice = choose_variant(model, precision, target, can_derive)
        reason = choice.reason
        if choice.is_rewritten:
            return DerivedModel(model, precision, target, bits, choice.variant, reason)
        if choice.variant is not None:
            return ShippedFile(choice.variant, reason)
    if "fp32" in model.variants:
        require_unquantized(model.variants["fp32"].file, precision)
    if can_derive:
        return DerivedModel(model, precision, target, bits, reason=reason)
    raise ModelError(
        f"model {model.name!r} has no {precision} variant; it has {', '.join(precisions(model))}"
        f"; {_hint_for(model, precision)}"
    )


def precisions(model: ModelDescription) -> list[str]:
    """Return the precisions of a model, with those that can be derived, most accurate first."""
    derivable = set(model.variants)
    if "fp32" in model.variants:
        derivable |= {"fp16"} | ({"int8"} if model.calibration is not None else set())
    return [name for name in ("fp32", "fp16", "int8") if name in derivable]


def engine_plan(
    model: ModelDescription,
    precision: str,
    gpu: int = 0,
    options: BuildOptions | None = None,
) -> EnginePlan:
    """Return the TensorRT engine of a model for this machine.

    ``options`` replace those of the section ``engine`` in model.yaml. Raises BackendError where
    TensorRT or the GPU is missing, ModelError for a precision that is not available.
    """
    if options is None:
        options = build_options(model, precision)
    by_flags = options.typing == "flags" and "fp32" in model.variants
    onnx = onnx_for(model, "fp32" if by_flags else precision, "tensorrt")
    return EnginePlan(model, onnx, options, environment_here(gpu), onnx.reason)


def _hint_for(model: ModelDescription, precision: str) -> str:
    if precision == "int8" and "fp32" in model.variants:
        return (
            f"make it with: edge-inference quantize {command_argument(model)} "
            "--calibration IMAGES --output FOLDER"
        )
    return "choose one of them, or 'auto'"


def find_undamaged(artifact: Artifact, cache: ArtifactCache) -> tuple[Path | None, str]:
    """Return the file, or None, and the error of a damaged file, or an empty text."""
    try:
        return artifact.find(cache), ""
    except CacheError as error:
        return None, str(error)
