"""Layer sensitivity: how much noise a precision adds in each layer and on each tensor.

The network in fp32 and the derived network run on the same images with all inner tensors as
outputs. Noise is the mean squared difference to fp32 over the mean square of fp32. The noise in
a layer's output has two parts: the noise in its input, and the noise that its own arithmetic
adds (quantized weights, rounding). Between the layer that computes a tensor and the layers that
read it, the tensor itself is rounded, which adds noise, too. A noise source is where noise is
added, that is, the difference.

The result is a ranking, not proof: a later layer can mask or cancel noise that is added early.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edge_inference.core.models.agreement import TensorAgreement, compare_outputs
from edge_inference.core.models.model import ModelDescription
from edge_inference.errors import SourceError
from edge_inference.optimize.intermediate_tensors import IntermediateTensors
from edge_inference.optimize.layer_groups import group_layers

if TYPE_CHECKING:
    from onnx import ModelProto

#: The names of one tensor in the fp32 network and in the derived network.
TensorPair = tuple[str, str]


@dataclass(frozen=True)
class LayerNoise:
    """The SQNR of one layer's input and output, in dB.

    ``nodes`` are the layer's first node and the nodes fused into it. An SQNR is None if the
    layer has no fp32 tensor to compare, and infinite without any noise. ``is_finite`` is false if
    the output has NaN or infinity and the fp32 output does not.
    """

    nodes: tuple[str, ...]
    operator: str
    input_sqnr_db: float | None
    output_sqnr_db: float | None
    is_finite: bool

    @property
    def name(self) -> str:
        """Return the name of the first node."""
        return self.nodes[0]

    @property
    def added_noise(self) -> float | None:
        """Return the noise over signal that the layer's own arithmetic adds.

        Infinite for NaN and overflow, None where an SQNR is unknown.
        """
        if not self.is_finite:
            return math.inf
        if self.output_sqnr_db is None:
            return None
        before = 0.0 if self.input_sqnr_db is None else 10 ** (-self.input_sqnr_db / 10)
        return _added_noise(10 ** (-self.output_sqnr_db / 10), before)


@dataclass(frozen=True)
class NoiseSource:
    """A place where noise is added, and the layers that must stay in fp32 to avoid it.

    ``tensor`` is the rounded tensor, or empty where the arithmetic of the one layer adds the
    noise. ``noise`` is the added noise over signal, infinite for NaN and overflow: a value that
    does not fit where it is computed does not fit where it is read either.
    """

    layers: tuple[str, ...]
    tensor: str
    noise: float

    def __str__(self) -> str:
        if not self.tensor:
            return f"the arithmetic of {self.layers[0]}"
        cause = "the rounding of" if math.isfinite(self.noise) else "NaN or overflow in"
        return f"{cause} {self.tensor} (at {', '.join(self.layers)})"


@dataclass(frozen=True)
class LayerSensitivity:
    """All layers in graph order, and the noise sources, worst first."""

    layers: tuple[LayerNoise, ...]
    noise_sources: tuple[NoiseSource, ...]

    def nodes_of(self, layers: Iterable[str]) -> tuple[str, ...]:
        """Return the nodes of layers, in graph order."""
        names = set(layers)
        return tuple(node for layer in self.layers if layer.name in names for node in layer.nodes)


def measure_sensitivity(
    fp32: ModelProto,
    derived: ModelProto,
    input_name: str,
    batches: Iterable[NDArray[Any]],
    convertible: Collection[str],
    after_batch: Callable[[], None] = lambda: None,
    model: ModelDescription | None = None,
) -> LayerSensitivity:
    """Measure every layer on some images.

    ``fp32`` is the folded network. ``derived`` has nodes of the same names and inferred tensor
    types. ``convertible`` are the nodes that could stay in fp32; noise sources name only their
    layers. ``model`` says how a batch becomes the graph's inputs. Raises SourceError without a
    batch, and what ``IntermediateTensors`` raises.
    """
    networks = _NetworkPair(fp32, derived)
    fp32_activations = IntermediateTensors(fp32, input_name, model)
    derived_activations = IntermediateTensors(derived, input_name, model)
    for batch in batches:
        networks.add(dict(fp32_activations.run(batch)), dict(derived_activations.run(batch)))
        after_batch()
    if not networks.is_measured:
        raise SourceError("layer sensitivity: expected at least one image, got none")
    return LayerSensitivity(networks.layers(), networks.noise_sources(set(convertible)))


class _NetworkPair:
    """Pairs the tensors of both networks by node and position, and sums up their agreement."""

    def __init__(self, fp32: ModelProto, derived: ModelProto) -> None:
        derived_nodes = {node.name: node for node in derived.graph.node}
        constants = {entry.name for entry in fp32.graph.initializer}
        self._groups = group_layers(fp32)
        self._inputs: dict[str, list[TensorPair]] = {}
        self._outputs: dict[str, list[TensorPair]] = {}
        self._agreements: dict[TensorPair, TensorAgreement] = {}
        for group in self._groups:
            first = derived_nodes.get(group.first.name)
            last = derived_nodes.get(group.last.name)
            inputs = _pair_names(group.first.input, first.input if first else ())
            self._inputs[group.name] = [pair for pair in inputs if pair[0] not in constants]
            self._outputs[group.name] = _pair_names(group.last.output, last.output if last else ())

    @property
    def is_measured(self) -> bool:
        return bool(self._agreements)

    def add(self, fp32: Mapping[str, NDArray[Any]], derived: Mapping[str, NDArray[Any]]) -> None:
        pairs_by_layer = (*self._outputs.values(), *self._inputs.values())
        for pair in dict.fromkeys(pair for pairs in pairs_by_layer for pair in pairs):
            name, derived_name = pair
            if name in fp32 and derived_name in derived:
                compared = compare_outputs({name: fp32[name]}, {name: derived[derived_name]})
                agreement = compared.tensors[0]
                if pair in self._agreements:
                    agreement = self._agreements[pair] + agreement
                self._agreements[pair] = agreement

    def layers(self) -> tuple[LayerNoise, ...]:
        return tuple(
            LayerNoise(
                group.nodes,
                group.first.op_type,
                input_sqnr_db=self._min_sqnr_db(self._inputs[group.name]),
                output_sqnr_db=self._min_sqnr_db(self._outputs[group.name]),
                is_finite=math.isfinite(self._max_noise(self._outputs[group.name])),
            )
            for group in self._groups
        )

    def noise_sources(self, convertible: set[str]) -> tuple[NoiseSource, ...]:
        layers = {group.name for group in self._groups if convertible.intersection(group.nodes)}
        found = []
        for source in (*self._arithmetic_noise(), *self._rounding_noise()):
            names = tuple(name for name in source.layers if name in layers)
            if source.noise > 0 and names:
                found.append(NoiseSource(names, source.tensor, source.noise))
        return tuple(sorted(found, key=lambda source: source.noise, reverse=True))

    def _arithmetic_noise(self) -> Iterable[NoiseSource]:
        """Yield the noise that each layer adds between its input and its output."""
        for name, pairs in self._outputs.items():
            added = _added_noise(self._max_noise(pairs), self._max_noise(self._inputs[name]))
            if math.isfinite(added):
                yield NoiseSource((name,), "", added)
                continue
            for pair in pairs:
                if not math.isfinite(self._max_noise([pair])):
                    yield NoiseSource((name, *self._readers(pair[0])), pair[0], added)

    def _rounding_noise(self) -> Iterable[NoiseSource]:
        """Yield the noise that is added between the output of one layer and the input of others."""
        writers = {pair[0]: (name, pair) for name, pairs in self._outputs.items() for pair in pairs}
        readers: dict[str, dict[str, TensorPair]] = {}
        for name, pairs in self._inputs.items():
            for pair in pairs:
                readers.setdefault(pair[0], {})[name] = pair
        for tensor, pair_by_layer in readers.items():
            writer = writers.get(tensor)
            before = self._max_noise([writer[1]]) if writer else 0.0
            layers = dict.fromkeys([*([writer[0]] if writer else []), *pair_by_layer])
            added = _added_noise(self._max_noise(pair_by_layer.values()), before)
            yield NoiseSource(tuple(layers), tensor, added)

    def _readers(self, tensor: str) -> list[str]:
        return [name for name, pairs in self._inputs.items() if tensor in dict(pairs)]

    def _max_noise(self, pairs: Iterable[TensorPair]) -> float:
        """Return the largest noise over signal; infinite if a derived value is not finite."""
        noises = (
            _noise_ratio(self._agreements[pair]) for pair in pairs if pair in self._agreements
        )
        return max(noises, default=0.0)

    def _min_sqnr_db(self, pairs: Iterable[TensorPair]) -> float | None:
        known = (self._agreements[pair].sqnr_db for pair in pairs if pair in self._agreements)
        return min(known, default=None)


def _pair_names(names: Iterable[str], derived_names: Iterable[str]) -> list[TensorPair]:
    return [pair for pair in zip(names, derived_names, strict=False) if all(pair)]


def _added_noise(after: float, before: float) -> float:
    """Return the noise that was added; zero if the input was not finite already."""
    return max(after - before, 0.0) if math.isfinite(before) else 0.0


def _noise_ratio(agreement: TensorAgreement) -> float:
    if agreement.nan_count or agreement.inf_count:
        return math.inf
    if not agreement.noise:
        return 0.0
    # If fp32 is all zeros, every other value is noise.
    return agreement.noise / agreement.signal if agreement.signal else 1.0
