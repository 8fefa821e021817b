"""Parameters of nodes, without ROS."""

from __future__ import annotations

from dataclasses import dataclass

#: A value of a parameter; None is not set.
ParameterValue = bool | int | float | str | tuple[bool | int | float | str, ...] | None


@dataclass(frozen=True)
class ParameterRow:
    """A parameter and what its node accepts.

    ``type`` is bool, integer, double, string, one of these with ``[]`` for a list, or empty for
    other ones, which are only shown. ``minimum`` and ``maximum`` are None, and ``choices`` are
    empty, where all values are accepted.
    """

    name: str
    type: str
    value: ParameterValue
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    description: str
    read_only: bool


@dataclass(frozen=True)
class ParameterChange:
    """A parameter that has changed; ``value`` is for people, ``node`` its full name."""

    node: str
    name: str
    value: str
