"""Where a precision loses what it loses: noise born in each layer and on each tensor.

Both networks run on the same images with all inner tensors shown. Noise is the mean
squared difference to fp32 over the mean square of fp32. What a layer gives holds the
noise of what it was given and the noise that its own arithmetic adds: its weights, its
rounding. Between the layer that gives a tensor and those that take it, the tensor itself
is rounded, and that adds noise, too. The difference is what is born there.

That is a ranking, not a verdict: a later layer can drown or wipe out what is born early.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edge_inference.core.models.agreement import TensorAgreement, compare_outputs
from edge_inference.errors import SourceError
from edge_inference.optimize.activations import Activations
from edge_inference.optimize.layer_groups import group_layers

if TYPE_CHECKING:
    from onnx import ModelProto

TensorPair = tuple[str, str]


@dataclass(frozen=True)
class LayerNoise:
    """One layer: signal to noise of what it takes and gives, in dB.

    ``nodes`` are the first one and what is fused into it. None is what no fp32 tensor
    tells, infinite is no noise at all. ``is_finite`` is false where it gives NaN or
    infinity and fp32 does not.
    """

    nodes: tuple[str, ...]
    operator: str
    input_db: float | None
    output_db: float | None
    is_finite: bool

    @property
    def name(self) -> str:
        """Name it by its first node."""
        return self.nodes[0]


@dataclass(frozen=True)
class NoiseSource:
    """A place where noise is born, and the layers that must stay in fp32 to avoid it.

    ``tensor`` is empty where it is the arithmetic of the one layer. ``noise`` is noise
    over signal, infinite for NaN and overflow: what does not fit when it is given does
    not fit when it is taken either.
    """

    layers: tuple[str, ...]
    tensor: str
    noise: float

    def __str__(self) -> str:
        if not self.tensor:
            return f"the arithmetic of {self.layers[0]}"
        what = "the rounding of" if math.isfinite(self.noise) else "NaN or overflow in"
        return f"{what} {self.tensor} (at {', '.join(self.layers)})"


@dataclass(frozen=True)
class LayerSensitivity:
    """All layers in graph order, and the culprits, worst first."""

    layers: tuple[LayerNoise, ...]
    noise_sources: tuple[NoiseSource, ...]

    def nodes_of(self, layers: Iterable[str]) -> tuple[str, ...]:
        """Return the nodes of layers, in graph order."""
        wanted = set(layers)
        return tuple(node for layer in self.layers if layer.name in wanted for node in layer.nodes)


def measure_sensitivity(
    exact: ModelProto,
    derived: ModelProto,
    input_name: str,
    batches: Iterable[NDArray[Any]],
    movable: Collection[str],
    after_batch: Callable[[], None] = lambda: None,
) -> LayerSensitivity:
    """Measure every layer on some images.

    ``exact`` is the folded network; ``derived`` computes the same with nodes of the same
    names, and types of its tensors inferred. ``movable`` are the nodes that could stay in
    fp32: culprits are among their layers. Raises SourceError without a batch, and what
    ``Activations`` raises.
    """
    network = _Network(exact, derived)
    right, found = Activations(exact, input_name), Activations(derived, input_name)
    for batch in batches:
        network.add(dict(right.run(batch)), dict(found.run(batch)))
        after_batch()
    if not network.is_measured:
        raise SourceError("layers: expected at least one image, got none")
    return LayerSensitivity(network.layers(), network.noise_sources(set(movable)))


class _Network:
    """Which tensor of the derived model stands for which exact one, by node and place; and sums."""

    def __init__(self, exact: ModelProto, derived: ModelProto) -> None:
        twins = {node.name: node for node in derived.graph.node}
        constants = {entry.name for entry in exact.graph.initializer}
        self._groups = group_layers(exact)
        self._given: dict[str, list[TensorPair]] = {}
        self._taken: dict[str, list[TensorPair]] = {}
        self._sums: dict[TensorPair, TensorAgreement] = {}
        for group in self._groups:
            first, last = twins.get(group.first.name), twins.get(group.last.name)
            taken = _zipped(group.first.input, first.input if first else ())
            self._taken[group.name] = [pair for pair in taken if pair[0] not in constants]
            self._given[group.name] = _zipped(group.last.output, last.output if last else ())

    @property
    def is_measured(self) -> bool:
        return bool(self._sums)

    def add(self, exact: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]]) -> None:
        both = (*self._given.values(), *self._taken.values())
        for pair in dict.fromkeys(pair for pairs in both for pair in pairs):
            if pair[0] in exact and pair[1] in found:
                name = pair[0]
                compared = compare_outputs({name: exact[name]}, {name: found[pair[1]]}).tensors[0]
                self._sums[pair] = self._sums[pair] + compared if pair in self._sums else compared

    def layers(self) -> tuple[LayerNoise, ...]:
        return tuple(
            LayerNoise(
                group.nodes,
                group.first.op_type,
                input_db=self._lowest_db(self._taken[group.name]),
                output_db=self._lowest_db(self._given[group.name]),
                is_finite=math.isfinite(self._noise(self._given[group.name])),
            )
            for group in self._groups
        )

    def noise_sources(self, movable: set[str]) -> tuple[NoiseSource, ...]:
        layers = {group.name for group in self._groups if movable.intersection(group.nodes)}
        found = []
        for one in (*self._arithmetic(), *self._rounding()):
            among = tuple(name for name in one.layers if name in layers)
            if one.noise > 0 and among:
                found.append(NoiseSource(among, one.tensor, one.noise))
        return tuple(sorted(found, key=lambda one: one.noise, reverse=True))

    def _arithmetic(self) -> Iterable[NoiseSource]:
        for name, pairs in self._given.items():
            noise = _born(self._noise(pairs), self._noise(self._taken[name]))
            if math.isfinite(noise):
                yield NoiseSource((name,), "", noise)
                continue
            for pair in pairs:
                if not math.isfinite(self._noise([pair])):
                    yield NoiseSource((name, *self._takers(pair[0])), pair[0], noise)

    def _rounding(self) -> Iterable[NoiseSource]:
        givers = {pair[0]: (name, pair) for name, pairs in self._given.items() for pair in pairs}
        taken: dict[str, dict[str, TensorPair]] = {}
        for name, pairs in self._taken.items():
            for pair in pairs:
                taken.setdefault(pair[0], {})[name] = pair
        for tensor, by_layer in taken.items():
            giver = givers.get(tensor)
            before = self._noise([giver[1]]) if giver else 0.0
            layers = dict.fromkeys([*([giver[0]] if giver else []), *by_layer])
            yield NoiseSource(tuple(layers), tensor, _born(self._noise(by_layer.values()), before))

    def _takers(self, tensor: str) -> list[str]:
        return [name for name, pairs in self._taken.items() if tensor in dict(pairs)]

    def _noise(self, pairs: Iterable[TensorPair]) -> float:
        """Return the largest noise over signal; infinite where values are not finite."""
        return max((_noise(self._sums[pair]) for pair in pairs if pair in self._sums), default=0.0)

    def _lowest_db(self, pairs: Iterable[TensorPair]) -> float | None:
        known = (self._sums[pair].sqnr_db for pair in pairs if pair in self._sums)
        return min(known, default=None)


def _zipped(names: Iterable[str], twins: Iterable[str]) -> list[TensorPair]:
    return [pair for pair in zip(names, twins, strict=False) if all(pair)]


def _born(after: float, before: float) -> float:
    """Return what was added; what came broken is not broken here."""
    return max(after - before, 0.0) if math.isfinite(before) else 0.0


def _noise(agreement: TensorAgreement) -> float:
    if agreement.nan_count or agreement.inf_count:
        return math.inf
    if not agreement.noise:
        return 0.0
    # Where all should be zero, whatever is there is noise.
    return agreement.noise / agreement.signal if agreement.signal else 1.0
