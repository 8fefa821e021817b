"""Execution of the plan steps that are not velocities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edge_inference.core.voice import ActionStep
from edge_inference.speech.actions.executor import ActionExecutor
from edge_inference.speech.actions.table import find_action, may_move
from edge_inference.speech.planning.motion import Motion, MotionFeedback, MotionState


@dataclass(frozen=True)
class _Current:
    """The step in execution: the stamp of its plan, its index in it, and its executor."""

    stamp_ns: int
    index: int
    step: ActionStep
    executor: ActionExecutor


class ActionDispatcher:
    """Executes the steps for which a plan waits; call ``update`` in every control cycle.

    ``executors`` are those of the table of actions, by name.
    """

    def __init__(self, executors: Mapping[str, ActionExecutor], say: Callable[[str], None]) -> None:
        self._executors = executors
        self._say = say
        self._current: _Current | None = None
        self._warnings: frozenset[str] = frozenset()

    @property
    def is_driving(self) -> bool:
        """Tell whether an executor drives the base for the current step."""
        return self._current is not None and self._current.executor.drives_base

    @property
    def needs_standing(self) -> bool:
        """Tell whether the base must stand: a step may move the robot otherwise."""
        current = self._current
        if current is None or current.executor.drives_base:
            return False
        return may_move(current.step.action)

    @property
    def may_still_move(self) -> bool:
        """Tell whether a canceled step may still move the robot."""
        return bool(self._warnings)

    def update(self, motion: Motion, now_ns: int, is_still: bool) -> None:
        """Begin, continue or cancel the current step; warn if a canceled one does not end."""
        self._warn()
        while (feedback := motion.feedback(now_ns)).state is MotionState.WAITING and is_still:
            problem = self._execute(feedback)
            if problem is None:
                return
            self._current = None
            if problem:
                motion.step_failed(problem, now_ns)
            else:
                motion.step_done(now_ns)
        if self._current is not None:
            self.cancel()

    def cancel(self) -> None:
        """Cancel what this node has started."""
        self._current = None
        _call_all(executor.cancel for executor in self._executors.values())

    def cancel_all(self) -> None:
        """Cancel what this node has started, and the goals of all clients of navigation."""
        self._current = None
        _call_all(executor.cancel_all for executor in self._executors.values())

    def close(self) -> None:
        """Free the executors."""
        _call_all(executor.close for executor in self._executors.values())

    def _warn(self) -> None:
        before = self._warnings
        warnings = (executor.warning for executor in self._executors.values())
        self._warnings = frozenset(filter(None, warnings))
        for warning in sorted(self._warnings - before):
            self._say(warning)

    def _execute(self, feedback: MotionFeedback) -> str | None:
        """Return None while a step is executed, empty once it is done, else why not."""
        step, current = feedback.step, self._current
        assert step is not None, "the plan waits for it"
        if current is not None:
            if (current.stamp_ns, current.index, current.step) == (
                feedback.stamp_ns,
                feedback.index,
                step,
            ):
                return current.executor.outcome()
            self.cancel()
        action = find_action(step.action)
        if action is None:
            return f"I do not know how to {step.action}"
        executor = self._executors.get(action.executor)
        if executor is None:
            return action.refusal
        if executor.drives_base and not action.moves_robot:  # nobody was asked for a confirmation
            return f"I may not move for {action.name.replace('_', ' ')}"
        self._current = _Current(feedback.stamp_ns, feedback.index, step, executor)
        executor.start(step)
        return executor.outcome()


def _call_all(calls: Iterable[Callable[[], None]]) -> None:
    """Call each function, even if others raise exceptions; then raise the first of these."""
    errors: list[BaseException] = []
    for call in calls:
        try:
            call()
        except BaseException as error:
            errors.append(error)
    if errors:
        raise errors[0]
