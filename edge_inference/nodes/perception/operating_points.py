"""The operating points of an inference node: its own, and cheaper ones."""

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
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.cost_recording import Report, engine_configuration
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.selection import Selection, fallback, select_backend
from edge_inference.engines.serving.server import EngineServer
from edge_inference.errors import BackendError, ConfigError, EdgeInferenceError
from edge_inference.nodes.perception.inference_settings import InferenceSettings, settings_of
from edge_inference.nodes.throttle_client import ServingState


class NotFasterError(BackendError):
    """An operating point that should save time or heat is not faster, by measurement."""


@dataclasses.dataclass(frozen=True)
class OperatingPointSettings:
    """Settings to serve with, and the model and precision that they select."""

    settings: InferenceSettings
    model: ModelDescription
    precision: str

    @property
    def key(self) -> tuple[str, str]:
        """Return the key of its inference times in the meter."""
        return self.model.name, self.precision

    def operating_point(self, process_ms: float | None) -> OperatingPoint:
        """Return the operating point for the platform manager."""
        return OperatingPoint(*self.key, _accuracy(self.model, self.precision), process_ms)


class OperatingPoints:
    """The node's own operating point first, then the cheaper ones, most accurate first.

    An operating point that is not faster than the node's own, by measurement, is withdrawn: it
    saves neither time nor heat. ``report`` gets a warning about that, and about costs that cannot
    be read; without it costs are not read. ``previous`` are the operating points that apply until
    an engine of these is in service.
    Raises ConfigError for an invalid variant, ModelError for a model that cannot be read.
    """

    def __init__(
        self,
        settings: InferenceSettings,
        previous: OperatingPoints | None = None,
        report: Report | None = None,
    ) -> None:
        self._previous = previous
        self._report = report
        if previous is not None:
            previous._previous = None
        own = self._own = _own_selection(settings)
        model = own.request.model
        self._points = [OperatingPointSettings(settings, model, own.precision)]
        if settings.variants:
            others = [_variant(settings, text, model) for text in settings.variants]
        else:
            others = [
                OperatingPointSettings(dataclasses.replace(settings, precision=name), model, name)
                for name in precisions(model)
                if _is_cheaper(name, own)
            ]
        self._points += [point for point in others if point.settings != settings]
        self._failed: set[int] = set()
        self._own_failed = False
        self._costs = MeasuredCosts()
        self._configurations: list[EngineConfiguration | None] = [None] * len(self._points)
        self._withdrawn: dict[int, str] = {}
        self._look_up_costs()

    def _look_up_costs(self) -> None:
        """Read the measured costs, and withdraw operating points that are not faster."""
        if self._report is None:
            return
        cache = default_cache()
        costs = CostCache(cache.folder).read(self._report)
        configurations = [
            engine_configuration(
                dataclasses.replace(
                    self._own.request, model=point.model, precision=point.precision
                ),
                self._own.name,
                point.precision,
                cache,
            )
            for point in self._points
        ]
        withdrawn = {}
        for index, configuration in enumerate(configurations):
            if index and costs.is_faster(configuration, configurations[0]) is False:
                ratio = f"{costs.ratio(configuration, configurations[0]):.2f}"
                withdrawn[index] = (
                    f"{' '.join(self._points[index].key)} is not faster here: it takes {ratio} of "
                    f"the time of {' '.join(self._points[0].key)}"
                )
                if index not in self._withdrawn:
                    self._report(f"{withdrawn[index]}; it is not used to save time or heat")
        self._costs, self._configurations, self._withdrawn = costs, configurations, withdrawn

    def baseline(self, settings: InferenceSettings) -> EngineRequest | None:
        """Return the request that must be slower than these settings; None for the node's own."""
        if not self._index(settings):
            return None
        return dataclasses.replace(self._own.request, precision=self._own.precision)

    def check_is_faster(self, settings: InferenceSettings) -> None:
        """Raise NotFasterError where the operating point of these settings is not faster."""
        self._look_up_costs()
        index = self._index(settings)
        if index in self._withdrawn:
            raise NotFasterError(self._withdrawn[index])

    def containing(self, settings: InferenceSettings) -> OperatingPoints:
        """Return the operating points that include ``settings``: these, the previous, or new ones.

        An engine with these settings has been in service.
        """
        known = (
            points
            for points in (self, self._previous)
            if points and points._index(settings) is not None
        )
        return next(known, None) or OperatingPoints(settings, None, self._report)

    def restore_in(self, settings: InferenceSettings) -> InferenceSettings:
        """Return ``settings`` with the engine and the variants of the node's own point."""
        own = self._points[0].settings
        return dataclasses.replace(settings, **own.engine_values(), variants=own.variants)

    def apply_limits(self, server: EngineServer, limits: DirectiveLimits, *, retry: bool) -> bool:
        """Switch the server to the most accurate point within the limits, else to the cheapest.

        Returns whether a switch was started. ``retry`` also tries the node's own point after a
        failure; directives arrive too often for that.
        """
        engine = server.engine
        assert engine is not None
        self._own_failed &= not retry
        selected = self._select_index(limits)
        target = self._points[selected].settings
        is_stuck = retry and engine.is_fallback and server.preparation is None
        is_requested = target.same_engine(settings_of(server.target_request)) and not is_stuck
        if is_requested or (selected == 0 and self._own_failed):
            return False
        is_in_service = target.same_engine(settings_of(engine.request)) and not engine.is_fallback
        if not (is_in_service and server.keep(engine)):
            server.switch(target.request())
        return True

    def rule_out(self, error: EdgeInferenceError, limits: DirectiveLimits) -> bool:
        """Exclude the point selected by these limits; False for the node's own, which stays.

        A point that is not faster is withdrawn by its cost.
        """
        if isinstance(error, NotFasterError):
            self._look_up_costs()
            return True
        selected = self._select_index(limits)
        if selected:
            self._failed.add(selected)
        else:
            self._own_failed = True
        return selected > 0

    def serving_state(
        self, engine: Engine | None, limits: DirectiveLimits, meter: WorkMeter
    ) -> ServingState:
        """Return the operating points with their times, the one in use, and the problem if any."""
        used = (
            None
            if engine is None or engine.is_fallback
            else self._index(settings_of(engine.request))
        )
        offered = [index for index in range(len(self._points)) if index not in self._withdrawn]
        times = self._process_ms(used, meter)
        operating_points = tuple(
            self._points[index].operating_point(times[index]) for index in offered
        )
        selected = self._select_index(limits)
        model, precision = self._points[selected].key
        reasons = "".join(f"; {reason}" for reason in self._withdrawn.values())
        problem = ""
        if limits.model not in ("", *(point.model.name for point in self._points)):
            problem = f"model {limits.model!r} is requested, which this node does not have"
        elif not is_within_ceiling(precision, limits.precision_ceiling):
            problem = f"nothing cheaper than {precision} is available{reasons}"
        elif limits.model not in ("", model):
            problem = f"model {limits.model!r} is requested and not served{reasons}"
        elif used != selected and not limits.is_free:
            problem = f"{model} {precision} is being prepared"
        return ServingState(
            operating_points, offered.index(used) if used in offered else None, problem
        )

    def _process_ms(self, used: int | None, meter: WorkMeter) -> list[float | None]:
        """Return the expected time of one inference at each operating point."""
        measured_ms = [meter.process_ms(point.key) for point in self._points]
        last_s = [None if ms is None else ms / 1e3 for ms in measured_ms]
        used_configuration, used_s = (
            (None, None) if used is None else (self._configurations[used], last_s[used])
        )
        expected_s = [
            self._costs.expected_s(configuration, used_configuration, used_s, seconds)
            for configuration, seconds in zip(self._configurations, last_s, strict=True)
        ]
        return [None if seconds is None else 1e3 * seconds for seconds in expected_s]

    def _select_index(self, limits: DirectiveLimits) -> int:
        excluded = self._failed | self._withdrawn.keys()
        usable = [index for index in range(len(self._points)) if index not in excluded]
        allowed = [
            index
            for index in usable
            if is_within_ceiling(self._points[index].precision, limits.precision_ceiling)
            and limits.model in ("", self._points[index].model.name)
        ]
        return allowed[0] if allowed else usable[-1]

    def _index(self, settings: InferenceSettings) -> int | None:
        same = (n for n, point in enumerate(self._points) if settings.same_engine(point.settings))
        return next(same, None)


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
) -> OperatingPointSettings:
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
    return OperatingPointSettings(changed, model, precision)


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
