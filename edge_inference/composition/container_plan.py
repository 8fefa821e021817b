"""Which components of a pipeline share a process, where its description parts them.

Without ROS, as the pipeline descriptions themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.settings import setting, suggestion
from edge_inference.core.yaml_file import Section

#: Names of components by the name of their container; empty where one process has them all.
ContainerPlan = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class _ContainerEntry:
    name: str = setting(description="node name of the container")
    components: tuple[str, ...] = setting(description="node names of the components in it")


def read_container_plan(
    root: Section, names: Iterable[str], included: Sequence[ContainerPlan]
) -> ContainerPlan:
    """Return the containers that a description names, else those of the pipelines in it.

    ``names`` are those of its components, each of which is in one container where there are any.
    Raises ConfigError with the place of what is wrong.
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
    whose: dict[str, str] = {}
    for section, entry in entries:
        if not re.fullmatch(r"[A-Za-z_]\w*", entry.name, re.ASCII):
            raise section.error("name", "expected a node name of letters, digits and _")
        if "containers" in root and entry.name in plan:
            raise section.error("name", f"a container {entry.name!r} is there already")
        for name in entry.components:
            if name not in known:
                raise section.error(
                    "components", f"no component is called {name!r}{suggestion(name, known)}"
                )
            if whose.setdefault(name, entry.name) != entry.name:
                raise section.error("components", f"{name} is in {whose[name]} and in {entry.name}")
        plan[entry.name] = plan.get(entry.name, frozenset()) | frozenset(entry.components)
    left = sorted(known - whose.keys()) if plan else []
    if left:
        raise root.error(
            "containers" if "containers" in root else None,
            f"{', '.join(left)}: in no container; name each component under containers",
        )
    return plan
