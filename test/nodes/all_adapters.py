"""One adapter of each class in the conversions, found by import."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

from edge_inference.composition.adapter import Adapter
from edge_inference.errors import ConfigError
from edge_inference.nodes import conversions
from edge_inference.nodes.conversions import audio_common, command, hri


def _make_audio_common(kind: type[Any]) -> Adapter:
    return kind(audio_common.audio_common_messages())


#: How to make adapters whose constructor needs arguments.
FACTORIES: dict[type[Any], Callable[[], Adapter]] = {
    command.TwistStampedAdapter: lambda: command.TwistStampedAdapter("base", lambda: 1),
    audio_common.AudioDataStampedAdapter: lambda: _make_audio_common(
        audio_common.AudioDataStampedAdapter
    ),
    audio_common.AudioInfoAdapter: lambda: _make_audio_common(audio_common.AudioInfoAdapter),
    audio_common.AudioStampedAdapter: lambda: _make_audio_common(audio_common.AudioStampedAdapter),
    hri.LiveSpeechAdapter: hri.live_speech_adapter,
    hri.HriIntentAdapter: hri.hri_intent_adapter,
}


def adapter_classes() -> list[type[Any]]:
    """Return every adapter class in the conversions."""
    for module in pkgutil.walk_packages(conversions.__path__, f"{conversions.__name__}."):
        with contextlib.suppress(ImportError):  # of packages that are not installed
            importlib.import_module(module.name)
    classes, queue = [], list(Adapter.__subclasses__())
    while queue:
        class_ = queue.pop()
        queue += class_.__subclasses__()
        if class_.__module__.startswith(conversions.__name__):
            classes.append(class_)
    return sorted(classes, key=lambda class_: class_.__name__)


def make_adapters() -> list[Adapter]:
    """Return one adapter of each class whose messages are installed."""
    adapters = []
    for class_ in adapter_classes():
        make = FACTORIES.get(class_, class_)
        required = [
            each.name
            for each in inspect.signature(make).parameters.values()
            if each.default is each.empty
        ]
        assert not required, f"{class_} requires {required}; add it to FACTORIES"
        # Each of the two packages audio_common_msgs has only some of the messages.
        with contextlib.suppress(ConfigError, AttributeError):
            adapters.append(make())
    return adapters
