"""Finds the layers that break a precision, and the fewest that must stay in fp32.

Three steps, from cheap and rough to dear and certain:

1. *Screening*: the network runs in fp32 and in the precision with every inner tensor
   shown, and the places where noise is born are ranked (``sensitivity.py``). Behind an
   overflow nothing can be seen, so it is screened again without it.
2. *Singles*: for the worst places, one at a time, a derived model is made with only that one in
   fp32, and ranked by the noise that is left at the network's outputs.
3. *Search*: derived models with the best of these in fp32 are held against the model's
   self-check; ``smallest_set.py`` says in which order.

The number of derived models is limited, so the time is, too.

int8 runs on ONNX Runtime's CPU engine as it will on a robot; its derived model for TensorRT has
the same pairs of quantisation and runs there, too. fp16 is rounded as a GPU does
(``half_on_cpu.py``), since a CPU would hide every overflow.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.models.golden import SelfCheck
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import SelfCheckReport, self_check
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.derive import DeriveReport, derive
from edge_inference.engines.precision.exclude import WEIGHTED
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.onnx_file import import_onnx, write_onnx
from edge_inference.errors import CancelledError, ModelError
from edge_inference.optimize.calibrate import tensors
from edge_inference.optimize.fp16_emulation import half_on_cpu
from edge_inference.optimize.image_set import ImageSet
from edge_inference.optimize.memoized_engine import MemoizedEngine
from edge_inference.optimize.minimal_set import Members, MinimalSet, find_smallest
from edge_inference.optimize.sensitivity import Culprit, Screening, screen

if TYPE_CHECKING:
    from onnx import ModelProto

Stop = Callable[[], None]

DEFAULT_TRIES = 80
#: The ranking looks at so many images; more hardly change it.
_RANKED_ON = 4


@dataclass(frozen=True)
class BisectRequest:
    """What to search.

    ``thresholds`` replace the model's own, which the derived model must reach. ``tries`` is
    how many derived models may be made.
    """

    model: ModelDescription
    precision: str
    images: ImageSet
    target: str = "onnxruntime"
    thresholds: SelfCheck | None = None
    tries: int = DEFAULT_TRIES

    @property
    def wanted(self) -> SelfCheck:
        """Return the thresholds that hold."""
        return self.thresholds or self.model.self_check


@dataclass(frozen=True)
class BisectReport:
    """What was found.

    ``before`` is the self-check with ``kept_already`` in fp32, as model.yaml says,
    ``after`` with the nodes of ``found``, too; it is None where no set was found, or none
    is needed. The members of ``found`` are layers, named by their first node, out of
    ``movable`` ones; ``tries`` is how many derived models were made for it. ``is_complete`` is
    false where the search was cancelled.
    """

    order: BisectRequest
    kept_already: tuple[str, ...]
    before: SelfCheckReport
    after: SelfCheckReport | None
    found: MinimalSet
    movable: int
    tries: int
    screening: Screening
    is_complete: bool = True

    @property
    def keep_fp32(self) -> tuple[str, ...]:
        """Return all nodes to be kept, those of model.yaml first."""
        return (*self.kept_already, *self.screening.nodes_of(self.found.members or ()))

    def yaml(self) -> str:
        """Return the lines for model.yaml."""
        names = "".join(f"\n    - {_quoted(name)}" for name in self.keep_fp32)
        return f"derive:\n  {self.order.precision}_keep_fp32:{names}"


def bisect(
    order: BisectRequest,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> BisectReport:
    """Search, and report the smallest set of nodes found.

    Once the layers are screened, a search that is cancelled reports what it has;
    before that it raises CancelledError. Raises ModelError for a model without
    fp32 and int8 without calibration, and what deriving raises.
    """
    model = order.model
    if "fp32" not in model.variants:
        raise ModelError(
            f"model {model.name} has no fp32 variant to derive others from; "
            "add one to its model.yaml"
        )
    model.variants["fp32"].verify()
    if order.precision == "int8" and model.calibration is None:
        raise ModelError(
            f"model {model.name} has no calibration, which int8 needs; make a model folder that "
            f"has one with: edge-inference quantize {model.name} --calibration IMAGES "
            "--output FOLDER"
        )
    with (
        tempfile.TemporaryDirectory(prefix="edge_inference_") as folder,
        OrtBackend(model.variants["fp32"].file, precision="fp32") as reference,
    ):
        trials = _Trials(order, Path(folder), MemoizedEngine(reference.infer))
        return _search(trials, order, progress, cancelled)


def _search(
    trials: _Trials, order: BisectRequest, progress: Progress, cancelled: Cancelled
) -> BisectReport:
    base = order.model.derive.keep_fp32(order.precision)

    def stop() -> None:
        if cancelled():
            raise CancelledError(f"{order.model.name}: the search was cancelled")

    progress("the derived model as it is", None)
    stays = trials.derive(base).kept
    before = trials.check()
    stop()
    exact = fold(trials.source)
    converted = frozenset(node.name for node in exact.graph.node) - set(stays)
    progress("screening the layers", None)
    screening = _screen(trials, order, exact, converted, stop)
    movable = {
        layer.name: layer.operator
        for layer in screening.layers
        if converted.intersection(layer.nodes)
    }
    report = BisectReport(
        order, base, before, None, MinimalSet((), True, 0), len(movable), 0, screening
    )
    if before.passed:
        return report
    ranking = _rank(trials, screening, order, progress, cancelled)
    checks: dict[Members, SelfCheckReport] = {}

    def passes(members: Members) -> bool:
        progress(
            f"search: {len(members)} of {len(movable)} layers in fp32",
            trials.made / order.tries,
        )
        checks[members] = trials.check_keeping(screening.nodes_of(members))
        return checks[members].passed

    left = order.tries - trials.made
    found = find_smallest(ranking, _heart(movable, order.precision), passes, left, cancelled)
    return replace(
        report,
        after=None if found.members is None else checks[frozenset(found.members)],
        found=found,
        tries=trials.made,
        is_complete=not cancelled(),
    )


def _heart(movable: Mapping[str, str], precision: str) -> Members:
    """Return the layers that must not all stay in fp32: it would not be the precision any more."""
    weighted = frozenset(name for name, operator in movable.items() if operator in WEIGHTED)
    return weighted if precision == "int8" else frozenset(movable)


def _rank(
    trials: _Trials,
    screening: Screening,
    order: BisectRequest,
    progress: Progress,
    cancelled: Cancelled,
) -> list[Members]:
    """Order places by the noise that is left with each alone in fp32, then those not tried."""
    overflows = [one.layers for one in screening.culprits if not math.isfinite(one.born)]
    places = [frozenset(name for layers in overflows for name in layers)] if overflows else []
    places += [frozenset(one.layers) for one in screening.culprits if math.isfinite(one.born)]
    places = list(dict.fromkeys(places))
    few = _few(order.images)
    noise_left: dict[Members, float] = {}
    for place in places[: max(order.tries // 2 - trials.made, 1)]:
        if cancelled():
            break
        progress(f"singles: {', '.join(sorted(place))}", trials.made / order.tries)
        report = trials.check_keeping(screening.nodes_of(place), few)
        noise_left[place] = _noise(report)
        if report.passed and trials.check().passed:
            return [place]  # what is left to do is to leave out what it does not need
    tried = sorted(noise_left, key=lambda place: noise_left[place])
    return [*tried, *(place for place in places if place not in noise_left)]


def _noise(report: SelfCheckReport) -> float:
    """Return the noise over signal of the worst output, infinite where it is not finite."""
    outputs = report.outputs
    if outputs is None or outputs.nan_count or outputs.inf_count:
        return math.inf
    return float(10 ** (-outputs.sqnr_db / 10))


def _few(images: ImageSet) -> ImageSet:
    return images[:: -(-len(images) // _RANKED_ON)]


class _Trials:
    """Makes derived models and checks them; one is there at a time."""

    def __init__(self, order: BisectRequest, folder: Path, reference: MemoizedEngine) -> None:
        self._order = order
        self._reference = reference
        self._calibration = None
        if order.precision == "int8" and order.model.calibration is not None:
            self._calibration = Calibration.load(order.model.calibration)
        self.source = order.model.variants["fp32"].file
        self.file = folder / "derived.onnx"
        self._runnable = folder / "runnable.onnx"
        self._base = order.model.derive.keep_fp32(order.precision)
        self.made = 0

    def derive(self, kept: Sequence[str]) -> DeriveReport:
        """Make the derived model with some nodes in fp32."""
        return derive(
            self.source,
            self._order.precision,
            self._order.target,
            self.file,
            keep_fp32=kept,
            calibration=self._calibration,
        )

    def derive_keeping(self, nodes: Sequence[str]) -> None:
        """Make the derived model with some nodes in fp32, besides those of model.yaml."""
        self.derive((*self._base, *nodes))

    def network(self) -> ModelProto:
        """Return the derived model as this machine's CPU computes it, its types known."""
        if self._order.precision == "fp16":
            return half_on_cpu(self.file)
        onnx = import_onnx()
        return onnx.shape_inference.infer_shapes(onnx.load(str(self.file)))  # type: ignore[no-any-return]

    def check_keeping(
        self, nodes: Sequence[str], images: ImageSet | None = None
    ) -> SelfCheckReport:
        """Make the derived model with some nodes in fp32 and check it."""
        self.made += 1
        self.derive_keeping(nodes)
        return self.check(images)

    def check(self, images: ImageSet | None = None) -> SelfCheckReport:
        """Hold the derived model against fp32, on all images or on some."""
        order, file = self._order, self.file
        if order.precision == "fp16":
            file = self._runnable
            write_onnx(self.network(), file)
        with OrtBackend(file, precision=order.precision) as engine:
            return self_check(
                order.model,
                self._reference,
                engine.infer,
                order.images if images is None else images,
                order.wanted,
            )


def _screen(
    trials: _Trials, order: BisectRequest, exact: ModelProto, converted: Members, stop: Stop
) -> Screening:
    """Screen the derived model as it is, and behind each overflow."""
    overflows: dict[Culprit, None] = {}
    first = found = _screen_once(trials, order, exact, converted, stop)
    while True:
        new = [one for one in found.culprits if not math.isfinite(one.born)]
        new = [one for one in new if one not in overflows]
        if not new or trials.made >= order.tries // 2:
            break
        overflows.update(dict.fromkeys(new))
        trials.made += 1
        trials.derive_keeping(first.nodes_of(name for one in overflows for name in one.layers))
        found = _screen_once(trials, order, exact, converted, stop)
    rest = (one for one in found.culprits if one not in overflows)
    return replace(first, culprits=(*overflows, *rest))


def _screen_once(
    trials: _Trials, order: BisectRequest, exact: ModelProto, converted: Members, stop: Stop
) -> Screening:
    batches = (batch.copy() for batch in tensors(_few(order.images), order.model.input))
    return screen(exact, trials.network(), order.model.input.name, batches, converted, stop)


def _quoted(name: str) -> str:
    """Quote what YAML could take for something else."""
    return name if re.fullmatch(r"[A-Za-z_/][\w./-]*", name) else json.dumps(name)
