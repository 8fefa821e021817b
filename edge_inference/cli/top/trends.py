"""The newest minutes of some figures, for the sparklines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trends:
    """Values once a second, the newest last; NaN is unknown, empty where there are none.

    ``latency`` is p50 from end to end in milliseconds; ``cpu``, ``gpu`` and ``memory`` are shares,
    ``temperature`` is that of the hottest control zone in °C, ``power`` that of the board in W.
    """

    latency: tuple[float, ...] = ()
    cpu: tuple[float, ...] = ()
    gpu: tuple[float, ...] = ()
    memory: tuple[float, ...] = ()
    temperature: tuple[float, ...] = ()
    power: tuple[float, ...] = ()
