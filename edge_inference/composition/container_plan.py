"""The containers of a pipeline: which of its components share a process.

Does not import ROS, like the pipeline descriptions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.settings import setting, suggestion
from edge_inference.core.yaml_file import Section

#: Names of components by container name; empty if one container has all of them.
ContainerPlan = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class _ContainerEntry:
    name: str = setting(description="node name of the container")
    components: tuple[str, ...] = setting(description="node names of the components in it")


def read_container_plan(
    root: Section, names: Iterable[str], included: Sequence[ContainerPlan]
) -> ContainerPlan:
    """Return the containers of a description, else those of its included pipelines.

    ``names`` are the names of its components. If there are containers, each component is in
    exactly one of them. Raises ConfigError with the place of the error.
    """
    plan: dict[str, frozenset[str]] = {}
    if "containers" in root:
        entries = [(each, each.read(_ContainerEntry)) for each in root.section_list("containers")]
    else:
        entries = [
            (root, _ContainerEntry(name, tuple(sorted(components))))
            for each in included
            for name, components in each.items()
        ]
    known = set(names)
    owners: dict[str, str] = {}
    for section, entry in entries:
        if not re.fullmatch(r"[A-Za-z_]\w*", entry.name, re.ASCII):
            raise section.error("name", "expected a node name of letters, digits and _")
        if "containers" in root and entry.name in plan:
            raise section.error("name", f"expected a new name, got {entry.name!r} twice")
        for name in entry.components:
            if name not in known:
                raise section.error(
                    "components", f"unknown component {name!r}{suggestion(name, known)}"
                )
            if owners.setdefault(name, entry.name) != entry.name:
                raise section.error(
                    "components", f"{name} is in {owners[name]} and in {entry.name}"
                )
        plan[entry.name] = plan.get(entry.name, frozenset()) | frozenset(entry.components)
    unassigned = sorted(known - owners.keys()) if plan else []
    if unassigned:
        raise root.error(
            "containers" if "containers" in root else None,
            f"{', '.join(unassigned)}: in no container; list each component under containers",
        )
    return plan
