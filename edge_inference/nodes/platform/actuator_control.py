"""The actuators of the platform manager: requests of the user, and the governor's clock cap."""

from __future__ import annotations

from collections.abc import Sequence

from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.component import Component
from edge_inference.nodes.platform.platform_settings import PlatformManagerSettings
from edge_inference.platforms.actuators.actuators import Actuators

#: When the node closes, the executor waits this long for the actuators to restore the machine.
_RESTORE_S = 10.0
#: When the node is deactivated, the executor waits this long for the clock cap to be lifted.
_LIFT_S = 2.0


class ActuatorControl:
    """Passes requests to the actuators, and reports their outcomes in the log and as errors.

    The settings that the user requests hold until ``close``, the governor's clock cap only until
    ``lift_clock_cap``.
    """

    def __init__(
        self, node: Component, settings: PlatformManagerSettings, gpu_names: Sequence[str]
    ) -> None:
        # A recorded machine must not change settings of this one.
        allowed = () if settings.recording else settings.actuators
        self._node = node
        self._is_off = not allowed
        self._requests: dict[str, str] = {}
        self._actuators = Actuators(allowed, dry_run=settings.dry_run, gpu_names=gpu_names)
        self.request(settings)

    def request(self, settings: PlatformManagerSettings) -> None:
        """Apply changed requests of the user; an empty request restores the setting."""
        before, self._requests = self._requests, settings.actuator_requests()
        for name in () if self._is_off else before.keys() | self._requests.keys():
            if self._requests.get(name) != before.get(name):
                self._actuators.request(name, self._requests.get(name, ""))

    def cap_clocks(self, clock_cap: float | None) -> None:
        """Request the governor's clock cap; None lifts it."""
        self._actuators.cap_clocks(clock_cap)

    def lift_clock_cap(self) -> None:
        """Lift the governor's clock cap, and wait a short time for it."""
        self._actuators.cap_clocks(None)
        if not self._actuators.wait_until_idle(_LIFT_S):
            self._node.get_logger().warning(
                f"the clock cap is not lifted after {_LIFT_S:g} s; it will be, once the current "
                "change of the machine's settings has ended"
            )
        self.report()

    def report(self) -> None:
        """Report the outcomes since the last call."""
        for outcome in self._actuators.take_outcomes():
            if outcome.is_problem:
                error = EdgeInferenceError(outcome.message)
                self._node.report_error(error, "actuator", lost=False)
            else:
                self._node.get_logger().info(outcome.message)

    def close(self) -> None:
        """Restore what was set on the machine."""
        if not self._actuators.close(_RESTORE_S):
            self._node.get_logger().warning(
                f"the settings of the machine are not restored after {_RESTORE_S:g} s; the "
                "guardian process restores them when this process ends"
            )
        self.report()
