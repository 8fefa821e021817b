"""Finds the fastest precision of each part of a network that is accurate enough.

From a script::

    from pathlib import Path

    from edge_inference.core.models.model_search import find_model
    from edge_inference.optimize.images.image_set import load_image_set
    from edge_inference.optimize.placement.placement_request import PlacementRequest
    from edge_inference.optimize.placement.precision_search import search_precisions

    images = load_image_set("drive.mp4", limit=64)
    report = search_precisions(
        PlacementRequest(find_model("nanodet"), images, Path("nanodet_fast"))
    )
    print(report.summary())

Whole networks come first: fp32, fp16, int8, int8 in one operator only, or in all but one. Then
the fastest of them gets other precisions in single regions, see ``region_search``. What decides is
the measured time of the whole network, as an engine fuses across layers. At the end the best
candidates run interleaved with every single precision, so that the result is never slower than
one of these that keeps the floors; of equally fast ones the most accurate is taken.

On a CPU, ONNX Runtime computes fp16 in fp32 between casts, so that fp16 is tried for the whole
network only; 7-bit weights, where sums of products saturate in 16 bits. In TensorRT what does
not compute in int8 computes in fp32 or in fp16.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from edge_inference.backends.cpu_instructions import find_cpu_instructions
from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.cache import cache_lock
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import Cancelled, Progress, default_cache
from edge_inference.engines.precision.folding import folded_once
from edge_inference.errors import CacheError
from edge_inference.optimize.calibrate import calibrate_model
from edge_inference.optimize.images.calibration_images import calibration_images
from edge_inference.optimize.placement.candidate_measurer import (
    FP32,
    CandidateMeasurer,
    EngineTimer,
    time_engines,
)
from edge_inference.optimize.placement.network_regions import DEFAULT_REGIONS, find_regions
from edge_inference.optimize.placement.placement_report import PlacementReport, SearchCost
from edge_inference.optimize.placement.placement_request import PlacementRequest, check_request
from edge_inference.optimize.placement.precision_candidate import (
    ALL,
    MIN_GAIN,
    CandidateResult,
    PrecisionCandidate,
    RegionModes,
    fastest,
)
from edge_inference.optimize.placement.region_search import RegionSearch
from edge_inference.optimize.placement.search_ledger import SearchLedger, search_parts
from edge_inference.optimize.quantized_folder import (
    CALIBRATION_FILE,
    StagedFolder,
)

#: Images on which single changes are compared; what is taken is checked on all.
_FEW_IMAGES = 8
#: Seconds that a candidate runs, in all and beside fp32; those of all the best at the end, twice.
_TIMING_S, _FINAL_TIMING_S = 0.3, 2.0
#: Other candidates than the single precisions that are compared at the end.
_FINALISTS = 3
#: Changes of regions do not make up for int8 that is that much slower than fp32.
_TOO_SLOW = 1.5
_STEPS, _COMBINED = 8, 4
_LOCKS = ".locks"
_TIME_OVER = "the search ended after max_seconds; with more time it may find a faster one"


def search_precisions(
    request: PlacementRequest,
    cache: ArtifactCache | None = None,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    *,
    before_search: Callable[[SearchCost], None] = lambda cost: None,
    before_staging: Callable[[Path], None] = lambda folder: None,
    timer: EngineTimer = time_engines,
    now_s: Callable[[], float] = time.monotonic,
) -> PlacementReport:
    """Search, and write a copy of the model whose int8 is the chosen one.

    ``before_search`` gets the expected cost before the first candidate. Finished measurements are
    in the cache: the same search goes on there after it was killed. Raises ConfigError for an
    output that cannot be used, ModelError for a model that cannot be quantized or compared,
    SourceError without images, BackendError if the backend does not run here, CacheError if the
    cache cannot be written, and CancelledError soon after ``cancelled`` returns True.
    """
    check_request(request)
    with StagedFolder(request.model.folder, request.output, before_staging) as staged:
        model = _calibrated(request, staged, progress, cancelled)
        report = _SearchRun(
            request, model, cache or default_cache(), progress, cancelled, timer, now_s
        ).run(before_search)
        chosen = report.chosen.candidate
        changed = chosen.changed_settings(model.derive)
        if changed:
            staged.write_derivation(changed)
        staged.keep()
    return report


def _calibrated(
    request: PlacementRequest, staged: StagedFolder, progress: Progress, cancelled: Cancelled
) -> ModelDescription:
    """Return the model, calibrated if the request has images for that."""
    source, limit = request.calibration, request.max_calibration_images
    if source is None:
        return request.model
    calibration = calibrate_model(
        request.model,
        calibration_images(source, limit=limit),
        Path(source).name,
        progress=lambda count: progress(f"calibrating, {count} images", None),
        cancelled=cancelled,
    )
    calibration.save(staged.folder / CALIBRATION_FILE)
    return staged.write_derivation({"calibration": CALIBRATION_FILE})


class _SearchRun:
    """Runs one search."""

    def __init__(
        self,
        request: PlacementRequest,
        model: ModelDescription,
        cache: ArtifactCache,
        progress: Progress,
        cancelled: Cancelled,
        timer: EngineTimer,
        now_s: Callable[[], float],
    ) -> None:
        self._request = request
        self._model = model
        self._cache = cache
        self._progress = progress
        self._cancelled = cancelled
        self._timer = timer
        self._now_s = now_s
        self._started_s = now_s()
        self._ledger = SearchLedger(cache.folder, search_parts(request, model))
        few = -(-len(request.images) // _FEW_IMAGES)
        self._few = request.images[::few]
        self._results: dict[str, CandidateResult] = {}
        self._notes: dict[str, None] = {}
        self._each_s, self._measured = 0.0, 0
        self._planned = 0

    def run(self, before_search: Callable[[SearchCost], None]) -> PlacementReport:
        """Search; the caller writes the model."""
        engines = self._ledger.folder / f"{self._ledger.digits}.engines"
        lock = self._cache.folder / _LOCKS / f"precisions-{self._ledger.digits}"
        with ExitStack() as stack:
            self._progress("opening fp32", None)
            try:
                lock.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CacheError(f"{lock.parent}: cannot be made ({error.strerror})") from error
            stack.enter_context(cache_lock.exclusive_lock(lock, self._cancelled))
            stack.callback(shutil.rmtree, engines, ignore_errors=True)
            return self._run(stack, ArtifactCache(engines), before_search)

    def _run(
        self,
        stack: ExitStack,
        engines: ArtifactCache,
        before_search: Callable[[SearchCost], None],
    ) -> PlacementReport:
        request, model, started_s = self._request, self._model, self._now_s()
        self._measurer = CandidateMeasurer(
            model,
            request.backend,
            request.images,
            dataclasses.replace(
                model.self_check, agreement=request.min_agreement, sqnr_db=request.min_sqnr_db
            ),
            engines,
            stack,
            self._cancelled,
            self._timer,
        )
        network = stack.enter_context(folded_once(model.variants["fp32"].file))
        self._each_s = self._now_s() - started_s + _TIMING_S
        target = "tensorrt" if request.backend == "trt" else "onnxruntime"
        sizes = {model.input.name: model.input.graph_shape}
        modes = RegionModes(
            network, find_regions(network, DEFAULT_REGIONS, sizes), target, model.derive
        )
        singles, mixed = self._uniform_candidates(modes)
        cost = self._cost(modes, [*singles, *mixed])
        before_search(cost)
        for single in singles:
            self._evaluate(single, is_required=True)
        for _, candidate in mixed:
            self._evaluate(candidate)
        mixed += self._combined(modes, mixed)
        self._search_regions(modes, mixed)
        chosen, final = self._choose(singles)
        self._ledger.trim()
        return PlacementReport(
            model.name,
            request.backend,
            request.min_agreement,
            request.min_sqnr_db,
            tuple({**self._results, **final}.values()),
            tuple({**self._results, **final}[single.key] for single in singles),
            chosen,
            cost,
            self._now_s() - self._started_s,
            self._ledger.reused,
            request.output,
            tuple(self._notes),
        )

    def _uniform_candidates(
        self, modes: RegionModes
    ) -> tuple[list[PrecisionCandidate], list[tuple[str, PrecisionCandidate]]]:
        """Return the single precisions, and the candidates with one mode for all regions."""
        request, names = self._request, modes.names()
        singles = [FP32, PrecisionCandidate("fp16", "fp16", self._model.derive, is_single=True)]
        mixed: list[tuple[str, PrecisionCandidate]] = []
        if ALL in names:
            singles.append(modes.uniform(ALL))
            if self._can_reduce:
                count = len(modes.regions)
                singles.append(modes.mixed([ALL] * count, [True] * count))
        mixed += [(name, modes.uniform(name)) for name in names if name != ALL]
        if request.backend == "trt":
            mixed += [(name, modes.uniform(name, "fp16")) for name in names]
        return singles, mixed

    def _combined(
        self, modes: RegionModes, mixed: Sequence[tuple[str, PrecisionCandidate]]
    ) -> list[tuple[str, PrecisionCandidate]]:
        """Measure the candidates without all operators that are slower in int8, one for each rest.

        Only what is quicker without one of them alone is left out.
        """
        added = []
        for rest in dict.fromkeys(candidate.derive.int8_rest for _, candidate in mixed):
            whole = self._results.get(modes.uniform(ALL, rest).key)
            limit = math.inf if whole is None else whole.time * (1 - MIN_GAIN / 2)
            slower = [
                operator
                for operator, mode in modes.all_but.items()
                if (found := self._results.get(modes.uniform(mode, rest).key)) is not None
                and found.time < limit
            ]
            if len(slower) > 1:
                mode = modes.add_all_but(slower)
                self._evaluate(modes.uniform(mode, rest))
                added.append((mode, modes.uniform(mode, rest)))
        return added

    @property
    def _can_reduce(self) -> bool:
        """Tell whether 7-bit weights are faster than 8-bit ones that are as exact."""
        return self._request.backend == "ort" and find_cpu_instructions().saturates

    def _cost(self, modes: RegionModes, uniform: Sequence[object]) -> SearchCost:
        """Return the expected cost: about three changes for each region, and some steps."""
        changes = (2 + self._can_reduce) * len({region.pattern for region in modes.regions})
        self._planned = len(uniform) + changes + _STEPS
        return SearchCost(
            self._planned,
            self._ledger.count,
            max(self._planned - self._ledger.count, 0) * self._each_s + 2 * _FINAL_TIMING_S,
            self._request.max_seconds,
        )

    def _evaluate(
        self,
        candidate: PrecisionCandidate,
        all_images: bool = True,
        timed: bool = True,
        *,
        is_required: bool = False,
    ) -> CandidateResult | None:
        """Return what was measured of a candidate, None where the time is over."""
        images = self._request.images if all_images else self._few
        result = self._ledger.find(candidate, len(images))
        if candidate is FP32:
            result = self._measurer.fp32
        elif result is None or (timed and result.relative_time is None and not result.is_failed):
            taken_s = self._now_s() - self._started_s
            left_s = self._request.max_seconds - taken_s - 2 * _FINAL_TIMING_S
            # What single changes show is of no use without time to combine them.
            needed_s = self._each_s * (1 if all_images else _COMBINED)
            if left_s < needed_s and not is_required:
                self._notes[_TIME_OVER] = None
                return None
            done = len(self._results) + 1
            planned = max(self._planned, done)
            expected_s = min((planned - done) * self._each_s, left_s)
            self._progress(
                f"{candidate.name}, about {max(expected_s, 0.0):.0f} s left", done / planned
            )
            began_s = self._now_s()
            result = self._measurer.measure(candidate, images, _TIMING_S if timed else None)
            self._measured += 1
            self._each_s += (self._now_s() - began_s - self._each_s) / self._measured
            self._ledger.add(result)
        if all_images or candidate.key not in self._results:
            self._results[candidate.key] = result
        return result

    def _search_regions(
        self, modes: RegionModes, mixed: Sequence[tuple[str, PrecisionCandidate]]
    ) -> None:
        """Change single regions of the fastest candidates with one mode."""
        names = {candidate.key: name for name, candidate in mixed}
        names[modes.uniform(ALL).key] = ALL
        found = [
            self._results[key]
            for key in names
            if key in self._results and self._results[key].relative_time is not None
        ]
        found.sort(key=lambda result: result.time)
        if not found or found[0].time > _TOO_SLOW:
            return
        kept = [result for result in self._results.values() if result.keeps_floors]
        best = min((result.time for result in kept), default=1.0)
        if not found[0].keeps_floors and found[0].time < best * (1 - MIN_GAIN):
            search = self._region_search(modes, found[0], found, names)
            reached = search.reach_floors(found[0], self._request.min_sqnr_db)
            if reached is not None:
                best = min(best, reached.time)
        base = next((result for result in found if result.keeps_floors), None)
        if base is not None and base.time <= _TOO_SLOW:
            self._region_search(modes, base, found, names).save_time(base)

    def _region_search(
        self,
        modes: RegionModes,
        base: CandidateResult,
        found: Sequence[CandidateResult],
        names: Mapping[str, str],
    ) -> RegionSearch:
        rest = base.candidate.derive.int8_rest
        others = dict.fromkeys(
            names[each.candidate.key]
            for each in found
            if each is not base and each.candidate.derive.int8_rest == rest
        )
        return RegionSearch(
            modes,
            names[base.candidate.key],
            list(others),
            self._evaluate,
            can_reduce=self._can_reduce,
            rest=rest,
        )

    def _choose(
        self, singles: Sequence[PrecisionCandidate]
    ) -> tuple[CandidateResult, dict[str, CandidateResult]]:
        """Compare the best together, twice; return the chosen one, and the times of all."""
        single_keys = {single.key for single in singles}
        kept = [
            result
            for result in self._results.values()
            if result.keeps_floors and result.images == len(self._request.images)
        ]
        others = [result for result in kept if result.candidate.key not in single_keys]
        finalists = [
            *(result for result in kept if result.candidate.key in single_keys),
            *sorted(others, key=lambda result: result.time)[:_FINALISTS],
        ]
        if FP32.key not in {result.candidate.key for result in finalists}:
            finalists.insert(0, self._measurer.fp32)
        self._progress("comparing the best", None)
        first = self._measurer.compare(finalists, _FINAL_TIMING_S)
        chosen = fastest(list(first.values()))
        self._progress("confirming the choice", None)
        second = self._measurer.compare(finalists, _FINAL_TIMING_S)
        confirmed = second[chosen.candidate.key]
        best = fastest([result for key, result in second.items() if key in single_keys])
        if confirmed.time > best.time:
            confirmed = best
        return confirmed, second
