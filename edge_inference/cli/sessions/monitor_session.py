"""A robot that is observed for as long as its user likes, whether its pipeline runs or not."""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge_inference.cli.command_container import open_container
from edge_inference.cli.sessions.live_session import InvalidMessages, find_namespaces, find_twins
from edge_inference.cli.sessions.own_sensors import OwnSensors
from edge_inference.cli.sessions.pipeline_choice import PipelineChoice, is_of_pipeline
from edge_inference.core.images.frame import CompressedFrame
from edge_inference.core.results import RESULT_KINDS
from edge_inference.core.runtime.thread_times import clock_id
from edge_inference.core.runtime.worker import Worker, format_error
from edge_inference.errors import ConfigError, EdgeInferenceError
from edge_inference.observe.monitor.history import History
from edge_inference.observe.monitor.parameter_row import ParameterRow
from edge_inference.observe.monitor.robot_monitor import RobotMonitor
from edge_inference.observe.monitor.snapshot import Snapshot

if TYPE_CHECKING:
    from edge_inference.composition.container import Container

_OBSERVER = "edge_inference.nodes.observe.pipeline_observer::PipelineObserver"
_LOOK_PERIOD_S = 1.0
_HISTORY_PERIOD_S = 1.0
#: Newer messages replace those that wait; nothing here is counted.
_DEPTH = 10
#: Results are for people to look at; a mask costs milliseconds to read.
_RESULT_RATE_HZ = 2.0
#: Topics with one name for the whole robot.
_GLOBAL_TOPICS = ("diagnostics", "parameter_events")
#: Topics of the platform manager, which may be in another namespace than the pipeline.
_SHARED_TOPICS = ("platform_state", "performance_directive", "workload")
_IMAGES = "overlay/compressed"
_PARAMETER_TIMEOUT_S = 5.0
_MAX_NAMESPACES = 256
#: A node that has crashed stays in the graph for 20 s, beside the one that replaces it.
_CRASHED_S = 30.0

ImageCallback = Callable[[bytes, int], None]


class MonitorSession:
    """A robot under observation; made by :func:`open_monitor`. All methods are thread-safe.

    ``history`` has the figures of the last hour, one a second.
    """

    def __init__(
        self, container: Container, namespace: str, on_message: Callable[[str], None]
    ) -> None:
        self.history = History()
        self.parameters = RobotParameters(self)
        self._container = container
        self._on_message = on_message
        self._invalid = InvalidMessages(on_message)
        self._monitor = RobotMonitor()
        self._choice = PipelineChoice(namespace)
        self._sensors = OwnSensors()
        self._changed = threading.Condition()
        self._version = 0
        #: The functions that end the subscriptions, by the full names of the topics.
        self._topics: dict[str, Callable[[], None]] = {}
        self._watchers: dict[object, ImageCallback] = {}
        #: Nodes of one name that were reported, and since when there are any.
        self._twins: list[str] = []
        self._twins_s: float | None = None
        self.observer: Any = container.load(_OBSERVER, ()).node
        self.observer.call_every(_LOOK_PERIOD_S, self._guard(self._look))
        self._spinner = threading.Thread(target=container.spin, name="executor", daemon=True)
        self._spinner.start()
        self._sampler = Worker("history", self._sample, self._report_failure)

    def snapshot(self) -> Snapshot:
        """Return everything that is known now; ``status`` says why nothing is, where nothing is."""
        now_ns = time.monotonic_ns()
        found = self._monitor.snapshot(now_ns)
        return dataclasses.replace(
            found,
            namespace=self._choice.namespace or "",
            namespaces=self._choice.found[:_MAX_NAMESPACES],
            status=self._choice.status(now_ns),
            # While own sensors are read, the platform manager has been silent for seconds.
            platform=self._sensors.row(now_ns) or found.platform,
        )

    def wait_until_changed(self, version: int, timeout_s: float) -> int:
        """Wait until something has come since ``version``, and return the version of now.

        Begin with 0. After ``timeout_s`` it returns ``version`` itself.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, timeout_s)
            return self._version

    def watch_image(self, callback: ImageCallback) -> Callable[[], None]:
        """Pass annotated images as JPEG files, with their stamps in ns, to ``callback``.

        It runs in the executor's thread, so it must be quick. Returns the function that ends this.
        Images are sent only while somebody watches.
        """
        key = object()
        with self._changed:
            self._watchers = {**self._watchers, key: callback}

        def end() -> None:
            with self._changed:
                self._watchers = {
                    other: each for other, each in self._watchers.items() if other != key
                }

        return end

    def nodes(self) -> tuple[str, ...]:
        """Return the full names of the nodes of the observed pipeline, sorted."""
        namespace = self._choice.namespace
        if namespace is None:
            return ()
        found = self._container.node.get_node_names_and_namespaces()
        running = {f"{place.rstrip('/')}/{name}" for name, place in found if name[:1] != "_"}
        reported = {
            node
            for process in self._monitor.snapshot(time.monotonic_ns()).processes
            for node in process.nodes
        }
        return tuple(
            sorted(node for node in running if node.startswith(f"{namespace}/") or node in reported)
        )

    def close(self) -> None:
        """Stop observing."""
        self._sampler.end()
        self._sensors.close()
        self._container.stop()
        self._spinner.join()
        self._invalid.finish()

    # In the executor's thread -------------------------------------------------------------------

    def _guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Return a callback whose exceptions are said; the executor's log would hide them."""

        @functools.wraps(callback)
        def call(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception as error:
                self._report_failure(error)

        return call

    def _look(self) -> None:
        """Look at the graph: what runs, and what it publishes."""
        now_ns = time.monotonic_ns()
        found = self._choice.found
        for place, text in self._choice.update(find_namespaces(self._container), now_ns):
            self._monitor.add_decision("pipeline", place, text, now_ns)
        if self._choice.found != found:
            self._note_change()
        namespace = self._choice.namespace
        if namespace is None:
            return
        for name in self._monitor.topics:
            topic = self._find_topic(name, namespace)
            if topic is not None and topic not in self._topics:
                # A platform manager of the pipeline's own may have started.
                for other in [each for each in self._topics if each.endswith(f"/{name}")]:
                    self._topics.pop(other)()
                self._subscribe(topic, functools.partial(self._receive, topic))
        self._follow_images(f"{namespace}/{_IMAGES}")
        self._find_twins(namespace)

    def _find_topic(self, name: str, namespace: str) -> str | None:
        """Return the topic of this name that somebody publishes; None where nobody does.

        That of a platform manager may be in another namespace: the one that nodes of the pipeline
        use, or the only state of a machine that there is.
        """
        node = self._container.node
        own = f"/{name}" if name in _GLOBAL_TOPICS else f"{namespace}/{name}"
        if node.count_publishers(own):
            return own
        if name not in _SHARED_TOPICS:
            return None
        others = [
            topic
            for topic, _ in node.get_topic_names_and_types()
            if topic.endswith(f"/{name}") and node.count_publishers(topic)
        ]
        if name != "platform_state":
            find_ends = (
                node.get_publishers_info_by_topic
                if name == "workload"
                else node.get_subscriptions_info_by_topic
            )
            others = [
                topic
                for topic in others
                if any(end.node_namespace.rstrip("/") == namespace for end in find_ends(topic))
            ]
        return others[0] if len(others) == 1 else None

    def _subscribe(self, topic: str, callback: Callable[[Any], None], depth: int = _DEPTH) -> None:
        is_result = any(topic.endswith(f"/{each.topic}") for each in RESULT_KINDS.rows().values())
        max_rate_hz = _RESULT_RATE_HZ if is_result else None
        try:
            end = self.observer.subscribe(
                topic, self._guard(callback), self._invalid.add, depth, max_rate_hz
            )
        except EdgeInferenceError as error:  # the messages of a kind of result are not installed
            self._invalid.add(error)
            end = _do_nothing
        self._topics[topic] = end

    def _follow_images(self, topic: str) -> None:
        if self._watchers and topic not in self._topics:
            self._subscribe(topic, self._receive_image, depth=1)
        elif not self._watchers and topic in self._topics:
            self._topics.pop(topic)()

    def _find_twins(self, namespace: str) -> None:
        topic = f"{namespace}/stage_timing"
        twins = find_twins(self._container.node.get_publishers_info_by_topic(topic))
        now_s = time.monotonic()
        if not twins:
            self._twins_s = None
        elif self._twins_s is None:
            self._twins_s = now_s
        elif now_s - self._twins_s > _CRASHED_S and twins != self._twins:
            self._twins = twins
            self._on_message(
                f"several nodes are called {', '.join(twins)}, so that their figures are mixed; "
                "end one of the pipelines, or start it in another namespace"
            )

    def _receive(self, topic: str, item: Any) -> None:
        now_ns = time.monotonic_ns()
        name = topic.rpartition("/")[2]
        namespace = self._choice.namespace or ""
        if name == "diagnostics":
            others = self._choice.others
            item = tuple(each for each in item if is_of_pipeline(each.name, namespace, others))
        elif name == "parameter_events":
            others = self._choice.others
            item = tuple(each for each in item if is_of_pipeline(each.node, namespace, others))
        elif name in ("workload", "performance_directive"):
            # One platform manager may serve several pipelines; a directive may address all nodes.
            if item.node and not item.node.startswith(f"{namespace}/"):
                return
        elif name == "process_statistics" and item.clock_id == clock_id() != 0:
            self._sensors.note_process(now_ns)
        elif name == "platform_state":
            self._sensors.note_report(now_ns)
        if name not in _GLOBAL_TOPICS:
            self._choice.note_message(now_ns)
        self._monitor.add(topic, item, now_ns)
        self._note_change()

    def _note_change(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def _receive_image(self, image: CompressedFrame) -> None:
        data = image.data.tobytes()
        for callback in self._watchers.values():
            callback(data, image.stamp_ns)

    # In a thread of its own ---------------------------------------------------------------------

    def _sample(self, worker: Worker) -> None:
        while not worker.wait(_HISTORY_PERIOD_S):
            self.history.append(self.snapshot())
            self._sensors.update(time.monotonic_ns())  # last: a board file may be invalid

    def _report_failure(self, error: BaseException) -> None:
        self._invalid.add(EdgeInferenceError(f"observing failed: {format_error(error)}"))


class RobotParameters:
    """The parameters of the nodes of the observed pipeline."""

    def __init__(self, session: MonitorSession) -> None:
        self._session = session

    def nodes(self) -> tuple[str, ...]:
        """Return the full names of the nodes, sorted."""
        return self._session.nodes()

    def read(self, node: str, timeout_s: float = _PARAMETER_TIMEOUT_S) -> tuple[ParameterRow, ...]:
        """Return the parameters of a node.

        Raises ConfigError for a node of another pipeline, EdgeInferenceError where it does not
        answer in time. Not for the executor's thread, and not for that of an event loop: it waits.
        """
        self._check(node)
        rows: tuple[ParameterRow, ...] = self._session.observer.parameters.read(node, timeout_s)
        return rows

    def change(
        self, node: str, name: str, value: object, timeout_s: float = _PARAMETER_TIMEOUT_S
    ) -> str:
        """Set a parameter; return why the node refuses, in its own words, empty if it does not.

        Raises as ``read`` does, and ConfigError for an unknown parameter or another type of value.
        """
        self._check(node)
        reason: str = self._session.observer.parameters.change(node, name, value, timeout_s)
        return reason

    def _check(self, node: str) -> None:
        nodes = self._session.nodes()
        if node not in nodes:
            raise ConfigError(
                f"{node[:200]!r}: expected a node of the observed pipeline, which are "
                f"{', '.join(nodes) or 'none now'}"
            )


@contextmanager
def open_monitor(
    command: str, namespace: str, on_message: Callable[[str], None], *, verbose: bool = False
) -> Iterator[MonitorSession]:
    """Observe the pipeline in ``namespace``; where it is empty, the first only one there is.

    It need not run yet: ``Snapshot.status`` says what is missing. ``on_message`` gets sentences
    for the user, from any thread. Raises ConfigError where ROS 2 is missing.
    """
    with open_container(command, verbose) as container:
        session = MonitorSession(container, namespace, on_message)
        try:
            yield session
        finally:
            session.close()


def _do_nothing() -> None:
    """End a subscription that was never made."""
