"""Which directive holds for a node, and what it does when the manager falls silent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edge_inference.core.directives.directive import Directive, DirectiveLevel, DirectiveLimits

#: Managers that are remembered; the one that is obeyed is never forgotten for another.
_MOST_MANAGERS = 16


@dataclass(frozen=True)
class FailsafePolicy:
    """How a node obeys: not at all while it is ``safety_critical``.

    ``safe`` holds once the manager is lost, which is after ``timeout_ns`` without a word.
    """

    timeout_ns: int
    safe: DirectiveLimits
    safety_critical: bool = False


@dataclass(frozen=True)
class ActiveDirective:
    """What holds now, and by which reason; see ``Workload.obeys``."""

    limits: DirectiveLimits = field(default_factory=DirectiveLimits)
    obeys: Literal["nothing", "directive", "safe_level", "critical"] = "nothing"
    directive: Directive | None = None
    problem: str = ""


@dataclass
class _Manager:
    heard_ns: int
    by_node: dict[str, tuple[Directive, int]] = field(default_factory=dict)


class DirectiveArbiter:
    """Remembers what managers ask of one node. Times are nanoseconds of one rising clock.

    One manager is obeyed until it falls silent or leaves; another that speaks meanwhile is not
    heard, and that is a problem to show. Silence is a loss, which the safe level follows; a
    manager that has left asks nothing any more. Not for several threads at once.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._managers: dict[str, _Manager] = {}
        self._obeyed = ""

    def hear(self, directive: Directive, now_ns: int) -> None:
        """Take note of a directive, whomever it is for."""
        if directive.is_farewell:
            self._managers.pop(directive.manager, None)
            return
        if directive.node not in ("", self._node):
            # Not for us, yet a sign of life.
            manager = self._managers.get(directive.manager)
            if manager is not None:
                manager.heard_ns = now_ns
            return
        if directive.manager not in self._managers:
            self._make_room()
        manager = self._managers.setdefault(directive.manager, _Manager(now_ns))
        manager.heard_ns = now_ns
        manager.by_node[directive.node] = (directive, now_ns)

    def _make_room(self) -> None:
        others = [name for name in self._managers if name != self._obeyed]
        if len(others) >= _MOST_MANAGERS:
            del self._managers[min(others, key=lambda name: self._managers[name].heard_ns)]

    def renew(self, now_ns: int) -> None:
        """Miss nobody for a time in which nothing could be heard: it begins anew."""
        for manager in self._managers.values():
            manager.heard_ns = now_ns
            manager.by_node = {node: (each, now_ns) for node, (each, _) in manager.by_node.items()}

    def in_force(self, duty: FailsafePolicy, now_ns: int) -> ActiveDirective:
        """Return what holds now."""
        if not self._managers:
            return ActiveDirective()
        alive = {
            name: manager
            for name, manager in self._managers.items()
            if now_ns - manager.heard_ns <= duty.timeout_ns
        }
        if self._obeyed not in alive:
            self._obeyed = next(iter(alive), "")
        for name in self._managers.keys() - alive.keys():
            if alive:  # the last one that was lost stays, to tell that there was one
                del self._managers[name]
        if not alive:
            seconds = duty.timeout_ns / 1e9
            problem = (
                f"no directive for {seconds:g} s: the platform manager is lost "
                f"({', '.join(self._managers)}); start it again, or configure this node anew, "
                "which then misses none"
            )
            if duty.safety_critical:
                return ActiveDirective(obeys="critical", problem=problem)
            return ActiveDirective(duty.safe, "safe_level", None, problem)
        directive = self._latest(alive[self._obeyed], duty, now_ns)
        others = sorted(alive.keys() - {self._obeyed})
        problem = (
            f"{', '.join(others)} gives directives too; obeyed is {self._obeyed}: stop one of them"
            if others
            else ""
        )
        unclear = _unclear(directive)
        if unclear:
            # Less is asked, though not how much less; it is not acknowledged.
            problem = "; ".join(filter(None, (unclear, problem)))
            if duty.safety_critical:
                return ActiveDirective(obeys="critical", problem=problem)
            return ActiveDirective(duty.safe, "safe_level", None, problem)
        if duty.safety_critical:
            if directive.limits.is_free:
                return ActiveDirective(obeys="critical", directive=directive, problem=problem)
            refused = "asked to reduce, yet safety-critical: refused"
            return ActiveDirective(
                obeys="critical",
                directive=directive,
                problem="; ".join(filter(None, (refused, problem))),
            )
        return ActiveDirective(directive.limits, "directive", directive, problem)

    def _latest(self, manager: _Manager, duty: FailsafePolicy, now_ns: int) -> Directive:
        """Return what is asked of us by name, while it is repeated, else what is asked of all."""
        named = manager.by_node.get(self._node)
        general = manager.by_node.get("")
        if named is None or (general is not None and now_ns - named[1] > duty.timeout_ns):
            named = general
        assert named is not None
        return named[0]


def _unclear(directive: Directive) -> str:
    """Say what keeps a directive from being obeyed as it is; nothing for one that is clear."""
    if (
        not directive.problem
        and directive.level is DirectiveLevel.FAILSAFE
        and directive.limits.is_free
    ):
        return f"directive {directive.id} of {directive.manager} is FAILSAFE, yet names no limit"
    return directive.problem
