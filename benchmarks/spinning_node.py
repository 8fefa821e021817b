"""A node that spins in a thread, for another process of the robot."""

from __future__ import annotations

import threading

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

_SPIN_TIMEOUT_S = 0.2


class SpinningNode:
    """A subclass makes its subscriptions on ``self.node``, and has methods for its process."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self.node = Node("listener", context=self._context)
        self._executor.add_node(self.node)
        self._closing = threading.Event()
        self._spinner = threading.Thread(target=self._spin, daemon=True)
        self._spinner.start()

    def close(self) -> None:
        """Leave the graph."""
        self._closing.set()
        self._spinner.join()
        self._executor.shutdown()
        self._context.try_shutdown()

    def _spin(self) -> None:
        while not self._closing.is_set():
            self._executor.spin_once(timeout_sec=_SPIN_TIMEOUT_S)
