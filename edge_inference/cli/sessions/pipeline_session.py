"""A pipeline that a command runs in its own process, and observes on the bus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge_inference.cli.command_container import open_container
from edge_inference.cli.run_namespace import NamespacedPipeline, unique_namespace
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.errors import ConfigError

if TYPE_CHECKING:
    from edge_inference.composition.container import Container

#: The node that identifies a pipeline in the graph, where it is not the inference node.
_MAIN_NODES = {"voice": "speech_recognition"}


class PipelineSession:
    """A pipeline in this process; made by :func:`open_pipeline`.

    ``namespace`` is that of its topics; ``nodes`` are its components by name.
    """

    def __init__(
        self, container: Container, pipeline: NamespacedPipeline, params_file: str = ""
    ) -> None:
        from edge_inference.composition.bus import Bus

        self.container = container
        self.pipeline = pipeline
        self.namespace = pipeline.namespace
        self.nodes: dict[str, Any] = {}
        self._params_file = params_file
        self._bus = Bus.of(container.context)
        self._untap: list[Callable[[], None]] = []
        self._spinner = threading.Thread(target=container.spin, name="executor", daemon=True)

    def tap(self, topic: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Pass every object on a topic to ``callback``, in the thread of the publisher.

        A relative name is in the namespace of the pipeline. Returns the function that ends the tap;
        ``close`` ends it too.
        """
        name = topic if topic.startswith("/") else f"{self.namespace}/{topic}"
        untap = self._bus.tap(name, callback)
        self._untap.append(untap)
        return untap

    def load(self) -> None:
        """Load the components; raises ConfigError with the message of each one that fails.

        A source of files may publish before this returns.
        """
        from edge_inference.composition.process import load_components

        own_nodes = len(self.container.components)  # of the command, loaded before
        failures = load_components(self.container, self.pipeline.components, self._params_file)
        nodes_by_reason: dict[str, list[str]] = {}
        for loaded in self.container.components[own_nodes:]:
            name = loaded.node.get_name()
            self.nodes[name] = loaded.node
            if loaded.failure:
                reasons = [text for _, text in loaded.node.health.take_errors()]
                nodes_by_reason.setdefault((reasons or [loaded.failure])[-1], []).append(name)
        # Several nodes may report the same error of one file.
        failures += [f"{', '.join(names)}: {reason}" for reason, names in nodes_by_reason.items()]
        if failures:
            raise ConfigError("; ".join(failures))

    def start(self) -> None:
        """Let data flow."""
        self._spinner.start()

    def close(self) -> None:
        """End all taps and stop the executor."""
        for untap in self._untap:
            untap()
        self.container.stop()
        if self._spinner.is_alive():
            self._spinner.join()


@contextmanager
def open_pipeline(
    command: str,
    pipeline: str,
    arguments: Mapping[str, str],
    on_message: Callable[[str], None],
    *,
    params_file: str = "",
    verbose: bool = False,
    is_loaded: bool = True,
) -> Iterator[PipelineSession]:
    """Yield a loaded pipeline; tap its topics, then call ``start``.

    With ``is_loaded`` False call ``load`` before, and tap before that what a source publishes at
    once. ``command`` is named in errors. ``arguments`` are those of the pipeline. ``on_message``
    gets a sentence if the namespace is not the usual one. Raises ConfigError where the pipeline
    does not start.
    """
    description = load_pipeline(pipeline)
    main_node = _MAIN_NODES.get(pipeline, "inference")
    with (
        open_container(command, verbose) as container,
        unique_namespace(container, description, arguments, main_node, on_message) as namespaced,
    ):
        session = PipelineSession(container, namespaced, params_file)
        try:
            if is_loaded:
                session.load()
            yield session
        finally:
            session.close()
