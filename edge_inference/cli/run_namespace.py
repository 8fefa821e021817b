"""A unique namespace for the pipeline that a command runs."""

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

#: A new process usually discovers the nodes of other processes within this time.
_DISCOVERY_S = 1.0
_POLL_PERIOD_S = 0.02


class NamespacedPipeline(NamedTuple):
    """A pipeline's components in a namespace; its node ``main_node`` marks the pipeline."""

    namespace: str
    components: Sequence[ComponentDescription]
    main_node: str

    def is_shared(self, container: Container) -> bool:
        """Tell whether another pipeline runs in the same namespace."""
        names = container.node.get_node_names_and_namespaces()
        return bool(names.count((self.main_node, self.namespace)) > 1)


@contextmanager
def unique_namespace(
    container: Container,
    pipeline: Pipeline,
    arguments: Mapping[str, str],
    main_node: str,
    report: Callable[[str], None],
) -> Iterator[NamespacedPipeline]:
    """Reserve a namespace for a pipeline for the duration of the block.

    It is /ai unless a node of another process there is called ``main_node``, else the first free
    one of /ai_2, /ai_3 …, which ``report`` is told. Lock files keep runs on one machine apart,
    because they may start at the same moment. The graph shows the nodes of other machines, so a new
    container waits for discovery.
    """
    from edge_inference.composition.container import find_plugin

    deadline_s = time.monotonic() + _DISCOVERY_S
    for component in pipeline.components(arguments):
        find_plugin(component.plugin)  # takes time, during which other nodes are discovered

    def is_used(own: str) -> bool:
        return (main_node, f"/{own}") in container.node.get_node_names_and_namespaces()

    domain = container.context.get_domain_id()
    with ExitStack() as stack:
        for number in itertools.count(1):
            own = DEFAULT_NAMESPACE if number == 1 else f"{DEFAULT_NAMESPACE}_{number}"
            if not stack.enter_context(_reserve_name(f"domain_{domain}_{own}_{main_node}")):
                continue
            while not is_used(own) and time.monotonic() < deadline_s:
                time.sleep(_POLL_PERIOD_S)
            if not is_used(own):
                break
        if own != DEFAULT_NAMESPACE:
            report(
                f"another pipeline runs in the namespace /{DEFAULT_NAMESPACE} (or was just killed "
                f"there): this one runs in /{own}, and its topics are /{own}/…"
            )
        yield NamespacedPipeline(f"/{own}", pipeline.components(arguments, own=own), main_node)


@contextmanager
def _reserve_name(name: str) -> Iterator[bool]:
    """Hold a lock for the block; yield False if another process of this user holds it.

    If no lock file can be written, only the graph keeps runs apart.
    """
    with ExitStack() as stack:
        try:
            folder = default_cache_folder() / "running"
            folder.mkdir(parents=True, exist_ok=True)
            is_ours = stack.enter_context(try_exclusive_lock(folder / f"{name}.lock"))
        except (CacheError, OSError):
            is_ours = True
        yield is_ours
