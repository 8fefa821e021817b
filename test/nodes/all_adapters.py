"""One adapter of each kind that the conversions have, found by themselves."""

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


def _of_audio_common(kind: type[Any]) -> Adapter:
    return kind(audio_common.audio_common_messages())


#: Those that are not made without arguments.
MADE: dict[type[Any], Callable[[], Adapter]] = {
    command.TwistStampedAdapter: lambda: command.TwistStampedAdapter("base", lambda: 1),
    audio_common.AudioDataStampedAdapter: lambda: _of_audio_common(
        audio_common.AudioDataStampedAdapter
    ),
    audio_common.AudioInfoAdapter: lambda: _of_audio_common(audio_common.AudioInfoAdapter),
    audio_common.AudioStampedAdapter: lambda: _of_audio_common(audio_common.AudioStampedAdapter),
    hri.LiveSpeechAdapter: hri.live_speech_adapter,
    hri.HriIntentAdapter: hri.hri_intent_adapter,
}


def kinds() -> list[type[Any]]:
    """Return every class of adapter in the conversions."""
    for module in pkgutil.iter_modules(conversions.__path__):
        with contextlib.suppress(ImportError):  # of packages that are not installed
            importlib.import_module(f"{conversions.__name__}.{module.name}")
    found, left = [], list(Adapter.__subclasses__())
    while left:
        kind = left.pop()
        left += kind.__subclasses__()
        if kind.__module__.startswith(conversions.__name__):
            found.append(kind)
    return sorted(found, key=lambda kind: kind.__name__)


def adapters() -> list[Adapter]:
    """Return one adapter of each kind whose messages are installed."""
    made = []
    for kind in kinds():
        make = MADE.get(kind, kind)
        needed = [
            each.name
            for each in inspect.signature(make).parameters.values()
            if each.default is each.empty
        ]
        assert not needed, f"{kind} needs {needed}; say in MADE how it is made"
        # Either package of audio_common_msgs has only some of the messages.
        with contextlib.suppress(ConfigError, AttributeError):
            made.append(make())
    return made
