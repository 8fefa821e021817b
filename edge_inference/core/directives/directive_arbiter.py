"""Decides which directive applies to a node, and what applies when the manager is lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edge_inference.core.directives.directive import Directive, DirectiveLevel, DirectiveLimits

#: Number of managers that are remembered; the active one is never replaced by another.
_MAX_MANAGERS = 16


@dataclass(frozen=True)
class FailsafePolicy:
    """How a node follows directives; a ``safety_critical`` node follows none.

    ``safe_limits`` apply once the manager is lost: no directive for ``timeout_ns``.
    """

    timeout_ns: int
    safe_limits: DirectiveLimits
    safety_critical: bool = False


@dataclass(frozen=True)
class ActiveDirective:
    """The limits that apply now and where they come from; see ``Workload.limits_source``."""

    limits: DirectiveLimits = field(default_factory=DirectiveLimits)
    limits_source: Literal["nothing", "directive", "safe_level", "critical"] = "nothing"
    directive: Directive | None = None
    problem: str = ""


@dataclass
class _Manager:
    last_ns: int
    by_node: dict[str, tuple[Directive, int]] = field(default_factory=dict)


class DirectiveArbiter:
    """Keeps the directives of all managers for one node.

    The node follows one manager until that manager falls silent or leaves. A second manager that
    sends directives meanwhile is ignored and reported as a problem. Silence means that the
    manager is lost: the safe level applies. A manager that has left limits nothing any more.
    Times are nanoseconds of one monotonic clock. Not thread-safe.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._managers: dict[str, _Manager] = {}
        self._active_manager = ""

    def receive(self, directive: Directive, now_ns: int) -> None:
        """Store a received directive, whichever node it addresses."""
        if directive.is_release:
            self._managers.pop(directive.manager, None)
            return
        if directive.node not in ("", self._node):
            # It addresses another node, but shows that the manager is alive.
            manager = self._managers.get(directive.manager)
            if manager is not None:
                manager.last_ns = now_ns
            return
        if directive.manager not in self._managers:
            self._make_space()
        manager = self._managers.setdefault(directive.manager, _Manager(now_ns))
        manager.last_ns = now_ns
        manager.by_node[directive.node] = (directive, now_ns)

    def _make_space(self) -> None:
        others = [name for name in self._managers if name != self._active_manager]
        if len(others) >= _MAX_MANAGERS:
            del self._managers[min(others, key=lambda name: self._managers[name].last_ns)]

    def restart_timeouts(self, now_ns: int) -> None:
        """Restart all timeouts after a time in which the node could receive nothing."""
        for manager in self._managers.values():
            manager.last_ns = now_ns
            manager.by_node = {node: (each, now_ns) for node, (each, _) in manager.by_node.items()}

    def resolve(self, policy: FailsafePolicy, now_ns: int) -> ActiveDirective:
        """Return what applies now."""
        if not self._managers:
            return ActiveDirective()
        alive = {
            name: manager
            for name, manager in self._managers.items()
            if now_ns - manager.last_ns <= policy.timeout_ns
        }
        if self._active_manager not in alive:
            self._active_manager = next(iter(alive), "")
        for name in self._managers.keys() - alive.keys():
            if alive:  # if all are lost, they stay: the loss must be reported
                del self._managers[name]
        if not alive:
            seconds = policy.timeout_ns / 1e9
            problem = (
                f"no directive for {seconds:g} s: the platform manager is lost "
                f"({', '.join(self._managers)}); start it again, or clean up and configure this "
                "node to forget it"
            )
            return _make_safe(policy, problem)
        directive = self._latest(alive[self._active_manager], policy, now_ns)
        others = sorted(alive.keys() - {self._active_manager})
        problem = (
            f"{', '.join(others)} also sends directives; this node follows "
            f"{self._active_manager}: stop one of them"
            if others
            else ""
        )
        invalid = _find_invalid(directive)
        if invalid:
            # The manager asks for less, but not clearly how much less: do not acknowledge.
            return _make_safe(policy, "; ".join(filter(None, (invalid, problem))))
        if policy.safety_critical:
            if directive.limits.is_free:
                return ActiveDirective(
                    limits_source="critical", directive=directive, problem=problem
                )
            refused = "refused a directive to reduce: this node is safety-critical"
            return ActiveDirective(
                limits_source="critical",
                directive=directive,
                problem="; ".join(filter(None, (refused, problem))),
            )
        return ActiveDirective(directive.limits, "directive", directive, problem)

    def _latest(self, manager: _Manager, policy: FailsafePolicy, now_ns: int) -> Directive:
        """Return the directive for this node while it is repeated, else the general one."""
        named = manager.by_node.get(self._node)
        general = manager.by_node.get("")
        if named is None or (general is not None and now_ns - named[1] > policy.timeout_ns):
            named = general
        assert named is not None
        return named[0]


def _make_safe(policy: FailsafePolicy, problem: str) -> ActiveDirective:
    if policy.safety_critical:
        return ActiveDirective(limits_source="critical", problem=problem)
    return ActiveDirective(policy.safe_limits, "safe_level", None, problem)


def _find_invalid(directive: Directive) -> str:
    """Say why a directive cannot be followed as it is; return an empty text for a valid one."""
    if (
        not directive.problem
        and directive.level is DirectiveLevel.FAILSAFE
        and directive.limits.is_free
    ):
        return f"directive {directive.id} of {directive.manager} is FAILSAFE without a limit"
    return directive.problem
