"""The namespace of a pipeline that a command runs: one that no other pipeline has."""

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

#: So long after its start a process may not know the nodes of others; some take longer.
_DISCOVERY_S = 1.0
_LOOK_S = 0.02


class NamespacedPipeline(NamedTuple):
    """A pipeline's components in a namespace; ``main_node`` is the name that tells it is there."""

    namespace: str
    components: Sequence[ComponentDescription]
    main_node: str

    def has_company(self, container: Container) -> bool:
        """Tell whether another pipeline has turned up in the same namespace."""
        names = container.node.get_node_names_and_namespaces()
        return bool(names.count((self.main_node, self.namespace)) > 1)


@contextmanager
def unique_namespace(
    container: Container,
    pipeline: Pipeline,
    arguments: Mapping[str, str],
    main_node: str,
    tell: Callable[[str], None],
) -> Iterator[NamespacedPipeline]:
    """Give a pipeline a namespace for the block.

    It is /ai where no node of another process there is called ``main_node``, else the first of
    /ai_2, /ai_3 … that is free, which ``tell`` hears. Runs on one machine agree by lock files, as
    they may start at the same moment; of others the graph tells, for which a container that has
    just been made waits a little.
    """
    from edge_inference.composition.container import find_plugin

    deadline_s = time.monotonic() + _DISCOVERY_S
    for component in pipeline.components(arguments):
        find_plugin(component.plugin)  # takes time, in which the others become known

    def is_there(own: str) -> bool:
        return (main_node, f"/{own}") in container.node.get_node_names_and_namespaces()

    domain = container.context.get_domain_id()
    with ExitStack() as held:
        for number in itertools.count(1):
            own = DEFAULT_NAMESPACE if number == 1 else f"{DEFAULT_NAMESPACE}_{number}"
            if not held.enter_context(_claimed(f"domain_{domain}_{own}_{main_node}")):
                continue
            while not is_there(own) and time.monotonic() < deadline_s:
                time.sleep(_LOOK_S)
            if not is_there(own):
                break
        if own != DEFAULT_NAMESPACE:
            tell(
                f"another pipeline runs in the namespace /{DEFAULT_NAMESPACE} (or was just killed "
                f"there): this one runs in /{own}, and its topics are /{own}/…"
            )
        yield NamespacedPipeline(f"/{own}", pipeline.components(arguments, own=own), main_node)


@contextmanager
def _claimed(name: str) -> Iterator[bool]:
    """Hold a name for the block; False where another process of this user holds it.

    Where no lock can be had the graph alone decides.
    """
    with ExitStack() as stack:
        try:
            folder = default_cache_folder() / "running"
            folder.mkdir(parents=True, exist_ok=True)
            is_ours = stack.enter_context(try_exclusive_lock(folder / f"{name}.lock"))
        except (CacheError, OSError):
            is_ours = True
        yield is_ours
