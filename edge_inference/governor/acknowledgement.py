"""Whether nodes do what they are asked, and what follows when they do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_inference.core.directives.directive import Directive, DirectiveLevel, Workload
from edge_inference.governor.demand import number

#: From the next cheaper engine to the least.
_MOST = 2
#: A node that is this much faster than asked does not obey, however it acknowledges.
_FASTER = 1.25
_FASTER_HZ = 1.0


@dataclass
class _Trust:
    escalation: int = 0
    #: Since when the node is behind, and the directive that it had then.
    behind_since_s: float | None = None
    had: int = 0
    #: Since when it does as it is asked.
    good_since_s: float | None = None


class Acknowledgements:
    """Remembers since when a node has not taken over what it was asked."""

    def __init__(self, manager: str = "") -> None:
        """Trust everyone at first. With a ``manager``, obeying another one does not count."""
        self._manager = manager
        self._trust: dict[str, _Trust] = {}

    def look(
        self,
        workloads: Iterable[Workload],
        asked: Mapping[str, Directive],
        time_s: float,
        *,
        patience_s: float,
        forgive_s: float,
    ) -> dict[str, int]:
        """Return the nodes that do not obey, each with its escalation: 1 at first, then 2.

        A node that has obeyed for ``forgive_s`` is asked as any other again.
        """
        trust = {}
        for workload in workloads:
            directive = asked.get(workload.node)
            if directive is None or workload.safety_critical:
                continue
            known = trust[workload.node] = self._trust.get(workload.node, _Trust())
            if directive.level is DirectiveLevel.FULL:
                trust[workload.node] = _Trust()
            elif not self._acknowledges(workload, directive):
                _blame(known, workload, time_s, patience_s)
            elif not _is_slow_enough(workload, directive):
                # The rate is one of the last seconds, and may be of before.
                _blame(known, workload, time_s, 2.0 * patience_s)
            else:
                _forgive(known, time_s, forgive_s)
        self._trust = trust
        return {node: each.escalation for node, each in trust.items() if each.escalation}

    def distrust(self, nodes: Iterable[str]) -> None:
        """Ask more of nodes whose obeying shows no effect."""
        for node in nodes:
            if node in self._trust:
                trust = self._trust[node]
                trust.escalation = min(_MOST, trust.escalation + 1)
                trust.good_since_s = None

    def _acknowledges(self, workload: Workload, directive: Directive) -> bool:
        if workload.directive_id != directive.id:
            return False
        return not self._manager or workload.manager == self._manager


def _is_slow_enough(workload: Workload, directive: Directive) -> bool:
    rate, limit = number(workload.rate_hz), directive.limits.max_rate_hz
    return rate is None or limit is None or rate <= _FASTER * limit + _FASTER_HZ


def _forgive(trust: _Trust, time_s: float, forgive_s: float) -> None:
    trust.behind_since_s = None
    if trust.good_since_s is None or time_s < trust.good_since_s:
        trust.good_since_s = time_s
    if time_s - trust.good_since_s >= forgive_s:
        trust.escalation = 0


def _blame(trust: _Trust, workload: Workload, time_s: float, patience_s: float) -> None:
    """Count how long a node is behind; one that follows, though late, starts anew."""
    trust.good_since_s = None
    follows = workload.directive_id != trust.had
    trust.had = workload.directive_id
    if trust.behind_since_s is None or follows or time_s < trust.behind_since_s:
        trust.behind_since_s = time_s
    elif time_s - trust.behind_since_s >= patience_s:
        trust.escalation = min(_MOST, trust.escalation + 1)
        trust.behind_since_s = time_s
