"""The ways in which an inference node can serve: its own, and cheaper ones."""

from __future__ import annotations

import dataclasses

from edge_inference.core.directives.directive import (
    DirectiveLimits,
    OperatingPoint,
    is_within_ceiling,
)
from edge_inference.core.engine_configuration import EngineConfiguration
from edge_inference.core.measured_costs import MeasuredCosts
from edge_inference.core.models.model import PRECISIONS, ModelDescription
from edge_inference.core.runtime.work_meter import WorkMeter
from edge_inference.core.settings import suggestion
from edge_inference.engines.cache.artifacts import default_cache, precisions
from edge_inference.engines.cache.cost_cache import CostCache
from edge_inference.engines.serving.cost_recording import Report, engine_configuration
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.selection import (
    EngineRequest,
    Selection,
    fallback,
    select_backend,
)
from edge_inference.engines.serving.server import EngineServer
from edge_inference.errors import BackendError, ConfigError, EdgeInferenceError
from edge_inference.nodes.perception.inference_settings import InferenceSettings, settings_of
from edge_inference.nodes.throttle_client import ServingState


class NotFasterError(BackendError):
    """What was to save time or heat was measured, and does not."""


@dataclasses.dataclass(frozen=True)
class OperatingPointSettings:
    """Settings to serve with, and what they come to."""

    settings: InferenceSettings
    model: ModelDescription
    precision: str

    @property
    def name(self) -> tuple[str, str]:
        """What the times of its inferences are kept under."""
        return self.model.name, self.precision

    def operating_point(self, process_ms: float | None) -> OperatingPoint:
        """Return it as the platform manager sees it."""
        return OperatingPoint(*self.name, _share(self.model, self.precision), process_ms)


class OperatingPoints:
    """The node's own way first, then the cheaper ones, most accurate first.

    One that is measured as not faster than the node's own is withdrawn: it would save
    neither time nor heat. ``report`` gets the sentences about that, and about costs that cannot
    be read; without it costs are not looked up. ``before`` are those that hold until an engine
    of these is in service.
    Raises ConfigError for a variant that cannot be, ModelError for a model that cannot be read.
    """

    def __init__(
        self,
        settings: InferenceSettings,
        before: OperatingPoints | None = None,
        report: Report | None = None,
    ) -> None:
        self._before = before
        self._report = report
        if before is not None:
            before._before = None
        own = self._own = _own_selection(settings)
        model = own.request.model
        self._ways = [OperatingPointSettings(settings, model, own.precision)]
        if settings.variants:
            others = [_variant(settings, text, model) for text in settings.variants]
        else:
            others = [
                OperatingPointSettings(dataclasses.replace(settings, precision=name), model, name)
                for name in precisions(model)
                if _is_cheaper(name, own)
            ]
        self._ways += [way for way in others if way.settings != settings]
        self._failed: set[int] = set()
        self._own_failed = False
        self._costs = MeasuredCosts()
        self._points: list[EngineConfiguration | None] = [None] * len(self._ways)
        self._withdrawn: dict[int, str] = {}
        self._look_up_costs()

    def _look_up_costs(self) -> None:
        """Read what is known of the costs by now, and withdraw what is not faster."""
        if self._report is None:
            return
        cache = default_cache()
        costs = CostCache(cache.folder).read(self._report)
        points = [
            engine_configuration(
                dataclasses.replace(self._own.request, model=way.model, precision=way.precision),
                self._own.name,
                way.precision,
                cache,
            )
            for way in self._ways
        ]
        withdrawn = {}
        for number, point in enumerate(points):
            if number and costs.is_faster(point, points[0]) is False:
                share = f"{costs.ratio(point, points[0]):.2f}"
                withdrawn[number] = (
                    f"{' '.join(self._ways[number].name)} is not faster here: it takes {share} of "
                    f"the time of {' '.join(self._ways[0].name)}"
                )
                if number not in self._withdrawn:
                    self._report(f"{withdrawn[number]}; it is not served to save time or heat")
        self._costs, self._points, self._withdrawn = costs, points, withdrawn

    def baseline(self, settings: InferenceSettings) -> EngineRequest | None:
        """Return what a cheaper way must be faster than; None for the node's own way."""
        if not self._index(settings):
            return None
        return dataclasses.replace(self._own.request, precision=self._own.precision)

    def refuse_if_not_faster(self, settings: InferenceSettings) -> None:
        """Raise NotFasterError where that way turns out to be of no use."""
        self._look_up_costs()
        number = self._index(settings)
        if number in self._withdrawn:
            raise NotFasterError(self._withdrawn[number])

    def proven(self, settings: InferenceSettings) -> OperatingPoints:
        """Return those of which ``settings``, which has been served, is one: these, or others."""
        known = (
            ways for ways in (self, self._before) if ways and ways._index(settings) is not None
        )
        return next(known, None) or OperatingPoints(settings, None, self._report)

    def put_back_in(self, settings: InferenceSettings) -> InferenceSettings:
        """Return settings with the node's own engine, and its variants, as they are here."""
        own = self._ways[0].settings
        return dataclasses.replace(settings, **own.engine_values(), variants=own.variants)

    def steer(self, server: EngineServer, limits: DirectiveLimits, *, again: bool) -> bool:
        """Have the most accurate way within the limits served, else the last one.

        True where that was begun. ``again`` tries the node's own way even where it has failed;
        directives come too often for that.
        """
        engine = server.engine
        assert engine is not None
        self._own_failed &= not again
        chosen = self._within(limits)
        wanted = self._ways[chosen].settings
        waits_in_vain = again and engine.is_fallback and server.preparation is None
        is_aim = wanted.same_engine(settings_of(server.target_request)) and not waits_in_vain
        if is_aim or (chosen == 0 and self._own_failed):
            return False
        is_back = wanted.same_engine(settings_of(engine.request)) and not engine.is_fallback
        if not (is_back and server.keep(engine)):
            server.switch(wanted.request())
        return True

    def fail(self, error: EdgeInferenceError, limits: DirectiveLimits) -> bool:
        """Rule out the way within these limits; False where that is the node's own, which stays.

        What is not faster is ruled out by its cost.
        """
        if isinstance(error, NotFasterError):
            self._look_up_costs()
            return True
        chosen = self._within(limits)
        if chosen:
            self._failed.add(chosen)
        else:
            self._own_failed = True
        return chosen > 0

    def serving(
        self, engine: Engine | None, limits: DirectiveLimits, meter: WorkMeter
    ) -> ServingState:
        """Tell how the node can serve and does."""
        used = (
            None
            if engine is None or engine.is_fallback
            else self._index(settings_of(engine.request))
        )
        offered = [number for number in range(len(self._ways)) if number not in self._withdrawn]
        times = self._process_ms(used, meter)
        operating_points = tuple(
            self._ways[number].operating_point(times[number]) for number in offered
        )
        chosen = self._within(limits)
        model, precision = self._ways[chosen].name
        why = "".join(f"; {reason}" for reason in self._withdrawn.values())
        problem = ""
        if limits.model not in ("", *(way.model.name for way in self._ways)):
            problem = f"model {limits.model!r} is asked for, which is none of this node's"
        elif not is_within_ceiling(precision, limits.precision_ceiling):
            problem = f"nothing cheaper than {precision} can be had{why}"
        elif limits.model not in ("", model):
            problem = f"model {limits.model!r} is asked for and not served{why}"
        elif used != chosen and not limits.is_free:
            problem = f"{model} {precision} is being made ready"
        return ServingState(
            operating_points, offered.index(used) if used in offered else None, problem
        )

    def _process_ms(self, used: int | None, meter: WorkMeter) -> list[float | None]:
        """Return the time of one inference in each way, as it would be now."""
        measured_ms = [meter.process_ms(way.name) for way in self._ways]
        last_s = [None if ms is None else ms / 1e3 for ms in measured_ms]
        used_point, used_s = (None, None) if used is None else (self._points[used], last_s[used])
        found = [
            self._costs.expected_s(point, used_point, used_s, seconds)
            for point, seconds in zip(self._points, last_s, strict=True)
        ]
        return [None if seconds is None else 1e3 * seconds for seconds in found]

    def _within(self, limits: DirectiveLimits) -> int:
        out = self._failed | self._withdrawn.keys()
        usable = [number for number in range(len(self._ways)) if number not in out]
        allowed = [
            number
            for number in usable
            if is_within_ceiling(self._ways[number].precision, limits.precision_ceiling)
            and limits.model in ("", self._ways[number].model.name)
        ]
        return allowed[0] if allowed else usable[-1]

    def _index(self, settings: InferenceSettings) -> int | None:
        same = (n for n, way in enumerate(self._ways) if settings.same_engine(way.settings))
        return next(same, None)


def timing_key(engine: Engine) -> tuple[str, str] | str:
    """Return what the times of this engine's inferences are kept under."""
    if engine.is_fallback:  # its times tell nothing of the engine that it stands in for
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
) -> OperatingPointSettings:
    """Read ``precision`` or ``model:precision``."""
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
            f"variants: model {model.name!r} cannot be had in {precision}"
            f"{suggestion(precision, known)}"
        )
    return OperatingPointSettings(changed, model, precision)


def _is_cheaper(precision: str, own: Selection) -> bool:
    # ONNX Runtime's CPU engine computes fp16 in fp32: nothing is gained.
    is_slow = own.name == "ort" and precision == "fp16"
    return (
        not is_slow and precision != own.precision and is_within_ceiling(precision, own.precision)
    )


def _share(model: ModelDescription, precision: str) -> float | None:
    variant = model.variants.get(precision)
    figures = variant.accuracy if variant is not None else ()
    return next((each.value for each in figures if 0.0 <= each.value <= 1.0), None)
