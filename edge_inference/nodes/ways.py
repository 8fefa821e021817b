"""The ways in which an inference node can serve: its own, and cheaper ones."""

from __future__ import annotations

import dataclasses

from edge_inference.core.directive import Limits, Option, is_within
from edge_inference.core.model import PRECISIONS, ModelDescription
from edge_inference.core.settings import suggestion
from edge_inference.core.work_meter import WorkMeter
from edge_inference.engines.select import Selection, select_backend, stand_in
from edge_inference.engines.server import Engine, EngineServer
from edge_inference.engines.supply import default_store, precisions
from edge_inference.errors import BackendError, ConfigError
from edge_inference.nodes.inference_settings import InferenceSettings
from edge_inference.nodes.managed import Serving


@dataclasses.dataclass(frozen=True)
class Way:
    """Settings to serve with, and what they come to."""

    settings: InferenceSettings
    model: ModelDescription
    precision: str

    def option(self, meter: WorkMeter) -> Option:
        """Return it as the platform manager sees it."""
        name = self.model.name
        measured_ms = meter.process_ms((name, self.precision))
        return Option(name, self.precision, _share(self.model, self.precision), measured_ms)


class Ways:
    """The node's own way first, then the cheaper ones, most accurate first.

    ``before`` are those that hold until an engine of these is in service.
    Raises ConfigError for a variant that cannot be, ModelError for a model that cannot be read.
    """

    def __init__(self, settings: InferenceSettings, before: Ways | None = None) -> None:
        self._before = before
        if before is not None:
            before._before = None
        own = _own_selection(settings)
        model = own.request.model
        self._ways = [Way(settings, model, own.precision)]
        if settings.variants:
            others = [_variant(settings, text, model) for text in settings.variants]
        else:
            others = [
                Way(dataclasses.replace(settings, precision=name), model, name)
                for name in precisions(model)
                if _is_cheaper(name, own)
            ]
        self._ways += [way for way in others if way.settings != settings]
        self._failed: set[int] = set()
        self._own_failed = False

    def proven(self, origin: InferenceSettings) -> Ways:
        """Return those of which ``origin``, which has been served, is one: these, or others."""
        known = (ways for ways in (self, self._before) if ways and ways._index(origin) is not None)
        return next(known, None) or Ways(origin)

    def put_back_in(self, settings: InferenceSettings) -> InferenceSettings:
        """Return settings with the node's own engine, and its variants, as they are here."""
        own = self._ways[0].settings
        return dataclasses.replace(settings, **own.engine_values(), variants=own.variants)

    def steer(self, server: EngineServer, limits: Limits, *, again: bool) -> bool:
        """Have the most accurate way within the limits served, else the last one.

        True where that was begun. ``again`` tries the node's own way even where it has failed;
        directives come too often for that.
        """
        engine = server.engine
        assert engine is not None
        self._own_failed &= not again
        chosen = self._within(limits)
        wanted = self._ways[chosen].settings
        waits_in_vain = again and engine.is_stand_in and server.preparation is None
        is_aim = wanted.same_engine(server.aim.origin) and not waits_in_vain
        if is_aim or (chosen == 0 and self._own_failed):
            return False
        is_back = wanted.same_engine(engine.request.origin) and not engine.is_stand_in
        if not (is_back and server.keep(engine)):
            server.switch(wanted.request())
        return True

    def fail(self, limits: Limits) -> bool:
        """Rule out the way within these limits; False where that is the node's own, which stays."""
        chosen = self._within(limits)
        if chosen:
            self._failed.add(chosen)
        else:
            self._own_failed = True
        return chosen > 0

    def serving(self, engine: Engine | None, limits: Limits, meter: WorkMeter) -> Serving:
        """Tell how the node can serve and does."""
        options = tuple(way.option(meter) for way in self._ways)
        used = None if engine is None or engine.is_stand_in else self._index(engine.request.origin)
        chosen = self._within(limits)
        precision = self._ways[chosen].precision
        problem = ""
        if limits.model not in ("", *(way.model.name for way in self._ways)):
            problem = f"model {limits.model!r} is asked for, which is none of this node's"
        elif not is_within(precision, limits.precision_ceiling):
            problem = f"nothing cheaper than {precision} can be had"
        elif used != chosen and not limits.is_free:
            problem = f"{self._ways[chosen].model.name} {precision} is being made ready"
        return Serving(options, used, problem)

    def _within(self, limits: Limits) -> int:
        usable = [number for number in range(len(self._ways)) if number not in self._failed]
        allowed = [
            number
            for number in usable
            if is_within(self._ways[number].precision, limits.precision_ceiling)
            and limits.model in ("", self._ways[number].model.name)
        ]
        return allowed[0] if allowed else usable[-1]

    def _index(self, settings: InferenceSettings) -> int | None:
        same = (n for n, way in enumerate(self._ways) if settings.same_engine(way.settings))
        return next(same, None)


def way_in_use(engine: Engine) -> tuple[str, str] | str:
    """Return what the times of this engine's inferences are kept under."""
    if engine.is_stand_in:  # its times tell nothing of the engine that it stands in for
        return "stand-in"
    return engine.request.model.name, engine.selection.precision


def _own_selection(settings: InferenceSettings) -> Selection:
    request = settings.request()
    try:
        return select_backend(request, default_store())
    except BackendError:
        return select_backend(stand_in(request), default_store())


def _variant(settings: InferenceSettings, text: str, own: ModelDescription) -> Way:
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
    return Way(changed, model, precision)


def _is_cheaper(precision: str, own: Selection) -> bool:
    # ONNX Runtime's CPU engine computes fp16 in fp32: nothing is gained.
    is_slow = own.name == "ort" and precision == "fp16"
    return not is_slow and precision != own.precision and is_within(precision, own.precision)


def _share(model: ModelDescription, precision: str) -> float | None:
    variant = model.variants.get(precision)
    figures = variant.accuracy if variant is not None else ()
    return next((each.value for each in figures if 0.0 <= each.value <= 1.0), None)
