"""A finding of the doctor: what was found, why it matters, and what to do."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class FindingLevel(enum.Enum):
    """How much a finding matters."""

    OK = "ok"
    #: Good to know; nothing has to be done.
    NOTE = "note"
    #: Makes the machine slower, or figures less reliable.
    WARNING = "warning"
    #: Something does not work, or figures are worthless.
    PROBLEM = "problem"
    #: The machine does not say.
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """``area`` and ``name`` identify the check, ``value`` is what the machine says.

    ``reason`` says why it matters, ``advice`` what to do, ``command`` how; all three are empty
    for a finding that is OK. ``reason`` of an UNKNOWN finding says why nothing is known.
    """

    area: str
    name: str
    level: FindingLevel
    value: str
    reason: str = ""
    advice: str = ""
    command: str = ""


_SEVERITY = (
    FindingLevel.OK,
    FindingLevel.NOTE,
    FindingLevel.UNKNOWN,
    FindingLevel.WARNING,
    FindingLevel.PROBLEM,
)


def worst_level(findings: Iterable[Finding]) -> FindingLevel:
    """Return the level that matters most; OK where there is no finding."""
    return max((each.level for each in findings), key=_SEVERITY.index, default=FindingLevel.OK)
