"""A container that spins in a thread, and another node in a separate process."""

from __future__ import annotations

import base64
import gc
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
import rclpy
from rclpy.context import Context

from edge_inference.composition.bus import Bus
from edge_inference.composition.container import Container, LoadedComponent
from edge_inference.composition.parameter_format import format_value

# Long, because the machine may be busy; only a test that fails waits for it.
DEADLINE_S = 300.0
_CHECK_PERIOD_S = 0.01

_changed = threading.Condition()


def notify() -> None:
    """Wake the threads that wait for a change."""
    with _changed:
        _changed.notify_all()


def wait_for(predicate: Callable[[], Any], what: str = "", deadline_s: float = DEADLINE_S) -> Any:
    """Wait until ``predicate`` gives something true and return it; fail at the deadline.

    Checks again after each collected item, and periodically.
    """
    end = time.monotonic() + deadline_s
    while not (value := predicate()):
        if time.monotonic() > end:
            pytest.fail(f"{what or 'the condition'} did not happen in {deadline_s:g} s")
        with _changed:
            _changed.wait(_CHECK_PERIOD_S)
    return value


class Collected(list):
    """What arrived, in order."""

    def take(self, item: Any) -> None:
        self.append(item)
        notify()

    def wait(self, count: int = 1) -> Collected:
        """Wait for at least so many, from the start."""
        wait_for(lambda: len(self) >= count, f"{count} items, there are {len(self)}; they")
        return self


class Rig:
    """A context, a container on it, and the thread that spins it.

    Each container of a process has a name of its own, so that a test sees which one has gone.
    """

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        # Nodes contain reference cycles. One that is not freed keeps its context's participant, and
        # all participants of a domain communicate.
        gc.collect()
        self.context = Context()
        rclpy.init(args=[], context=self.context)
        self.name = f"container_{next(self._numbers)}"
        self.container = Container(self.context, self.name)
        self._thread = threading.Thread(target=self.container.spin, name="spin")
        self._thread.start()

    def call(self, function: Callable[[], Any]) -> Any:
        """Run a function in the executor's thread, as a service call would."""
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self.container.executor.create_task(run)
        return future.result(DEADLINE_S)

    def load(self, plugin: str, *arguments: str, autostart: bool = True, **parameters: Any) -> Any:
        """Load a component with parameters and further ROS arguments; return its node."""
        return self.load_component(plugin, *arguments, autostart=autostart, **parameters).node

    def load_component(
        self, plugin: str, *arguments: str, autostart: bool = True, **parameters: Any
    ) -> LoadedComponent:
        node_arguments = ["--ros-args", *arguments]
        for name, value in parameters.items():
            node_arguments += ["-p", f"{name}:={format_value(value)}"]
        if "::" not in plugin:
            plugin = f"edge_inference::{plugin}"
        return self.call(lambda: self.container.load(plugin, node_arguments, autostart))

    def tap(self, topic: str) -> Collected:
        """Collect the objects on a topic without a subscription."""
        collected = Collected()
        Bus.of(self.context).tap(topic, collected.take)
        return collected

    def wait_for_publishers(self, node: Any, topic: str, publishers: int = 1) -> None:
        """Wait until a node's subscription has matched this many publishers."""
        wait_for(
            lambda: any(
                subscription.topic_name == topic
                and subscription.get_publisher_count() >= publishers
                for subscription in node.subscriptions
            ),
            f"{publishers} publishers on {topic} for {node.get_name()}",
        )

    def wait_for_subscribers(self, node: Any, topic: str, subscribers: int = 1) -> None:
        """Wait until a node's publisher has matched this many ROS subscriptions."""
        wait_for(
            lambda: any(
                publisher.topic_name == topic and publisher.get_subscription_count() >= subscribers
                for publisher in node.publishers
            ),
            f"{subscribers} subscriptions on {topic} of {node.get_name()}",
        )

    def close(self) -> None:
        self.container.stop()
        self._thread.join()
        self.container.close()
        self.context.try_shutdown()


class Outside:
    """Talks to ``outside_process.py``; every method of its class can be called here.

    If it stands still (Fast DDS can deadlock), it is ended with a traceback, and only the test that
    waited for it fails.
    """

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("outside_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ids = itertools.count()
        self._answers: dict[int, Future[Any]] = {}
        self._received: dict[str, Collected] = {}
        self._ready = threading.Event()
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()
        assert self._ready.wait(DEADLINE_S), "the outside process did not start"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda **named: self._ask(name, **named)

    def listen(
        self, topic: str, message_type: str, reliable: bool = True, latched: bool = False
    ) -> Collected:
        """Subscribe and collect; wait for ``Publisher.has_subscribers`` before counting on it."""
        self._received[topic] = Collected()
        self._ask("subscribe", topic=topic, type=message_type, reliable=reliable, latched=latched)
        return self._received[topic]

    def speak(
        self, topic: str, message_type: str, listeners: int = 1, reliable: bool = True
    ) -> Callable[..., None]:
        """Advertise, wait for listeners, and return a function that publishes fields."""
        self._ask("advertise", topic=topic, type=message_type, reliable=reliable)
        wait_for(
            lambda: self._ask("subscribers", topic=topic) >= listeners, f"a listener on {topic}"
        )
        return lambda **fields: self._ask("publish", topic=topic, fields=fields)

    def speak_to_one_that_follows(
        self, topic: str, message_type: str, reliable: bool = True
    ) -> Callable[..., None]:
        """Advertise to one subscription that follows its publishers' reliability.

        Waits until it has: what is sent while it changes may be lost.
        """
        speak = self.speak(topic, message_type, 0, reliable)
        wait_for(
            lambda: (
                self._ask("listeners_are_reliable", topic=topic) == [reliable]
                and self._ask("subscribers", topic=topic) == 1
            ),
            f"a listener on {topic} that is {'reliable' if reliable else 'best effort'}",
        )
        return speak

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all threads of the process, also those of its middleware."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _ask(self, do: str, **arguments: Any) -> Any:
        number = next(self._ids)
        answer = self._answers[number] = Future()
        self._process.stdin.write(json.dumps({"id": number, "do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        try:
            return answer.result(DEADLINE_S)
        except FutureTimeoutError:
            self._process.send_signal(signal.SIGABRT)
            self.close()
            self._start()
            raise

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            value = json.loads(line)
            if "topic" in value:
                self._received[value["topic"]].take(value["message"])
            elif "id" not in value:
                self._ready.set()
            elif "error" in value:
                self._answers.pop(value["id"]).set_exception(RuntimeError(value["error"]))
            else:
                self._answers.pop(value["id"]).set_result(value["result"])


def later(monkeypatch: pytest.MonkeyPatch, module: types.ModuleType) -> Callable[[float], None]:
    """Return what lets so many seconds pass at once on the clock that a module reads."""
    passed_s: list[float] = []
    clock, clock_ns = time.monotonic, time.monotonic_ns
    its_time = types.SimpleNamespace(
        monotonic=lambda: clock() + sum(passed_s),
        monotonic_ns=lambda: clock_ns() + int(sum(passed_s) * 1e9),
    )
    monkeypatch.setattr(module, "time", its_time)
    return passed_s.append


def as_base64(data: bytes) -> str:
    """Encode bytes for the outside process."""
    return base64.b64encode(data).decode()
