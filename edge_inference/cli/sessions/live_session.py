"""A pipeline that runs in other processes, observed through its topics."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge_inference.cli.command_container import open_container
from edge_inference.errors import ConfigError, EdgeInferenceError

if TYPE_CHECKING:
    from edge_inference.composition.container import Container

_DISCOVERY_S = 3.0
_POLL_PERIOD_S = 0.05
_TIMINGS = "stage_timing"
#: The middleware knows an endpoint before the name of its node.
_UNKNOWN_NAME = "_NODE_NAME_UNKNOWN_"
_OBSERVER = "edge_inference.nodes.observe.pipeline_observer::PipelineObserver"


class LiveSession:
    """A running pipeline; made by :func:`open_live`. ``namespace`` is that of its topics."""

    def __init__(
        self, container: Container, namespace: str, on_message: Callable[[str], None]
    ) -> None:
        self.container = container
        self.namespace = namespace
        self._on_message = on_message
        self._invalid = InvalidMessages(on_message)
        self._frames = FrameGaps()
        self._observer: Any = container.load(_OBSERVER, ()).node
        self._spinner = threading.Thread(target=container.spin, name="executor", daemon=True)

    def tap(self, topic: str, callback: Callable[[Any], None]) -> None:
        """Pass every object on a topic of the pipeline to ``callback``, in the executor's thread.

        Raises ConfigError for a topic that is not one of a pipeline.
        """
        name = topic if topic.startswith("/") else f"{self.namespace}/{topic}"
        if topic == _TIMINGS:
            callback = self._frames.noting(callback)
        self._observer.subscribe(name, callback, self._invalid.add)

    def start(self) -> None:
        """Start receiving."""
        self._spinner.start()

    def close(self) -> None:
        """Stop receiving; say what makes the figures doubtful."""
        topic = f"{self.namespace}/{_TIMINGS}"
        if twins := find_twins(self.container.node.get_publishers_info_by_topic(topic)):
            self._on_message(
                f"several nodes are called {', '.join(twins)}, so that their figures are mixed; "
                "end one of the pipelines, or start it in another namespace"
            )
        if self.silent_s is not None:
            self._on_message(
                f"no stage reported a frame in the last {self.silent_s:.1f} s; its pipeline has "
                "ended, or its source has no data"
            )
        self.container.stop()
        if self._spinner.is_alive():
            self._spinner.join()
        self._invalid.finish()

    @property
    def silent_s(self) -> float | None:
        """For how long frames that had come before have not come now; None where they come."""
        return self._frames.silent_s(time.monotonic())


def find_twins(publishers: Iterable[Any]) -> list[str]:
    """Return the names that several nodes have, of which each has one of these publishers."""
    names = Counter(
        f"{each.node_namespace.rstrip('/')}/{each.node_name}"
        for each in publishers
        if each.node_name != _UNKNOWN_NAME
    )
    return sorted(name for name, count in names.items() if count > 1)


class FrameGaps:
    """Tells when frames stop coming; times are seconds of one monotonic clock."""

    #: Shorter silence is the load of the machine, or a source that is slow at times.
    MIN_S = 2.0
    _TIMES_USUAL = 3.0

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._longest_s = 0.0

    def noting(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a callback that notes the arrival as well."""

        def note(item: Any) -> None:
            self.note(time.monotonic())
            callback(item)

        return note

    def note(self, now_s: float) -> None:
        """Note that a frame came."""
        if self._last_s is not None:
            self._longest_s = max(self._longest_s, now_s - self._last_s)
        self._last_s = now_s

    def silent_s(self, now_s: float) -> float | None:
        """Return the time since the last frame if it is long, and longer than between frames."""
        if self._last_s is None:
            return None
        passed_s = now_s - self._last_s
        return passed_s if passed_s > max(self.MIN_S, self._TIMES_USUAL * self._longest_s) else None


class InvalidMessages:
    """Reports messages that were refused: the first of each kind, and last how many there were.

    A broken or hostile publisher sends hundreds a second.
    """

    MAX_KINDS = 10

    def __init__(self, on_message: Callable[[str], None]) -> None:
        self._on_message = on_message
        self._kinds: set[str] = set()
        self._count = 0

    def add(self, error: EdgeInferenceError) -> None:
        """Count an error, and report it if it is the first one about its field."""
        self._count += 1
        kind = str(error).partition(" expected ")[0]
        if kind not in self._kinds and len(self._kinds) < self.MAX_KINDS:
            self._kinds.add(kind)
            self._on_message(str(error))

    def finish(self) -> None:
        """Report the number, where some were not reported by themselves."""
        if self._count > len(self._kinds):
            self._on_message(f"{self._count} messages were invalid, and ignored")


@contextmanager
def open_live(
    command: str, namespace: str, on_message: Callable[[str], None], *, verbose: bool = False
) -> Iterator[LiveSession]:
    """Yield the pipeline that runs in ``namespace``; the only one there is where it is empty.

    Raises ConfigError where no pipeline runs, or several do and none is named.
    """
    with open_container(command, verbose) as container:
        session = LiveSession(container, _find_namespace(container, namespace), on_message)
        try:
            yield session
        finally:
            session.close()


def find_namespaces(container: Container) -> list[str]:
    """Return the namespaces in which stages publish their timings now."""
    suffix = f"/{_TIMINGS}"
    return sorted(
        name[: -len(suffix)]
        for name, _ in container.node.get_topic_names_and_types()
        if name.endswith(suffix) and container.node.count_publishers(name)
    )


def _find_namespace(container: Container, namespace: str) -> str:
    wanted = "" if not namespace else f"/{namespace.strip('/')}"
    deadline_s = time.monotonic() + _DISCOVERY_S
    found: list[str] = []
    while time.monotonic() < deadline_s:
        found = find_namespaces(container)
        if wanted in found:
            return wanted
        time.sleep(_POLL_PERIOD_S)  # discovery has no event; the deadline bounds it
    if wanted:
        others = ", ".join(found) or "none"
        raise ConfigError(
            f"--namespace {namespace}: expected a running pipeline there, and found {others}; "
            "check ROS_DOMAIN_ID and `ros2 topic list`"
        )
    if not found:
        raise ConfigError(
            "no pipeline runs: expected nodes that publish stage_timing; start one with "
            "`ros2 launch edge_inference perception.launch.py`, or check ROS_DOMAIN_ID"
        )
    if len(found) > 1:
        raise ConfigError(
            f"expected one running pipeline, got {len(found)}: {', '.join(found)}; "
            f"choose one with --namespace {found[0]}"
        )
    return found[0]
