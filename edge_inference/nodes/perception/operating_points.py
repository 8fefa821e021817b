"""The operating points of an inference node: its own, and cheaper ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from edge_inference.core.directives.directive import (
    DirectiveLimits,
    OperatingPoint,
    is_within_ceiling,
)
from edge_inference.core.engine_configuration import EngineConfiguration
from edge_inference.core.measured_costs import MeasuredCosts
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.variants import PRECISIONS
from edge_inference.core.runtime.work_meter import WorkMeter
from edge_inference.core.settings import suggestion
from edge_inference.engines.cache.artifacts import default_cache, precisions
from edge_inference.engines.cache.cost_cache import CostCache
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.cost_recording import Report, engine_configuration
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.engine_selector import NotFasterError, PointList, PointRequest
from edge_inference.engines.serving.selection import (
    Selection,
    fallback,
    select_backend,
)
from edge_inference.errors import BackendError, ConfigError, ModelError
from edge_inference.nodes.perception.inference_settings import InferenceSettings
from edge_inference.nodes.throttle_client import ServingState


@dataclasses.dataclass(frozen=True)
class InferenceRequest(PointRequest):
    """The request of an operating point, with the settings that it comes from."""

    settings: InferenceSettings = dataclasses.field(kw_only=True, compare=False)

    def is_same(self, other: EngineRequest) -> bool:
        """Tell whether both request the same engine under the same name."""
        return isinstance(other, InferenceRequest) and self.settings.same_engine(other.settings)


class OperatingPoints(PointList):
    """The node's own operating point first, then the cheaper ones, most accurate first.

    The own one is what the user names. An operating point that is not faster, by measurement, is
    withdrawn: it saves neither time nor heat. ``report`` gets a warning about costs; without it
    costs are not read. Raises ConfigError for an invalid variant, ModelError for a model that
    cannot be read.
    """

    def __init__(self, settings: InferenceSettings, report: Report | None = None) -> None:
        self._report = report
        own = self._own = _own_selection(settings)
        model = own.request.model
        if settings.variants:
            others = [_variant(settings, text, model) for text in settings.variants]
        elif model.operating_points:
            others = list(_declared(settings, own, report))
        else:
            others = [
                (dataclasses.replace(settings, precision=name), model, name)
                for name in precisions(model)
                if _is_cheaper(name, own)
            ]
        points: dict[tuple[Path, str], InferenceRequest] = {}
        for changed, its_model, precision in [(settings, model, own.precision), *others]:
            point = self._make_request(changed, its_model)
            points.setdefault((its_model.folder, precision), point)  # each is listed once
        super().__init__(list(points.values()), [precision for _, precision in points])
        self._costs = MeasuredCosts()
        self._configurations: list[EngineConfiguration | None] = [None] * len(points)
        self._look_up_costs()

    def restore_in(self, settings: InferenceSettings, failed: PointList) -> InferenceSettings:
        """Return ``settings`` with the engine and the variants of this list's own point.

        They are unchanged if they are not those of the list that has failed: the user has changed
        them since.
        """
        old, own = (settings_of(points.requests[0]) for points in (failed, self))
        if not settings.same_engine(old) or settings.variants != old.variants:
            return settings
        return dataclasses.replace(settings, **own.engine_values(), variants=own.variants)

    def baseline(self, request: EngineRequest) -> EngineRequest | None:
        """Return the request that must be slower than this one; None for the node's own."""
        if not self.find(request):
            return None
        return dataclasses.replace(self._own.request, precision=self._own.precision)

    def check_is_faster(self, request: EngineRequest) -> None:
        """Raise NotFasterError where a point is not faster than the node's own."""
        self._look_up_costs()
        index, withdrawn = self.find(request), self.withdrawn
        if index in withdrawn:
            raise NotFasterError(withdrawn[index])

    def serving_state(
        self, engine: Engine | None, selected: int, limits: DirectiveLimits, meter: WorkMeter
    ) -> ServingState:
        """Return the operating points with their times, the one in use, and the problem if any.

        ``selected`` is the index of the point that is to serve.
        """
        used = self._used(engine)
        offered = [index for index in range(len(self.requests)) if index not in self.withdrawn]
        times = self.process_ms(engine, meter)
        operating_points = tuple(
            OperatingPoint(
                *self._key(index),
                _accuracy(self.requests[index].model, self.precisions[index]),
                times[index],
            )
            for index in offered
        )
        model, precision = self._key(selected)
        reasons = "".join(f"; {reason}" for reason in self.withdrawn.values())
        problem = ""
        if limits.model not in ("", *(request.model.name for request in self.requests)):
            problem = f"model {limits.model!r} is requested, which this node does not have"
        elif not is_within_ceiling(precision, limits.precision_ceiling):
            problem = f"nothing cheaper than {precision} is available{reasons}"
        elif limits.model not in ("", model):
            problem = f"model {limits.model!r} is requested and not served{reasons}"
        elif used != selected and not limits.is_free:
            what = "has failed" if self.is_ruled_out(selected) else "is being prepared"
            problem = f"{model} {precision} {what}"
        return ServingState(
            operating_points, offered.index(used) if used in offered else None, problem
        )

    def process_ms(self, engine: Engine | None, meter: WorkMeter) -> list[float | None]:
        """Return the expected time of one inference at each operating point."""
        used = self._used(engine)
        measured_ms = [meter.process_ms(self._key(index)) for index in range(len(self.requests))]
        last_s = [None if ms is None else ms / 1e3 for ms in measured_ms]
        used_configuration, used_s = (
            (None, None) if used is None else (self._configurations[used], last_s[used])
        )
        expected_s = [
            self._costs.expected_s(configuration, used_configuration, used_s, seconds)
            for configuration, seconds in zip(self._configurations, last_s, strict=True)
        ]
        return [None if seconds is None else 1e3 * seconds for seconds in expected_s]

    def _used(self, engine: Engine | None) -> int | None:
        return None if engine is None or engine.is_fallback else self.find(engine.request)

    def _make_request(
        self, settings: InferenceSettings, model: ModelDescription
    ) -> InferenceRequest:
        values = settings.engine_request_values()
        return InferenceRequest(model, **values, settings=settings, points=self)

    def _key(self, index: int) -> tuple[str, str]:
        """Return the key of its inference times in the meter."""
        return self.requests[index].model.name, self.precisions[index]

    def _look_up_costs(self) -> None:
        """Read the measured costs, and withdraw operating points that are not faster."""
        if self._report is None:
            return
        cache = default_cache()
        costs = CostCache(cache.folder).read(self._report)
        configurations = [
            engine_configuration(
                dataclasses.replace(
                    self._own.request,
                    model=request.model,
                    precision=precision,
                    int8_mode=request.int8_mode,
                ),
                self._own.name,
                precision,
                cache,
            )
            for request, precision in zip(self.requests, self.precisions, strict=True)
        ]
        withdrawn = {}
        for index, configuration in enumerate(configurations):
            if index and costs.is_faster(configuration, configurations[0]) is False:
                ratio = f"{costs.ratio(configuration, configurations[0]):.2f}"
                withdrawn[index] = (
                    f"{' '.join(self._key(index))} is not faster here: it takes {ratio} of "
                    f"the time of {' '.join(self._key(0))}"
                )
                if index not in self.withdrawn:
                    self._report(f"{withdrawn[index]}; it is not used to save time or heat")
        self._costs, self._configurations, self.withdrawn = costs, configurations, withdrawn


def settings_of(request: EngineRequest) -> InferenceSettings:
    """Return the settings that a request of an inference node comes from."""
    assert isinstance(request, InferenceRequest)
    return request.settings


def points_of(request: EngineRequest) -> OperatingPoints:
    """Return the list that a request of an inference node belongs to."""
    assert isinstance(request, InferenceRequest) and isinstance(request.points, OperatingPoints)
    return request.points


def timing_key(engine: Engine) -> tuple[str, str] | str:
    """Return the key of this engine's inference times in the meter."""
    if engine.is_fallback:  # its times say nothing about the engine that it replaces
        return "fallback"
    return engine.request.model.name, engine.selection.precision


def _own_selection(settings: InferenceSettings) -> Selection:
    request = settings.request()
    try:
        return select_backend(request, default_cache())
    except BackendError:
        return select_backend(fallback(request), default_cache())


def _variant(
    settings: InferenceSettings, text: str, own: ModelDescription
) -> tuple[InferenceSettings, ModelDescription, str]:
    """Parse ``precision`` or ``model:precision``."""
    name, _, precision = text.rpartition(":")
    if precision not in PRECISIONS:
        raise ConfigError(
            f"variants: expected <precision> or <model>:<precision> with {', '.join(PRECISIONS)}, "
            f"got {text!r}"
        )
    changed = dataclasses.replace(settings, precision=precision, model=name or settings.model)
    model = changed.find_model() if name else own
    known = precisions(model)
    if precision not in known:
        raise ConfigError(
            f"variants: model {model.name!r} is not available in {precision}"
            f"{suggestion(precision, known)}"
        )
    return changed, model, precision


def _declared(
    settings: InferenceSettings, own: Selection, report: Report | None
) -> Iterator[tuple[InferenceSettings, ModelDescription, str]]:
    """Yield the points of model.yaml that are other models, or cheaper than the node's own.

    One that this robot does not have is reported and left out: the user did not ask for it.
    """
    model = own.request.model
    for point in model.operating_points:
        if point.model in ("", model.name) and not _is_cheaper(point.precision, own):
            continue
        mode = point.int8_mode or settings.int8_mode
        text = f"{point.model}:{point.precision}" if point.model else point.precision
        try:
            yield _variant(dataclasses.replace(settings, int8_mode=mode), text, model)
        except (ConfigError, ModelError) as error:
            if report is not None:
                title = f"{model.name}, operating_points: {point.model} {point.precision}"
                report(f"{title}: {error}; it is not offered")


def _is_cheaper(precision: str, own: Selection) -> bool:
    # ONNX Runtime's CPU engine computes fp16 in fp32, so fp16 is not faster there.
    is_slow = own.name == "ort" and precision == "fp16"
    return (
        not is_slow and precision != own.precision and is_within_ceiling(precision, own.precision)
    )


def _accuracy(model: ModelDescription, precision: str) -> float | None:
    variant = model.variants.get(precision)
    figures = variant.accuracy if variant is not None else ()
    return next((each.value for each in figures if 0.0 <= each.value <= 1.0), None)
