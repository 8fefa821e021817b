"""What the dashboard shows, and what it lets a page do, whoever observes the robot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from edge_inference.observe.monitor.history import History
from edge_inference.observe.monitor.parameter_row import ParameterRow
from edge_inference.observe.monitor.snapshot import Snapshot


class FeedParameters(Protocol):
    """The parameters of the observed nodes.

    Both methods wait for the node, for a bounded time, and raise EdgeInferenceError with a sentence
    where there is no such node, or it does not answer.
    """

    def read(self, node: str) -> Sequence[ParameterRow]:
        """Return the parameters of a node, by its full name."""

    def change(self, node: str, name: str, value: object) -> str:
        """Set a parameter; return why the node refuses, empty if it does not."""


class DashboardFeed(Protocol):
    """An observed robot. Its methods are called from several threads; these two return at once."""

    @property
    def history(self) -> History:
        """The figures of the last hour."""

    @property
    def parameters(self) -> FeedParameters:
        """The parameters of its nodes."""

    def snapshot(self) -> Snapshot:
        """Return what is known now."""

    def watch_image(self, callback: Callable[[bytes, int], None]) -> Callable[[], None]:
        """Call ``callback`` with each annotated image (JPEG) and its capture stamp in nanoseconds.

        Return a function that ends it. The callback returns at once, and comes from any thread.
        """
