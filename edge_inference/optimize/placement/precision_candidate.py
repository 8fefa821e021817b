"""What the search for the fastest precision chooses among, and what it measured of each."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_inference.core.measured_costs import Spread
from edge_inference.core.models.variants import Derivation
from edge_inference.engines.precision.int8 import QDQ_STYLES
from edge_inference.optimize.placement.network_regions import NetworkRegion
from edge_inference.optimize.yaml_edit import Value

if TYPE_CHECKING:
    from onnx import ModelProto

#: Operators that engines fuse into the layer before them; they cost nothing in its precision.
_FUSED = ("Clip", "Relu")

#: A smaller gain in time is noise of the measurement.
MIN_GAIN = 0.015
#: The ways in which a region computes; the others are named by an operator.
ALL, LAYERS, REST = "all", "layers with weights", "rest"


@dataclass(frozen=True)
class PrecisionCandidate:
    """A precision, and how its model is derived. ``is_single`` tells that all of it has one."""

    name: str
    precision: str
    derive: Derivation = field(default_factory=Derivation)
    is_single: bool = False

    @property
    def key(self) -> str:
        """Return a text that is equal for candidates with the same model."""
        derive = self.derive
        parts = [self.precision, sorted(set(derive.keep_fp32(self.precision)))]
        if self.precision == "int8":
            parts += [sorted(set(derive.int8_reduce_range)), derive.int8_rest]
        return json.dumps(parts)

    def changed_settings(self, derive: Derivation) -> dict[str, Value]:
        """Return what the section ``derive`` of the model must say, and does not yet."""
        if self.precision != "int8":
            return {}
        new: dict[str, Value] = {
            "int8_keep_fp32": list(self.derive.int8_keep_fp32),
            "int8_reduce_range": list(self.derive.int8_reduce_range),
            "int8_rest": self.derive.int8_rest,
        }
        old = dataclasses.asdict(derive)
        return {
            name: value
            for name, value in new.items()
            if (value if isinstance(value, str) else tuple(value)) != old[name]
        }


@dataclass(frozen=True)
class CandidateResult:
    """What was measured of a candidate; None for what was not.

    ``relative_time`` is its time divided by that of fp32 on the same backend, measured
    interleaved; ``seconds`` are those of one inference. ``agreement`` (0 to 1) and ``sqnr_db``
    compare it with fp32 in ONNX Runtime on ``images`` images; equal outputs have an infinite
    SQNR. ``reasons`` are the floors that it misses, or the error that it ends with.
    """

    candidate: PrecisionCandidate
    images: int
    relative_time: float | None = None
    seconds: Spread | None = None
    agreement: float | None = None
    sqnr_db: float | None = None
    reasons: tuple[str, ...] = ()

    @property
    def keeps_floors(self) -> bool:
        """Tell whether it runs and is accurate enough."""
        return self.relative_time is not None and not self.reasons

    @property
    def is_failed(self) -> bool:
        """Tell whether it could not be derived or run."""
        return bool(self.reasons) and self.agreement is None and self.sqnr_db is None

    @property
    def time(self) -> float:
        """Return the relative time, infinite where it was not measured."""
        return math.inf if self.relative_time is None else self.relative_time

    @property
    def noise(self) -> float:
        """Return noise over signal; infinite where nothing could be compared."""
        return float("inf") if self.sqnr_db is None else 10.0 ** (-self.sqnr_db / 10)

    def to_json(self) -> dict[str, Any]:
        """Return the result for ``--json`` and for the ledger; an infinite SQNR is the text inf."""
        sqnr_db: float | str | None = self.sqnr_db
        return {
            "name": self.candidate.name,
            "precision": self.candidate.precision,
            "images": self.images,
            "relative_time": self.relative_time,
            "seconds": None if self.seconds is None else dataclasses.asdict(self.seconds),
            "agreement": self.agreement,
            "sqnr_db": "inf" if sqnr_db == float("inf") else sqnr_db,
            "reasons": list(self.reasons),
        }


class RegionModes:
    """The ways in which the regions of a network may compute in an int8 model.

    ``ALL`` quantizes every operator that the engine has in int8, ``LAYERS`` only those with
    weights, the name of an operator only that one, and ``REST`` none; modes of ``add_all_but``
    leave some operators out, such as a Softmax that is slower in int8.
    """

    def __init__(
        self, model: ModelProto, regions: Sequence[NetworkRegion], target: str, base: Derivation
    ) -> None:
        """``base`` is the derivation of the model, whose nodes in fp32 stay so."""
        self.regions = tuple(regions)
        self._base = base
        self._operators = {node.name: node.op_type for node in model.graph.node}
        style = QDQ_STYLES[target]
        self._convertible = {
            name for name, operator in self._operators.items() if operator in style.operators()
        }
        present = [name for name in style.weighted if name in self._operators.values()]
        quantizes: dict[str, Callable[[str], bool]] = {
            ALL: lambda operator: True,
            LAYERS: lambda operator: operator in (*style.weighted, *_FUSED),
        }
        for each in present if len(present) > 1 else ():
            quantizes[each] = lambda operator, each=each: operator in (each, *_FUSED)  # type: ignore[misc]
        quantizes[REST] = lambda operator: False
        self._quantizes = quantizes
        #: The modes that leave one operator without weights out, by the operator.
        self.all_but = {
            name: self.add_all_but([name])
            for name in style.computing
            if name in self._operators.values()
        }

    def names(self) -> list[str]:
        """Return the modes that differ for the whole network, without ``REST``."""
        found: dict[frozenset[str], str] = {}
        for mode in self._quantizes:
            kept = frozenset(node for region in self.regions for node in self._kept(region, mode))
            found.setdefault(kept, mode)
        return [mode for mode in found.values() if mode != REST]

    def add_all_but(self, operators: Sequence[str]) -> str:
        """Add the mode that quantizes all but some operators; return its name."""
        left_out = frozenset(operators)
        mode = f"{ALL} but {', '.join(sorted(left_out))}"
        self._quantizes[mode] = lambda operator: operator not in left_out
        return mode

    def uniform(self, mode: str, rest: str = "fp32") -> PrecisionCandidate:
        """Return the candidate with one mode for the whole network."""
        operators = {self._operators[name] for name in self._convertible}
        kept = sorted(name for name in operators if not self._quantizes[mode](name))
        name = f"int8 in {mode}{'' if mode.startswith(ALL) else ' only'}"
        return self._candidate(
            "int8" if mode == ALL else name, tuple(kept), (), rest, is_single=mode == ALL
        )

    def mixed(
        self, modes: Sequence[str], reduced: Sequence[bool], rest: str = "fp32"
    ) -> PrecisionCandidate:
        """Return the candidate with a mode for each region, and 7-bit weights for some."""
        if len(set(modes)) == 1 and not any(reduced):
            return self.uniform(modes[0], rest)
        kept, bits = [], []
        for region, mode, is_reduced in zip(self.regions, modes, reduced, strict=True):
            kept += self._kept(region, mode)
            if is_reduced:
                bits += [name for name in region.nodes if self._has_weights(name)]
        is_single = set(modes) == {ALL} and all(reduced)
        counts = {mode: list(modes).count(mode) for mode in dict.fromkeys(modes)}
        parts = [f"{count} x {mode}" for mode, count in counts.items()]
        if any(reduced):
            parts.append(f"{sum(reduced)} x 7 bits")
        name = "int8 with 7-bit weights" if is_single else f"int8 by region ({', '.join(parts)})"
        return self._candidate(name, tuple(kept), tuple(bits), rest, is_single=is_single)

    def differs(self, region: NetworkRegion, one: str, other: str) -> bool:
        """Tell whether two modes differ in a region."""
        return set(self._kept(region, one)) != set(self._kept(region, other))

    def has_weights(self, region: NetworkRegion) -> bool:
        """Tell whether a region has layers with weights."""
        return any(map(self._has_weights, region.nodes))

    def _has_weights(self, node: str) -> bool:
        return self._operators[node] in ("Conv", "ConvTranspose", "Gemm", "MatMul")

    def _kept(self, region: NetworkRegion, mode: str) -> list[str]:
        quantizes = self._quantizes[mode]
        return [
            name
            for name in region.nodes
            if name in self._convertible and not quantizes(self._operators[name])
        ]

    def _candidate(
        self,
        name: str,
        kept: tuple[str, ...],
        reduced: tuple[str, ...],
        rest: str,
        *,
        is_single: bool,
    ) -> PrecisionCandidate:
        keep = tuple(dict.fromkeys((*self._base.int8_keep_fp32, *kept)))
        derive = dataclasses.replace(
            self._base, int8_keep_fp32=keep, int8_reduce_range=reduced, int8_rest=rest
        )
        if rest == "fp16":
            name += " + fp16"
        return PrecisionCandidate(name, "int8", derive, is_single and rest == "fp32")


def fastest(results: Sequence[CandidateResult]) -> CandidateResult:
    """Return the fastest; of those that are nearly as fast the one with the least noise."""
    limit = min(result.time for result in results) * (1 + MIN_GAIN)
    near = [result for result in results if result.time <= limit]
    return min(near, key=lambda result: (result.noise, result.time))


def read_result(candidate: PrecisionCandidate, content: Mapping[str, Any]) -> CandidateResult:
    """Return the result of ``CandidateResult.to_json``. Raises KeyError, TypeError, ValueError."""
    seconds, sqnr_db = content["seconds"], content["sqnr_db"]
    return CandidateResult(
        candidate,
        int(content["images"]),
        None if content["relative_time"] is None else float(content["relative_time"]),
        None if seconds is None else Spread(float(seconds["median_s"]), float(seconds["p95_s"])),
        None if content["agreement"] is None else float(content["agreement"]),
        None if sqnr_db is None else float(sqnr_db),
        tuple(str(reason) for reason in content["reasons"]),
    )
