"""Pipeline descriptions: which components, with which parameters, under which names.

Reads ``config/pipelines/*.yaml``. Launch files and the command line use the
same description, so a pipeline is the same however it is started. This module
does not import ROS.
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
# Two that each include two, and so on, would never be read to an end.
_MOST_INCLUDED = 64
#: Namespace of the shipped pipelines' nodes and topics.
DEFAULT_NAMESPACE = "ai"


@dataclass(frozen=True)
class Argument:
    """A value that the user of a pipeline may give."""

    name: str
    default: str
    description: str


@dataclass(frozen=True)
class _Head:
    name: str = setting(description="how the pipeline is called")
    description: str = setting(description="what it does, in a sentence")


@dataclass(frozen=True)
class _ArgumentEntry:
    description: str = setting(description="what it does, for --show-args")
    default: str = setting("", "value where the user gives none")


@dataclass(frozen=True)
class _ComponentEntry:
    name: str = setting(description="node name")
    plugin: str = setting(description="package::Class")
    namespace: str = setting("", "namespace below the pipeline's")
    when: str = setting("", "an argument; the component is left out while it is empty")


@dataclass(frozen=True)
class _IncludeEntry:
    pipeline: str = setting(description="name of another pipeline, beside this one or shipped")


class _Component(NamedTuple):
    entry: _ComponentEntry
    parameters: dict[str, Any]
    remappings: dict[str, Any]

    @property
    def place(self) -> str:
        """The node's full name, which only one component may have."""
        return _below(self.entry.namespace, self.entry.name)

    def renamed(self, names: Mapping[str, str]) -> _Component:
        """Return it with other names for its arguments."""
        return _Component(
            replace(self.entry, when=names.get(self.entry.when, self.entry.when)),
            {key: rename_references(value, names) for key, value in self.parameters.items()},
            {key: rename_references(value, names) for key, value in self.remappings.items()},
        )


class _Included(NamedTuple):
    """A pipeline in another one: ``names`` are those that its arguments have there."""

    section: Section
    pipeline: Pipeline
    names: dict[str, str]


@dataclass(frozen=True)
class ComponentDescription:
    """One component: ``plugin`` is ``package::Class``; remappings are from name to name.

    ``given`` names the parameters that the user gave as arguments: they hold
    against a parameter file, the description's own values do not.
    """

    name: str
    plugin: str
    namespace: str
    parameters: Mapping[str, Any]
    remappings: Mapping[str, str]
    given: frozenset[str] = frozenset()

    @property
    def package(self) -> str:
        """Return the package of the plugin."""
        return self.plugin.partition("::")[0]

    @property
    def executable(self) -> str:
        """Return the name of the executable that runs this component alone: Class as snake_case."""
        class_name = self.plugin.rpartition("::")[2]
        return re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()

    def node_arguments(self, params_file: str = "") -> list[str]:
        """Return the ``--ros-args`` of this component; the file's values replace its own."""
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
    """A description read from a file, before its arguments are filled in."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    file: Path
    _components: tuple[_Component, ...]
    #: Which components share a process; empty where all do.
    containers: ContainerPlan = field(default_factory=dict)

    def components(
        self,
        values: Mapping[str, str] | None = None,
        namespace: str = "",
        own: str = DEFAULT_NAMESPACE,
        container: str = "",
    ) -> list[ComponentDescription]:
        """Fill in the arguments and return the components to start, in order.

        A component whose ``when`` argument is empty is left out; '' says so too, as ros2 launch
        does not take an argument without a value. ``namespace``
        goes before every component's own and before relative topics in the
        remappings. ``own`` stands for the pipelines' own namespace, ``ai``; where it is another
        one it goes before all other relative names too, so that two pipelines keep apart.
        ``container`` gives the components of one of ``containers`` alone.
        Raises ConfigError for a value whose argument, or a container, does not exist.

        ``<x>_topic`` that ends in /compressed stands for the topic before it
        with ``<x>_transport`` compressed, where the pipeline has both.
        """
        given = dict(values or {})
        known = {argument.name: argument.default for argument in self.arguments}
        for name in given:
            if name not in known:
                raise ConfigError(
                    f"pipeline {self.name}: unknown argument {name!r}{suggestion(name, known)}"
                )
        if container and container not in self.containers:
            raise ConfigError(
                f"pipeline {self.name}: no container {container!r}; there are "
                f"{list(self.containers)}"
            )
        given = _with_transports(given, known)
        values = {**known, **given}
        namespace = namespace.strip("/")
        return [
            ComponentDescription(
                name=entry.name,
                plugin=entry.plugin,
                namespace=_below(namespace, _apart(own, entry.namespace)),
                parameters=substitute(parameters, values),
                remappings={
                    source: _below(namespace, _apart(own, str(target)))
                    for source, target in substitute(remappings, values).items()
                },
                given=frozenset(
                    name
                    for name, value in parameters.items()
                    if find_references(value) & given.keys()
                ),
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
            f"no pipeline {name_or_file!r}: {path} does not exist; there are {_present(path)}"
        )
    return _read(path, (), [])


def _read(path: Path, outer: tuple[Path, ...], read: list[Path]) -> Pipeline:
    """Read a file; ``outer`` are those that include it, ``read`` all that were read before."""
    root = load_yaml(path)
    head = root.read(_Head, "arguments", "include", "components", "containers")
    included: Sequence[_Included] = ()
    if "include" in root:
        chain = (*outer, path.resolve())
        included = [_include(each, path, chain, read) for each in root.section_list("include")]
    own = _own_arguments(root) if "arguments" in root or not included else ()
    arguments = _all_arguments(own, included)
    sections = root.section_list("components") if "components" in root or not included else ()
    names = {argument.name for argument in arguments}
    components = _all_components([(each, _component(each, names)) for each in sections], included)
    plan = read_container_plan(
        root,
        [each.entry.name for each in components],
        [each.pipeline.containers for each in included],
    )
    return Pipeline(head.name, head.description, arguments, path, components, plan)


def _own_arguments(root: Section) -> tuple[Argument, ...]:
    return tuple(
        Argument(name, entry.default, entry.description)
        for name, section in root.sections("arguments").items()
        for entry in [section.read(_ArgumentEntry)]
    )


def _include(section: Section, path: Path, outer: tuple[Path, ...], read: list[Path]) -> _Included:
    """Read a pipeline for another one, with what its arguments are called there."""
    name = section.read(_IncludeEntry, "rename").pipeline
    shipped = share_folder() / "config" / "pipelines"
    files = [folder / f"{name}.yaml" for folder in (path.parent, shipped)]
    file = next((file for file in files if is_regular_file(file)), None)
    if file is None:
        present = sorted({*_present(path), *_present(shipped / path.name)} - {path.stem})
        raise section.error("pipeline", f"no pipeline {name!r}; there are {present}")
    if file.resolve() in outer:
        circle = " -> ".join((*(each.stem for each in outer), name))
        raise section.error("pipeline", f"pipelines include each other: {circle}")
    if len(read) >= _MOST_INCLUDED:
        raise section.error("pipeline", f"more than {_MOST_INCLUDED} pipelines are included")
    read.append(file)
    pipeline = _read(file, outer, read)
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


def _all_arguments(own: Sequence[Argument], included: Sequence[_Included]) -> tuple[Argument, ...]:
    """Return our own arguments, which stand for those of the same name, and the others' others."""
    found = {argument.name: argument for argument in own}
    whose: dict[str, str] = {}
    for section, pipeline, names in included:
        for argument in pipeline.arguments:
            name = names[argument.name]
            if name in whose:
                raise section.error(
                    None,
                    f"the argument {name!r} is one of {whose[name]} and of {pipeline.name}: rename "
                    f"one of them, or declare {name!r} under arguments for both",
                )
            if name not in found:
                found[name] = replace(argument, name=name)
                whose[name] = pipeline.name
    return tuple(found.values())


def _all_components(
    own: Sequence[tuple[Section, _Component]], included: Sequence[_Included]
) -> tuple[_Component, ...]:
    """Return our own components and the others', each that several have alike once."""
    found: dict[str, _Component] = {}
    for section, component, may_repeat in _in_order(own, included):
        before = found.setdefault(component.place, component)
        if before is not component and not (may_repeat and before == component):
            raise section.error(
                None,
                f"the component {component.place} is there already"
                + (", with another plugin, parameters or remappings" if may_repeat else ""),
            )
    return tuple(found.values())


def _in_order(
    own: Sequence[tuple[Section, _Component]], included: Sequence[_Included]
) -> Iterator[tuple[Section, _Component, bool]]:
    """Yield every component, where it stands, and whether it may be there before."""
    for section, component in own:
        yield section, component, False
    for section, pipeline, names in included:
        for component in pipeline._components:
            yield section, component.renamed(names), True


def _present(path: Path) -> list[str]:
    return sorted(file.stem for file in path.parent.glob("*.yaml"))


def share_folder() -> Path:
    """Find the folder with config, launch and models: the source tree's, or the installed one."""
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
        "the folder config/pipelines of edge_inference was found in none of "
        + ", ".join(str(folder) for folder in candidates)
        + "; install the package or set AMENT_PREFIX_PATH"
    )


def _component(section: Section, arguments: set[str]) -> _Component:
    entry = section.read(_ComponentEntry, "parameters", "remappings")
    parameters = section.section("parameters").plain() if "parameters" in section else {}
    remappings = section.section("remappings").plain() if "remappings" in section else {}
    used = [entry.when] if entry.when else []
    for value in (*parameters.values(), *remappings.values()):
        used += find_references(value)
    for name in used:
        if name not in arguments:
            raise section.error(
                None, f"no argument is called {name!r}{suggestion(name, arguments)}"
            )
    return _Component(entry, parameters, remappings)


def _below(namespace: str, name: str) -> str:
    """Put a namespace before a relative name; absolute and private names stay as they are."""
    if name.startswith(("/", "~")):
        return name
    return "/" + "/".join(filter(None, (namespace, name)))


def _apart(own: str, name: str) -> str:
    """Put a relative name into a namespace instead of ``ai``; others stay as they are."""
    if own == DEFAULT_NAMESPACE or name.startswith(("/", "~")):
        return name
    head, _, rest = name.partition("/")
    return "/".join(filter(None, (own, rest if head == DEFAULT_NAMESPACE else name)))


def _with_transports(given: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """Split topics that name their transport, as image_transport does, into topic and transport."""
    split = dict(given)
    for name, value in given.items():
        transport = name.removesuffix("_topic") + "_transport"
        if name.endswith("_topic") and transport in known and value.endswith(_COMPRESSED):
            split[name] = value.removesuffix(_COMPRESSED)
            split[transport] = _COMPRESSED.strip("/")
    return split
