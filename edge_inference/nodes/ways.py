"""The ways in which an inference node can serve: its own, and cheaper ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from edge_inference.core.directive import Limits, Option, is_within
from edge_inference.core.model import PRECISIONS, ModelDescription
from edge_inference.core.settings import suggestion
from edge_inference.core.work_meter import WorkMeter
from edge_inference.engines.select import Selection
from edge_inference.engines.supply import precisions
from edge_inference.errors import ConfigError
from edge_inference.nodes.inference_settings import InferenceSettings


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


def ways_of(settings: InferenceSettings, own: Selection) -> tuple[Way, ...]:
    """Return the node's own way first, then the cheaper ones, most accurate first.

    ``own`` is what serves, or would serve, the settings. Raises ConfigError for a variant
    that cannot be, ModelError for a model that cannot be read.
    """
    model = own.request.model
    first = Way(settings, model, own.precision)
    if settings.variants:
        others = [_variant(settings, text, model) for text in settings.variants]
    else:
        others = [
            Way(dataclasses.replace(settings, precision=name), model, name)
            for name in precisions(model)
            if _is_cheaper(name, own)
        ]
    return (first, *(way for way in others if way.settings != settings))


def way_within(ways: Sequence[Way], limits: Limits) -> Way:
    """Return the most accurate way within the limits, else the last one."""
    allowed = [
        way
        for way in ways
        if is_within(way.precision, limits.precision_ceiling)
        and limits.model in ("", way.model.name)
    ]
    return allowed[0] if allowed else ways[-1]


def _variant(settings: InferenceSettings, text: str, own: ModelDescription) -> Way:
    """Read ``precision`` or ``model:precision``."""
    name, _, precision = text.rpartition(":")
    if precision not in PRECISIONS:
        raise ConfigError(
            f"variants: expected <precision> or <model>:<precision> with {', '.join(PRECISIONS)}, "
            f"got {text!r}"
        )
    changes = {"precision": precision, **({"model": name} if name else {})}
    changed = dataclasses.replace(settings, **changes)
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
