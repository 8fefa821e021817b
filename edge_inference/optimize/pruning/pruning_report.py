"""What was pruned, and what it is worth: all figures of a network before and after."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edge_inference.core.measured_costs import FASTER, Spread
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.training.torch_model import TorchModel

STRUCTURED, UNSTRUCTURED, TWO_OF_FOUR = "structured", "unstructured", "2:4"
#: What computes in less time spends most of it in the fixed cost of its operators.
_SMALL_MACS = 5_000_000
_MANY_DEPTHWISE = 0.1
_SHOWN_LAYERS = 3


@dataclass(frozen=True)
class KeptLayer:
    """A layer that was not pruned, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class PrunedLayer:
    """A convolution or linear layer: its outputs, and the share of its weights that are zero."""

    name: str
    channels_before: int
    channels_after: int
    sparsity: float


@dataclass(frozen=True)
class NetworkFigures:
    """A network in numbers; None for what was not measured.

    ``macs`` are the multiply-accumulate operations of one image, by torch's counter, zeros
    included; ``depthwise_macs`` those of depthwise convolutions. ``sparsity`` is the share of the
    weights of convolutions and linear layers that are zero. ``bytes`` is the size of the ONNX
    file, ``time`` the CPU time in seconds of one image in ONNX Runtime on one thread.
    """

    parameters: int
    macs: int
    depthwise_macs: int
    sparsity: float
    bytes: int | None = None
    time: Spread | None = None
    accuracy: MeasuredAccuracy | None = None


@dataclass(frozen=True)
class PruningStep:
    """One step of an iterative pruning: the share that was pruned so far, and what was left.

    ``accuracy`` is of the validation images, after the fine-tuning of the step.
    """

    target: float
    pruned: float
    accuracy: MeasuredAccuracy
    kept: bool = True


@dataclass(frozen=True)
class LatencyRow:
    """The time of the network at one ratio of pruning, measured interleaved with all others.

    ``pruned`` is the share of the channels that was really removed, ``speedup`` the time of the
    unpruned network divided by that of this one.
    """

    ratio: float
    pruned: float
    macs: int
    time: Spread
    speedup: float


@dataclass(frozen=True)
class PruningReport:
    """A pruned model, and its figures beside those of the given one.

    ``pruned`` is the share that was removed: of the channels that can be pruned, or of the
    weights. ``ratio`` was requested, or chosen by ``latency_table``.
    """

    model: TorchModel
    kind: str
    ratio: float
    pruned: float
    before: NetworkFigures
    after: NetworkFigures
    layers: tuple[PrunedLayer, ...]
    kept: tuple[KeptLayer, ...] = ()
    steps: tuple[PruningStep, ...] = ()
    latency_table: tuple[LatencyRow, ...] = ()

    @property
    def speedup(self) -> float | None:
        """Return the time before divided by the time after, None if it was not measured."""
        if self.before.time is None or self.after.time is None:
            return None
        return self.before.time.median_s / self.after.time.median_s

    @property
    def macs_ratio(self) -> float:
        """Return the operations before divided by those after."""
        return self.before.macs / max(self.after.macs, 1)

    @property
    def is_faster(self) -> bool | None:
        """Tell whether the pruned network takes clearly less time; None if not measured."""
        return None if self.speedup is None else 1 / self.speedup <= FASTER

    def summary(self) -> str:
        """Return what was pruned, and what it changed, in a few sentences."""
        before, after = self.before, self.after
        what = "channels removed" if self.kind == STRUCTURED else "weights set to zero"
        facts = [
            f"{self.pruned:.0%} of the {what}",
            f"parameters {_count(before.parameters)} → {_count(after.parameters)}",
            f"MACs {_count(before.macs)} → {_count(after.macs)} (÷{self.macs_ratio:.1f})",
        ]
        if self.kind != STRUCTURED:
            facts.append(f"sparsity {before.sparsity:.0%} → {after.sparsity:.0%}")
        if before.bytes is not None and after.bytes is not None:
            facts.append(f"file {_count(before.bytes)}B → {_count(after.bytes)}B")
        if before.time is not None and after.time is not None and self.speedup is not None:
            facts.append(
                f"time {before.time.median_s * 1e3:.3f} → {after.time.median_s * 1e3:.3f} ms "
                f"({self.speedup:.2f} times the speed)"
            )
        if before.accuracy is not None and after.accuracy is not None:
            facts.append(f"accuracy {before.accuracy.share:.1%} → {after.accuracy.share:.1%}")
        sentences = [f"{self.model.name}: {', '.join(facts)}."]
        if self.is_faster is False:
            sentences.append(f"It is not faster ({self.speedup:.2f} times the speed).")
            if self.kind == STRUCTURED:
                sentences.append(f"Likely causes: {'; '.join(self._causes())}.")
        if self.kind != STRUCTURED:
            sentences.append(sparse_hint(self.kind))
        if any(not step.kept for step in self.steps):
            sentences.append("The last step lost too much accuracy and was rolled back.")
        return " ".join(sentences)

    def to_json(self) -> dict[str, Any]:
        """Return all figures for JSON, without the module."""
        return {
            "model": self.model.name,
            "kind": self.kind,
            "ratio": self.ratio,
            "pruned": self.pruned,
            "before": asdict(self.before),
            "after": asdict(self.after),
            "speedup": self.speedup,
            "is_faster": self.is_faster,
            "layers": [asdict(layer) for layer in self.layers],
            "kept": [asdict(layer) for layer in self.kept],
            "steps": [asdict(step) for step in self.steps],
            "latency_table": [asdict(row) for row in self.latency_table],
            "summary": self.summary(),
        }

    def unaligned_layers(self, unit: int = 8) -> list[PrunedLayer]:
        """Return the pruned layers whose outputs are not a multiple of ``unit``."""
        return [
            layer
            for layer in self.layers
            if layer.channels_after != layer.channels_before and layer.channels_after % unit
        ]

    def _causes(self) -> list[str]:
        causes = []
        unaligned = self.unaligned_layers()
        if unaligned:
            names = ", ".join(f"{each.name} {each.channels_after}" for each in unaligned[:3])
            more = "" if len(unaligned) <= _SHOWN_LAYERS else f" and {len(unaligned) - 3} more"
            causes.append(
                f"channels that are no multiple of 8 ({names}{more}) leave the vector units half "
                "used: prune with round_to=8"
            )
        if self.before.macs < _SMALL_MACS:
            causes.append(
                f"at {_count(self.before.macs)} MACs an image the fixed cost of each operator "
                "outweighs the arithmetic: the input is too small for pruning to pay"
            )
        share = self.after.depthwise_macs / max(self.after.macs, 1)
        if share > _MANY_DEPTHWISE:
            causes.append(
                f"{share:.0%} of the MACs are in depthwise convolutions, which wait for memory "
                "rather than for arithmetic"
            )
        if not causes:
            causes.append("moving the data takes the time, not the arithmetic")
        return causes


def sparse_hint(kind: str) -> str:
    """Return which engine gains time from zeros."""
    if kind == TWO_OF_FOUR:
        return (
            "A dense runtime multiplies by zeros as well; TensorRT uses 2:4 zeros on a GPU of the "
            "Ampere generation or later with sparse_weights: true in the section engine of "
            "model.yaml."
        )
    return (
        "A dense runtime multiplies by zeros as well: they make a compressed file smaller; to gain "
        "time, remove whole channels."
    )


def _count(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.2f} {unit}"
    return f"{value:.0f}"
