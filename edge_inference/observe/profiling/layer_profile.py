"""The time of each layer of a model in an engine, from the engine's own measurement."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_inference.errors import BackendError

UNKNOWN = "unknown"


@dataclass(frozen=True)
class LayerKind:
    """What an engine says of a layer besides its time.

    ``precision`` is that of its arithmetic, such as "fp16", or "unknown". ``converts_to`` is the
    type that a cast or a (de)quantization makes. ``output`` is the shape of its first output.
    ``device`` is where it runs. ``weighted`` layers have weights and do most of the work. The
    engine itself ``added`` a layer that is not in the model file.
    """

    name: str
    operator: str
    precision: str = UNKNOWN
    converts_to: str = ""
    output: tuple[int, ...] = ()
    device: str = ""
    weighted: bool = False
    added: bool = False


@dataclass(frozen=True)
class LayerTime:
    """One layer: ``ms`` of one inference, the ``share`` of the whole inference, 0 to 1."""

    kind: LayerKind
    ms: float
    share: float

    @property
    def name(self) -> str:
        """The name in the engine."""
        return self.kind.name


@dataclass(frozen=True)
class LayerProfile:
    """The layers of an engine in the order of execution, as means of the ``used`` runs.

    The faster half of all ``runs`` is used: other load on the machine delays the rest. ``run_ms``
    is the mean of the same runs as a whole; ``layers`` never exceed it in sum. ``source`` names
    what measured.
    """

    source: str
    runs: int
    used: int
    run_ms: float
    layers: tuple[LayerTime, ...]

    @property
    def layers_ms(self) -> float:
        """The sum of all layers."""
        return sum(layer.ms for layer in self.layers)

    def longest(self, count: int) -> list[LayerTime]:
        """Return the layers with the most time."""
        return sorted(self.layers, key=lambda layer: -layer.ms)[:count]

    def by_operator(self) -> dict[str, tuple[int, float]]:
        """Return the number of layers and milliseconds of each operator, most time first."""
        found: dict[str, list[float]] = defaultdict(list)
        for layer in self.layers:
            found[layer.kind.operator].append(layer.ms)
        sums = {operator: (len(ms), sum(ms)) for operator, ms in found.items()}
        return dict(sorted(sums.items(), key=lambda item: -item[1][1]))


@dataclass(frozen=True)
class MeasuredRun:
    """One inference: ``ms`` as a whole and of each layer by its name."""

    ms: float
    layers_ms: Mapping[str, float]


def summarize_runs(
    source: str, kinds: Mapping[str, LayerKind], runs: Sequence[MeasuredRun]
) -> LayerProfile:
    """Return the profile of several runs. Raises BackendError where nothing was measured."""
    if not runs or not kinds:
        what = "run" if kinds else "layer"
        raise BackendError(
            f"{source}: expected the times of at least one {what}, got none; the engine of this "
            "release measures no layers: choose another --backend"
        )
    used = sorted(runs, key=lambda run: run.ms)[: (len(runs) + 1) // 2]
    run_ms = statistics.fmean(run.ms for run in used)
    layers = []
    for name, kind in kinds.items():
        ms = statistics.fmean(run.layers_ms.get(name, 0.0) for run in used)
        layers.append(LayerTime(kind, ms, ms / run_ms if run_ms > 0 else 0.0))
    return LayerProfile(source, len(runs), len(used), run_ms, tuple(layers))
