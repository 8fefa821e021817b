"""Finds the layers that break a precision, and a minimal set of them to keep in fp32.

The search has three steps, from cheap and rough to expensive and exact:

1. *Layer sensitivity*: the network runs in fp32 and in the precision with every inner tensor as
   an output, and the places where noise is added are ranked (``sensitivity.py``). Noise behind an
   overflow is not visible, so the measurement is repeated with the overflowing layers in fp32.
2. *Single layers*: for the noisiest places, one derived model each keeps only that place in fp32;
   the places are ranked by the noise that is left at the network's outputs.
3. *Minimal set*: derived models that keep sets of the best places in fp32 run the model's
   self-check; ``minimal_set.py`` describes the search.

The number of derived models is limited, and with it the time.

int8 runs on ONNX Runtime's CPU engine as on a robot. The derived model for TensorRT has the same
Q/DQ pairs and runs there, too. fp16 is emulated (``fp16_emulation.py``), since ONNX Runtime on a
CPU does not show overflows.
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
from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import command_argument
from edge_inference.core.models.self_check import SelfCheckReport, run_self_check
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.derive import DeriveReport, derive
from edge_inference.engines.precision.exclude import WEIGHTED
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.onnx_file import infer_shapes, load_network, write_onnx
from edge_inference.errors import CancelledError, ModelError
from edge_inference.optimize.calibrate import preprocess_images
from edge_inference.optimize.fp16_emulation import emulate_fp16
from edge_inference.optimize.images.image_set import ImageSet
from edge_inference.optimize.memoized_engine import MemoizedEngine
from edge_inference.optimize.minimal_set import Members, MinimalSet, find_minimal_set
from edge_inference.optimize.sensitivity import LayerSensitivity, NoiseSource, measure_sensitivity

if TYPE_CHECKING:
    from onnx import ModelProto

StopCheck = Callable[[], None]

DEFAULT_TRIES = 80
#: Images for the rankings; more images hardly change them.
_RANKING_IMAGES = 4
#: If more than this share of the layers must stay in fp32, no single layer is the cause.
_SPREAD_SHARE = 1 / 3


@dataclass(frozen=True)
class BisectRequest:
    """What to search.

    ``thresholds`` replace those of the model. ``max_tries`` limits how many derived models are
    made. ``calibration`` replaces that of the model.
    """

    model: ModelDescription
    precision: str
    images: ImageSet
    target: str = "onnxruntime"
    thresholds: SelfCheckThresholds | None = None
    max_tries: int = DEFAULT_TRIES
    calibration: Calibration | None = None

    @property
    def effective_thresholds(self) -> SelfCheckThresholds:
        """Return the thresholds that the derived model must reach."""
        return self.thresholds or self.model.self_check

    def find_calibration(self) -> Calibration | None:
        """Return the given calibration, or that of the model. Raises ModelError."""
        if self.calibration is not None or self.model.calibration is None:
            return self.calibration
        return Calibration.load(self.model.calibration)


@dataclass(frozen=True)
class BisectReport:
    """What the search found.

    ``before`` is the self-check with ``already_fp32``, the nodes that model.yaml keeps in fp32.
    ``after`` is the self-check with the nodes of ``minimal_set`` in addition, None if no set was
    found or none is needed. The members of ``minimal_set`` are layers, each named by its first
    node, out of ``convertible`` layers. ``tries`` counts the derived models that were made.
    ``is_complete`` is false if the search was cancelled.
    """

    request: BisectRequest
    already_fp32: tuple[str, ...]
    before: SelfCheckReport
    after: SelfCheckReport | None
    minimal_set: MinimalSet
    convertible: int
    tries: int
    sensitivity: LayerSensitivity
    is_complete: bool = True

    @property
    def keep_fp32(self) -> tuple[str, ...]:
        """Return all nodes to keep in fp32, those of model.yaml first."""
        return (*self.already_fp32, *self.sensitivity.nodes_of(self.minimal_set.members or ()))

    @property
    def is_spread(self) -> bool:
        """Tell whether so many layers must stay in fp32 that no single layer is the cause."""
        return len(self.minimal_set.members or ()) > self.convertible * _SPREAD_SHARE

    def yaml(self) -> str:
        """Return the lines for model.yaml."""
        names = "".join(f"\n    - {_quote_yaml(name)}" for name in self.keep_fp32)
        return f"derive:\n  {self.request.precision}_keep_fp32:{names}"


def bisect(
    request: BisectRequest,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> BisectReport:
    """Search, and report the smallest passing set of layers.

    A search that is cancelled after the sensitivity is measured reports what it has; before that
    it raises CancelledError. Raises ModelError for a model without an fp32 variant and
    for int8 without calibration, and what ``derive`` raises.
    """
    return _run(request, progress, cancelled, searches=True)


def measure_layers(
    request: BisectRequest,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> BisectReport:
    """Measure the sensitivity of every layer, without a search; raises what ``bisect`` raises."""
    return _run(request, progress, cancelled, searches=False)


def _run(
    request: BisectRequest, progress: Progress, cancelled: Cancelled, *, searches: bool
) -> BisectReport:
    model = request.model
    if "fp32" not in model.variants:
        raise ModelError(
            f"model {model.name} has no fp32 variant to derive other precisions from; "
            "add one to its model.yaml"
        )
    model.variants["fp32"].verify()
    if request.precision == "int8" and request.find_calibration() is None:
        raise ModelError(
            f"model {model.name} has no calibration, which int8 needs; make a model folder that "
            f"has one with: edge-inference quantize {command_argument(model)} "
            "--calibration IMAGES --output FOLDER"
        )
    with (
        tempfile.TemporaryDirectory(prefix="edge_inference_") as folder,
        OrtBackend(model.variants["fp32"].file, precision="fp32").fit_to(model) as reference,
    ):
        trials = _Trials(request, Path(folder), MemoizedEngine(reference.infer))
        return _search(trials, request, progress, cancelled, searches)


def _search(
    trials: _Trials,
    request: BisectRequest,
    progress: Progress,
    cancelled: Cancelled,
    searches: bool,
) -> BisectReport:
    already_fp32 = request.model.derive.keep_fp32(request.precision)

    def stop_if_cancelled() -> None:
        if cancelled():
            raise CancelledError(f"{request.model.name}: the search was cancelled")

    progress("derived model without changes", None)
    unconverted = trials.derive(already_fp32).kept
    before = trials.check()
    stop_if_cancelled()
    if not (before.is_checked or before.reasons):
        raise ModelError(
            f"model {request.model.name}: {before.summary()}, or give them with --images"
        )
    fp32 = fold(trials.source)
    converted = frozenset(node.name for node in fp32.graph.node) - set(unconverted)
    progress("layer sensitivity", None)
    sensitivity = _measure_sensitivity(trials, request, fp32, converted, stop_if_cancelled)
    convertible = {
        layer.name: layer.operator
        for layer in sensitivity.layers
        if converted.intersection(layer.nodes)
    }
    report = BisectReport(
        request,
        already_fp32,
        before,
        None,
        MinimalSet((), True, 0),
        len(convertible),
        0,
        sensitivity,
    )
    if before.passed or not searches:
        return report
    ranking = _rank(trials, sensitivity, request, progress, cancelled)
    checks: dict[Members, SelfCheckReport] = {}

    def passes(members: Members) -> bool:
        progress(
            f"minimal set: {len(members)} of {len(convertible)} layers in fp32",
            trials.count / request.max_tries,
        )
        checks[members] = trials.check_keeping(sensitivity.nodes_of(members))
        return checks[members].passed

    found = find_minimal_set(
        ranking,
        _trivial_set(convertible, request.precision),
        passes,
        request.max_tries - trials.count,
        cancelled,
    )
    return replace(
        report,
        after=None if found.members is None else checks[frozenset(found.members)],
        minimal_set=found,
        tries=trials.count,
        is_complete=not cancelled(),
    )


def _trivial_set(convertible: Mapping[str, str], precision: str) -> Members:
    """Return the layers that must not all stay in fp32: that would be an fp32 model."""
    weighted = frozenset(name for name, operator in convertible.items() if operator in WEIGHTED)
    return weighted if precision == "int8" else frozenset(convertible)


def _rank(
    trials: _Trials,
    sensitivity: LayerSensitivity,
    request: BisectRequest,
    progress: Progress,
    cancelled: Cancelled,
) -> list[Members]:
    """Rank places by the noise that is left with each one alone in fp32; untried places follow."""
    sources = sensitivity.noise_sources
    overflows = [source.layers for source in sources if not math.isfinite(source.noise)]
    places = [frozenset(name for layers in overflows for name in layers)] if overflows else []
    places += [frozenset(source.layers) for source in sources if math.isfinite(source.noise)]
    places = list(dict.fromkeys(places))
    images = _ranking_images(request.images)
    noise_left: dict[Members, float] = {}
    for place in places[: max(request.max_tries // 2 - trials.count, 1)]:
        if cancelled():
            break
        progress(f"single layers: {', '.join(sorted(place))}", trials.count / request.max_tries)
        report = trials.check_keeping(sensitivity.nodes_of(place), images)
        noise_left[place] = _output_noise(report)
        if report.passed and trials.check().passed:
            return [place]  # the search only has to reduce it
    tried = sorted(noise_left, key=lambda place: noise_left[place])
    return [*tried, *(place for place in places if place not in noise_left)]


def _output_noise(report: SelfCheckReport) -> float:
    """Return the noise-to-signal ratio of the worst output, infinite if it is not finite."""
    outputs = report.outputs
    if not report.is_checked or outputs is None or outputs.nan_count or outputs.inf_count:
        return math.inf
    if not outputs.tensors and report.results is not None:  # their rows depend on the data
        return 1.0 - report.results.share
    return float(10 ** (-outputs.sqnr_db / 10))


def _ranking_images(images: ImageSet) -> ImageSet:
    return images[:: -(-len(images) // _RANKING_IMAGES)]


class _Trials:
    """Makes derived models and checks them. Each one replaces the one before it."""

    def __init__(self, request: BisectRequest, folder: Path, reference: MemoizedEngine) -> None:
        self._request = request
        self._reference = reference
        self._calibration = request.find_calibration() if request.precision == "int8" else None
        self.source = request.model.variants["fp32"].file
        self.file = folder / "derived.onnx"
        self._emulated_file = folder / "emulated.onnx"
        self._already_fp32 = request.model.derive.keep_fp32(request.precision)
        self.count = 0

    def derive(self, keep_fp32: Sequence[str]) -> DeriveReport:
        """Make the derived model with some nodes in fp32."""
        return derive(
            self.source,
            self._request.precision,
            self._request.target,
            self.file,
            keep_fp32=keep_fp32,
            calibration=self._calibration,
            reduce_range=self._request.model.derive.int8_reduce_range,
        )

    def derive_keeping(self, nodes: Sequence[str]) -> None:
        """Make the derived model with more nodes in fp32 than model.yaml names; count it."""
        self.count += 1
        self.derive((*self._already_fp32, *nodes))

    def network(self) -> ModelProto:
        """Return the derived model as this machine's CPU computes it, with inferred types."""
        if self._request.precision == "fp16":
            return emulate_fp16(self.file)
        return infer_shapes(load_network(self.file))

    def check_keeping(
        self, nodes: Sequence[str], images: ImageSet | None = None
    ) -> SelfCheckReport:
        """Make the derived model with more nodes in fp32 and check it."""
        self.derive_keeping(nodes)
        return self.check(images)

    def check(self, images: ImageSet | None = None) -> SelfCheckReport:
        """Compare the derived model with fp32, on all images by default."""
        request, file = self._request, self.file
        if request.precision == "fp16":
            file = self._emulated_file
            write_onnx(self.network(), file)
        with OrtBackend(file, precision=request.precision).fit_to(request.model) as engine:
            return run_self_check(
                request.model,
                self._reference,
                engine.infer,
                request.images if images is None else images,
                request.effective_thresholds,
            )


def _measure_sensitivity(
    trials: _Trials,
    request: BisectRequest,
    fp32: ModelProto,
    converted: Members,
    stop_if_cancelled: StopCheck,
) -> LayerSensitivity:
    """Measure the derived model, and measure again behind each overflow."""
    overflows: dict[NoiseSource, None] = {}
    first = latest = _measure_once(trials, request, fp32, converted, stop_if_cancelled)
    while True:
        new = [
            source
            for source in latest.noise_sources
            if not math.isfinite(source.noise) and source not in overflows
        ]
        if not new or trials.count >= request.max_tries // 2:
            break
        overflows.update(dict.fromkeys(new))
        trials.derive_keeping(
            first.nodes_of(name for source in overflows for name in source.layers)
        )
        latest = _measure_once(trials, request, fp32, converted, stop_if_cancelled)
    rest = (source for source in latest.noise_sources if source not in overflows)
    return replace(first, noise_sources=(*overflows, *rest))


def _measure_once(
    trials: _Trials,
    request: BisectRequest,
    fp32: ModelProto,
    converted: Members,
    stop_if_cancelled: StopCheck,
) -> LayerSensitivity:
    spec = request.model.input
    images = _ranking_images(request.images)
    batches = (batch.copy() for batch in preprocess_images(images, spec))
    return measure_sensitivity(
        fp32, trials.network(), spec.name, batches, converted, stop_if_cancelled, request.model
    )


def _quote_yaml(name: str) -> str:
    """Quote a name that YAML could read as something else."""
    return name if re.fullmatch(r"[A-Za-z_/][\w./-]*", name) else json.dumps(name)
