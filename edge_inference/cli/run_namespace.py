"""Reserves a namespace that no other pipeline uses for a pipeline that a command runs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from edge_inference.composition.pipeline import DEFAULT_NAMESPACE, ComponentDescription, Pipeline
from edge_inference.engines.cache.cache_folder import default_cache_folder
from edge_inference.engines.cache.cache_lock import try_exclusive_lock
from edge_inference.errors import CacheError

if TYPE_CHECKING:
    from edge_inference.composition.container import Container

#: Usual time after the start of a process until it has discovered the nodes of others.
_DISCOVERY_S = 1.0
_POLL_PERIOD_S = 0.02


class NamespacedPipeline(NamedTuple):
    """A pipeline's components in a namespace; its ``main_node`` identifies it in the graph."""

    namespace: str
    components: Sequence[ComponentDescription]
    main_node: str

    def is_shared(self, container: Container) -> bool:
        """Tell whether another pipeline has started in the same namespace."""
        names = container.node.get_node_names_and_namespaces()
        return bool(names.count((self.main_node, self.namespace)) > 1)


@contextmanager
def unique_namespace(
    container: Container,
    pipeline: Pipeline,
    arguments: Mapping[str, str],
    main_node: str,
    on_message: Callable[[str], None],
) -> Iterator[NamespacedPipeline]:
    """Reserve a namespace for a pipeline for the duration of the block.

    The namespace is /ai unless a node of another process there is called ``main_node``; else it is
    the first free one of /ai_2, /ai_3 …, and ``on_message`` gets a sentence about it. Processes on
    one machine coordinate by lock files, because they may start at the same moment. The graph
    shows pipelines on other machines, so a new container waits a moment for discovery.
    """
    from edge_inference.composition.container import find_plugin

    deadline_s = time.monotonic() + _DISCOVERY_S
    for component in pipeline.components(arguments):
        find_plugin(component.plugin)  # imports take time, and discovery goes on meanwhile

    def is_used(own: str) -> bool:
        return (main_node, f"/{own}") in container.node.get_node_names_and_namespaces()

    domain = container.context.get_domain_id()
    with ExitStack() as locks:
        for number in itertools.count(1):
            own = DEFAULT_NAMESPACE if number == 1 else f"{DEFAULT_NAMESPACE}_{number}"
            if not locks.enter_context(_try_lock(f"domain_{domain}_{own}_{main_node}")):
                continue
            while not is_used(own) and time.monotonic() < deadline_s:
                time.sleep(_POLL_PERIOD_S)
            if not is_used(own):
                break
        if own != DEFAULT_NAMESPACE:
            on_message(
                f"another pipeline runs in the namespace /{DEFAULT_NAMESPACE} (or was just killed "
                f"there): this one runs in /{own}, and its topics are /{own}/…"
            )
        yield NamespacedPipeline(
            f"/{own}", pipeline.components(arguments, base_namespace=own), main_node
        )


@contextmanager
def _try_lock(name: str) -> Iterator[bool]:
    """Lock a name for the block; yield False where another process of this user holds it.

    Yields True where no lock file can be made: the graph alone then decides.
    """
    with ExitStack() as stack:
        try:
            folder = default_cache_folder() / "running"
            folder.mkdir(parents=True, exist_ok=True)
            is_ours = stack.enter_context(try_exclusive_lock(folder / f"{name}.lock"))
        except (CacheError, OSError):
            is_ours = True
        yield is_ours
