"""Pipeline descriptions: components with their parameters and names.

Reads ``config/pipelines/*.yaml``. Launch files and the command line use the
same description, so both start the same pipeline. This module does not import ROS.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from edge_inference.composition.container_plan import ContainerPlan, read_container_plan
from edge_inference.composition.parameter_format import format_value, parse_value
from edge_inference.composition.substitution import find_references, rename_references, substitute
from edge_inference.core.bounded_file import is_regular_file
from edge_inference.core.settings import setting, suggestion
from edge_inference.core.yaml_file import Section, load_yaml
from edge_inference.errors import ConfigError

_COMPRESSED = "/compressed"
# A limit, because the number of included pipelines can grow exponentially with their depth.
_MAX_INCLUDED = 64
#: Namespace of the shipped pipelines' nodes and topics.
DEFAULT_NAMESPACE = "ai"


@dataclass(frozen=True)
class Argument:
    """A value that the user of a pipeline can set."""

    name: str
    default: str
    description: str


@dataclass(frozen=True)
class _PipelineHeader:
    name: str = setting(description="name of the pipeline")
    description: str = setting(description="what the pipeline does, in a sentence")


@dataclass(frozen=True)
class _ArgumentEntry:
    description: str = setting(description="what the argument does, for --show-args")
    default: str = setting("", "value if the user gives none")


@dataclass(frozen=True)
class _ComponentEntry:
    name: str = setting(description="node name")
    plugin: str = setting(description="package::Class")
    namespace: str = setting("", "namespace below that of the pipeline")
    when: str = setting("", "an argument; the component is left out if it is empty")
    composed_only: bool = setting(False, "true leaves it out where each node has its own process")


@dataclass(frozen=True)
class _IncludeEntry:
    pipeline: str = setting(description="name of another pipeline, in this folder or shipped")


class _Component(NamedTuple):
    entry: _ComponentEntry
    parameters: dict[str, Any]
    remappings: dict[str, Any]

    @property
    def full_name(self) -> str:
        """The full name of the node; unique in a pipeline."""
        return _join_namespace(self.entry.namespace, self.entry.name)

    def renamed(self, names: Mapping[str, str]) -> _Component:
        """Return the component with renamed arguments."""
        return _Component(
            replace(self.entry, when=names.get(self.entry.when, self.entry.when)),
            {key: rename_references(value, names) for key, value in self.parameters.items()},
            {key: rename_references(value, names) for key, value in self.remappings.items()},
        )


class _Included(NamedTuple):
    """An included pipeline; ``names`` are the names of its arguments in the outer pipeline."""

    section: Section
    pipeline: Pipeline
    names: dict[str, str]


@dataclass(frozen=True)
class ComponentDescription:
    """One component: ``plugin`` is ``package::Class``; remappings map a name to a name.

    ``user_set`` are the names of the parameters that the user set by arguments. These take
    precedence over a parameter file; the other values of the description do not. A component that
    is ``composed_only`` is useless in a process of its own.
    """

    name: str
    plugin: str
    namespace: str
    parameters: Mapping[str, Any]
    remappings: Mapping[str, str]
    user_set: frozenset[str] = frozenset()
    composed_only: bool = False

    @property
    def package(self) -> str:
        """Return the package of the plugin."""
        return self.plugin.partition("::")[0]

    @property
    def executable(self) -> str:
        """Return the name of the executable of this component: the class name in snake_case."""
        class_name = self.plugin.rpartition("::")[2]
        return re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()

    def node_arguments(self, params_file: str = "") -> list[str]:
        """Return the ``--ros-args`` of this component; the file overrides its parameters."""
        arguments = ["--ros-args", "-r", f"__node:={self.name}", "-r", f"__ns:={self.namespace}"]
        for source, target in self.remappings.items():
            arguments += ["-r", f"{source}:={target}"]
        for name, value in self.parameters.items():
            arguments += ["-p", f"{name}:={format_value(value)}"]
        if params_file:
            arguments += ["--params-file", params_file]
        return arguments


@dataclass(frozen=True)
class Pipeline:
    """A description from a file, before its arguments are substituted."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    file: Path
    _components: tuple[_Component, ...]
    #: The components of each container; empty if all share one.
    containers: ContainerPlan = field(default_factory=dict)

    def components(
        self,
        values: Mapping[str, str] | None = None,
        namespace: str = "",
        base_namespace: str = DEFAULT_NAMESPACE,
        container: str = "",
    ) -> list[ComponentDescription]:
        """Substitute the arguments and return the components to start, in order.

        A component whose ``when`` argument is empty is left out; '' also counts as empty, because
        ros2 launch does not accept an argument without a value. ``namespace`` is the prefix of
        the namespaces of all components and of relative topics in remappings.
        ``base_namespace`` replaces the namespace ``ai``; if it differs from ``ai``, it is also
        the prefix of all other relative names, so that two pipelines do not collide.
        ``container`` selects the components of one of ``containers``.
        Raises ConfigError for an unknown argument or container.

        An ``<x>_topic`` that ends in /compressed means the topic without that ending, with
        ``<x>_transport`` set to compressed, if the pipeline has both arguments.
        """
        user_set = dict(values or {})
        known = {argument.name: argument.default for argument in self.arguments}
        for name in user_set:
            if name not in known:
                raise ConfigError(
                    f"pipeline {self.name}: unknown argument {name!r}{suggestion(name, known)}"
                )
        if container and container not in self.containers:
            raise ConfigError(
                f"pipeline {self.name}: unknown container {container!r}; expected one of "
                f"{list(self.containers)}"
            )
        user_set = _split_transports(user_set, known)
        values = {**known, **user_set}
        namespace = namespace.strip("/")
        return [
            ComponentDescription(
                name=entry.name,
                plugin=entry.plugin,
                namespace=_join_namespace(
                    namespace, _replace_namespace(base_namespace, entry.namespace)
                ),
                parameters=substitute(parameters, values),
                remappings={
                    source: _join_namespace(
                        namespace, _replace_namespace(base_namespace, str(target))
                    )
                    for source, target in substitute(remappings, values).items()
                },
                user_set=frozenset(
                    name
                    for name, value in parameters.items()
                    if find_references(value) & user_set.keys()
                ),
                composed_only=entry.composed_only,
            )
            for entry, parameters, remappings in self._components
            if (not container or entry.name in self.containers[container])
            and (not entry.when or parse_value(values[entry.when]) != "")
        ]


def load_pipeline(name_or_file: str) -> Pipeline:
    """Read a pipeline by file, or by name from ``config/pipelines``.

    Raises ConfigError with file, line and key.
    """
    path = Path(name_or_file)
    if path.suffix not in (".yaml", ".yml"):
        path = share_folder() / "config" / "pipelines" / f"{name_or_file}.yaml"
    if not is_regular_file(path):
        raise ConfigError(
            f"unknown pipeline {name_or_file!r}: {path} does not exist; expected one of "
            f"{_list_pipelines(path)}"
        )
    return _read_pipeline(path, (), [])


def _read_pipeline(path: Path, outer: tuple[Path, ...], read: list[Path]) -> Pipeline:
    """Read a file; ``outer`` are the files that include it, ``read`` all files read so far."""
    root = load_yaml(path)
    head = root.read(_PipelineHeader, "arguments", "include", "components", "containers")
    included: Sequence[_Included] = ()
    if "include" in root:
        chain = (*outer, path.resolve())
        included = [
            _read_included(each, path, chain, read) for each in root.section_list("include")
        ]
    own_arguments = _read_arguments(root) if "arguments" in root or not included else ()
    arguments = _merge_arguments(own_arguments, included)
    sections = root.section_list("components") if "components" in root or not included else ()
    names = {argument.name for argument in arguments}
    components = _merge_components(
        [(each, _read_component(each, names)) for each in sections], included
    )
    plan = read_container_plan(
        root,
        [each.entry.name for each in components],
        [each.pipeline.containers for each in included],
    )
    return Pipeline(head.name, head.description, arguments, path, components, plan)


def _read_arguments(root: Section) -> tuple[Argument, ...]:
    return tuple(
        Argument(name, entry.default, entry.description)
        for name, section in root.sections("arguments").items()
        for entry in [section.read(_ArgumentEntry)]
    )


def _read_included(
    section: Section, path: Path, outer: tuple[Path, ...], read: list[Path]
) -> _Included:
    """Read an included pipeline and the new names of its arguments."""
    name = section.read(_IncludeEntry, "rename").pipeline
    shipped = share_folder() / "config" / "pipelines"
    files = [folder / f"{name}.yaml" for folder in (path.parent, shipped)]
    file = next((file for file in files if is_regular_file(file)), None)
    if file is None:
        present = sorted(
            {*_list_pipelines(path), *_list_pipelines(shipped / path.name)} - {path.stem}
        )
        raise section.error("pipeline", f"unknown pipeline {name!r}; expected one of {present}")
    if file.resolve() in outer:
        cycle = " -> ".join((*(each.stem for each in outer), name))
        raise section.error("pipeline", f"pipelines include each other: {cycle}")
    if len(read) >= _MAX_INCLUDED:
        raise section.error("pipeline", f"expected at most {_MAX_INCLUDED} included pipelines")
    read.append(file)
    pipeline = _read_pipeline(file, outer, read)
    known = {argument.name: argument.name for argument in pipeline.arguments}
    renamed = section.section("rename") if "rename" in section else {}
    for old, new in renamed.items():
        if old not in known:
            raise section.error(
                "rename", f"pipeline {name} has no argument {old!r}{suggestion(old, known)}"
            )
        if not isinstance(new, str) or not re.fullmatch(r"\w+", new):
            raise section.error("rename", f"{old}: expected a name of letters, digits and _")
        known[old] = new
    return _Included(section, pipeline, known)


def _merge_arguments(
    own: Sequence[Argument], included: Sequence[_Included]
) -> tuple[Argument, ...]:
    """Return our own arguments and those of the included pipelines.

    One of our own replaces all included arguments of the same name.
    """
    merged = {argument.name: argument for argument in own}
    owners: dict[str, str] = {}
    for section, pipeline, names in included:
        for argument in pipeline.arguments:
            name = names[argument.name]
            if name in owners:
                raise section.error(
                    None,
                    f"{owners[name]} and {pipeline.name} both have an argument {name!r}: rename "
                    f"one of them, or declare {name!r} under arguments for both",
                )
            if name not in merged:
                merged[name] = replace(argument, name=name)
                owners[name] = pipeline.name
    return tuple(merged.values())


def _merge_components(
    own: Sequence[tuple[Section, _Component]], included: Sequence[_Included]
) -> tuple[_Component, ...]:
    """Return our own and the included components; equal ones are merged."""
    merged: dict[str, _Component] = {}
    for section, component, may_repeat in _iterate_components(own, included):
        before = merged.setdefault(component.full_name, component)
        if before is not component and not (may_repeat and before == component):
            raise section.error(
                None,
                f"duplicate component {component.full_name}"
                + (", with another plugin, parameters or remappings" if may_repeat else ""),
            )
    return tuple(merged.values())


def _iterate_components(
    own: Sequence[tuple[Section, _Component]], included: Sequence[_Included]
) -> Iterator[tuple[Section, _Component, bool]]:
    """Yield every component with its section, and whether it may repeat an earlier one."""
    for section, component in own:
        yield section, component, False
    for section, pipeline, names in included:
        for component in pipeline._components:
            yield section, component.renamed(names), True


def _list_pipelines(path: Path) -> list[str]:
    return sorted(file.stem for file in path.parent.glob("*.yaml"))


def share_folder() -> Path:
    """Return the folder of config, launch and models: of the source tree, or the installed one."""
    source_tree = Path(__file__).resolve().parents[2]
    prefixes = [
        *filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)),
        sys.prefix,
    ]
    candidates = [source_tree, *(Path(prefix) / "share" / "edge_inference" for prefix in prefixes)]
    for folder in candidates:
        if (folder / "config" / "pipelines").is_dir():
            return folder
    raise ConfigError(
        "expected the folder config/pipelines of edge_inference in one of "
        + ", ".join(str(folder) for folder in candidates)
        + "; install the package or set AMENT_PREFIX_PATH"
    )


def _read_component(section: Section, arguments: set[str]) -> _Component:
    entry = section.read(_ComponentEntry, "parameters", "remappings")
    parameters = section.section("parameters").plain() if "parameters" in section else {}
    remappings = section.section("remappings").plain() if "remappings" in section else {}
    used = [entry.when] if entry.when else []
    for value in (*parameters.values(), *remappings.values()):
        used += find_references(value)
    for name in used:
        if name not in arguments:
            raise section.error(None, f"unknown argument {name!r}{suggestion(name, arguments)}")
    return _Component(entry, parameters, remappings)


def _join_namespace(namespace: str, name: str) -> str:
    """Prefix a relative name with a namespace; absolute and private names stay as they are."""
    if name.startswith(("/", "~")):
        return name
    return "/" + "/".join(filter(None, (namespace, name)))


def _replace_namespace(base_namespace: str, name: str) -> str:
    """Move a relative name from ``ai`` to another namespace; other names stay as they are."""
    if base_namespace == DEFAULT_NAMESPACE or name.startswith(("/", "~")):
        return name
    head, _, rest = name.partition("/")
    return "/".join(filter(None, (base_namespace, rest if head == DEFAULT_NAMESPACE else name)))


def _split_transports(user_set: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """Split topics that end with their transport, as in image_transport, into both arguments."""
    split = dict(user_set)
    for name, value in user_set.items():
        transport = name.removesuffix("_topic") + "_transport"
        if name.endswith("_topic") and transport in known and value.endswith(_COMPRESSED):
            split[name] = value.removesuffix(_COMPRESSED)
            split[transport] = _COMPRESSED.strip("/")
    return split
