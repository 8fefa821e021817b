"""Which of the running pipelines is observed, and what to say where none is."""

from __future__ import annotations

from collections.abc import Sequence

#: A pipeline sends several messages a second, even without frames.
_SILENT_S = 5.0
#: Anybody in the network can publish in any number of namespaces; a sentence names so many.
_MAX_NAMED = 8


class PipelineChoice:
    """Chooses a namespace, and stays with it: a pipeline that starts again is the same.

    With an empty ``wanted`` it is the first only one there is. Times are on one monotonic clock.
    """

    def __init__(self, wanted: str) -> None:
        self._wanted = None if not wanted else f"/{wanted.strip('/')}".rstrip("/")
        #: The observed namespace; None while none has been found.
        self.namespace: str | None = None
        #: The namespaces in which pipelines run now.
        self.found: tuple[str, ...] = ()
        self._is_running = False
        self._has_run = False
        self._last_ns = 0

    @property
    def others(self) -> tuple[str, ...]:
        """The namespaces of other pipelines that run now."""
        return tuple(each for each in self.found if each != self.namespace)

    def note_message(self, now_ns: int) -> None:
        """Note that something has come from the observed pipeline."""
        self._last_ns = now_ns

    def update(self, found: Sequence[str], now_ns: int) -> list[tuple[str, str]]:
        """Choose among the pipelines that run now; return what has happened, by namespace."""
        self.found = tuple(found)
        if self.namespace is None:
            if self._wanted is not None and self._wanted in self.found:
                self.namespace = self._wanted
            elif self._wanted is None and len(self.found) == 1:
                self.namespace = self.found[0]
        if self.namespace is None:
            return []
        was_running, self._is_running = self._is_running, self.namespace in self.found
        if was_running == self._is_running:
            return []
        text = "gone"
        if self._is_running:
            text = "started again" if self._has_run else "found"
            self._last_ns = now_ns  # it has not been silent before
            self._has_run = True
        return [(self.namespace or "/", text)]

    def status(self, now_ns: int) -> str:
        """Return why no pipeline is observed, and what to do; empty while one is."""
        if self.namespace is None:
            return self._explain_none()
        if not self._is_running:
            others = f" ({_format(self.others)} runs: choose it with --namespace)"
            return (
                f"the pipeline in {_format([self.namespace])} has ended; waiting until it starts "
                f"again{others if self.others else ''}"
            )
        silent_s = (now_ns - self._last_ns) / 1e9
        if silent_s > _SILENT_S:
            return (
                f"nothing has come from {_format([self.namespace])} for {silent_s:.0f} s: its "
                "nodes are not active yet, or its process hangs or has just ended"
            )
        return ""

    def _explain_none(self) -> str:
        if self._wanted is not None:
            running = f"; those in {_format(self.found)} do" if self.found else ""
            return (
                f"no pipeline runs in {_format([self._wanted])}{running}; waiting for it: check "
                "--namespace and ROS_DOMAIN_ID"
            )
        if not self.found:
            return (
                "no pipeline runs: start one with `ros2 launch edge_inference "
                "perception.launch.py`, or check ROS_DOMAIN_ID"
            )
        return (
            f"{len(self.found)} pipelines run: {_format(self.found)}; choose one with --namespace "
            f"{self.found[-1] or '/'}"
        )


def is_of_pipeline(node: str, namespace: str, others: Sequence[str]) -> bool:
    """Tell whether a node belongs to the robot of a pipeline, and not to that of other ones.

    Nodes outside of all pipelines, such as drivers, belong to it, too.
    """
    # The namespace of another pipeline, and of its robot: /robot2 of /robot2/ai.
    own_robot = namespace.rpartition("/")[0]
    roots = {*others, *(each.rpartition("/")[0] for each in others)} - {"", own_robot}
    # The longer name is the closer one: the pipeline of /ai is not that of the root namespace.
    own = len(namespace) if node.startswith(f"{namespace}/") else -1
    return all(len(root) < own for root in roots if node.startswith(f"{root}/"))


def _format(namespaces: Sequence[str]) -> str:
    names = [each or "/" for each in namespaces[:_MAX_NAMED]]
    more = len(namespaces) - len(names)
    return ", ".join([*names, f"{more} more"] if more else names)
