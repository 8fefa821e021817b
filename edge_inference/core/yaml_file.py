"""Reads YAML files with line numbers.

:func:`load_yaml` returns a :class:`Section` of plain values. Errors name the file, line and key::

    models/x/model.yaml, line 7, input.width: expected an integer from 1 to 8192, got 'abc'

It reads only PyYAML's safe types, from regular files, within limits on depth, count and length.
Anchors and aliases are refused: they let a small file expand into a huge one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import yaml

from edge_inference.core.bounded_file import read_text
from edge_inference.core.settings import build, rules, suggestion
from edge_inference.errors import ConfigError

Settings = TypeVar("Settings")

_MAX_DEPTH = 50
_MAX_NODES = 20_000
_MAX_KEY_LENGTH = 200
_MAX_MESSAGE_LENGTH = 1000
# A value of this length fits into one line of a message.
_MAX_VALUE_LENGTH = 100
_COLLECTION_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_NUMBER_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))


class BoundedLoader(yaml.SafeLoader):
    """PyYAML's safe loader, without aliases and with limits on time and memory.

    PyYAML needs quadratic time for nested brackets and long numbers. A text beyond a limit, or a
    value that does not fit its tag, is a MarkedYAMLError.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0

    def fetch_flow_collection_start(self, token_class: type[yaml.Token]) -> None:
        """Refuse deeply nested brackets before the scanner looks ahead."""
        if self.flow_level >= _MAX_DEPTH:
            raise _too_deep(self.get_mark())
        super().fetch_flow_collection_start(token_class)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node within the limits."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not supported; write the value out",
                problem_mark=mark,
            )
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise yaml.MarkedYAMLError(
                problem=f"more than {_MAX_NODES} keys and values", problem_mark=mark
            )
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _too_deep(mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTION_TAGS:
            raise yaml.MarkedYAMLError(
                problem=f"the tag {node.tag!r:.{_MAX_VALUE_LENGTH}} is unknown; leave it out",
                problem_mark=mark,
            )
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node."""
        is_number = isinstance(node, yaml.ScalarNode) and node.tag in _NUMBER_TAGS
        if is_number and len(node.value) > _MAX_VALUE_LENGTH:
            raise yaml.MarkedYAMLError(
                problem=f"a number of {len(node.value)} characters; expected at most "
                f"{_MAX_VALUE_LENGTH}",
                problem_mark=node.start_mark,
            )
        try:
            # deep=True: a text that is tagged as a list would otherwise become an empty list.
            return super().construct_object(node, deep=True)
        except (ValueError, ArithmeticError, LookupError, AttributeError) as error:
            reason = f": {error}" if type(error) is ValueError else ""
            raise yaml.MarkedYAMLError(
                problem=f"{str(node.value)!r:.{_MAX_VALUE_LENGTH}} cannot be read as "
                f"{node.tag.rpartition(':')[2]}{reason}",
                problem_mark=node.start_mark,
            ) from error


class _Loader(BoundedLoader):
    """Reads ``1e-3`` as a number, as in YAML 1.2."""


class _Dumper(yaml.SafeDumper):
    """Quotes a text that :class:`_Loader` would read as a number."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_one_line = "".join(text.splitlines()) == text
    style = None if is_one_line else '"'  # other styles break the line
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent_text)
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
    )


def to_yaml_line(value: Any) -> str:
    """Return a plain value as YAML in one line, which :func:`load_yaml` reads back."""
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=math.inf
    )
    return str(text).removesuffix("\n").removesuffix("\n...")


def _too_deep(mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(
        problem=f"nested too deep; expected at most {_MAX_DEPTH} levels", problem_mark=mark
    )


class Section(Mapping[str, Any]):
    """One mapping of a YAML file: its values by key, and the line of every key.

    A value is a scalar, a list, or another Section for a mapping. ``path`` is the dotted key of
    this section, empty at the top.
    """

    def __init__(
        self, file: Path, path: str, line: int, values: Mapping[str, Any], lines: Mapping[str, int]
    ) -> None:
        self.file = file
        self.path = path
        self.line = line
        self._values = values
        self._lines = lines

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def error(self, key: str | None, message: str) -> ConfigError:
        """Return an error at ``key``, or at the start of the section for None."""
        line = self._lines.get(key, self.line) if key is not None else self.line
        where = ".".join(part for part in (self.path, key) if part)
        if len(message) > _MAX_MESSAGE_LENGTH:  # it shows a long value
            message = f"{message[:_MAX_MESSAGE_LENGTH]} …"
        return ConfigError(f"{self.file}, line {line}{', ' + where if where else ''}: {message}")

    def plain(self) -> dict[str, Any]:
        """Return the section as plain dicts and lists."""
        return {key: _plain(value) for key, value in self._values.items()}

    def require_known(self, *known: str) -> None:
        """Raise ConfigError at the first key that is not one of ``known``."""
        for key in self._values:
            if key not in known:
                hint = suggestion(key, known)
                if hint.endswith("?"):  # a guess
                    hint += suggestion("", known).removeprefix(";")
                raise self.error(key, f"unknown key{hint}")

    def read(self, settings_class: type[Settings], *other_keys: str) -> Settings:
        """Make a settings object from this section's keys, and check every value.

        The caller reads the keys in ``other_keys``. Raises ConfigError with file, line and key
        for an invalid value, an unknown or missing key, and a violated rule across fields.
        """
        known = rules(settings_class)
        self.require_known(*known, *other_keys)
        values: dict[str, Any] = {}
        for name, rule in known.items():
            if name not in self._values:
                if rule.required:
                    raise self.error(name, rule.missing())
                continue
            try:
                values[name] = rule.convert(_plain(self._values[name]))
            except ConfigError as error:
                raise self.error(name, str(error).removeprefix(f"{name}: ")) from None
        try:
            return build(settings_class, values)
        except ConfigError as error:
            raise self.error(None, str(error)) from None

    def section(self, key: str) -> Section:
        """Return the mapping at ``key``. Raises ConfigError if it is missing or not a mapping."""
        value = self._values.get(key)
        if not isinstance(value, Section):
            raise self._type_error(key, "a mapping of keys to values")
        return value

    def sections(self, key: str) -> dict[str, Section]:
        """Return the mapping of mappings at ``key``, in the order of the file."""
        outer = self.section(key)
        return {name: outer.section(name) for name in outer}

    def section_list(self, key: str) -> tuple[Section, ...]:
        """Return the list of mappings at ``key``."""
        value = self._values.get(key)
        if not isinstance(value, list) or not all(isinstance(item, Section) for item in value):
            raise self._type_error(key, "a list of mappings")
        return tuple(value)

    def _type_error(self, key: str, expected: str) -> ConfigError:
        if key not in self._values:
            return self.error(key, f"missing; expected {expected}")
        return self.error(key, f"expected {expected}, got {_plain(self._values[key])!r}")


def load_yaml(file: Path) -> Section:
    """Read a YAML file with a mapping at the top.

    Raises ConfigError, with line and column for invalid YAML.
    """
    text = _read_text(file)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise ConfigError(f"{file}: the file is empty; expected a mapping of keys to values")
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{file}, line 1: expected a mapping of keys to values at the top")
        return _section(file, "", node, 1, loader.construct_object)
    except yaml.MarkedYAMLError as error:
        reason = f"{_reason(error):.{_MAX_MESSAGE_LENGTH}}"
        raise ConfigError(f"{file}{_position(error)}: {reason}") from error
    finally:
        loader.dispose()


def _read_text(file: Path) -> str:
    try:
        text = read_text(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    invalid = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if invalid:
        line = text.count("\n", 0, invalid.start()) + 1
        raise ConfigError(
            f"{file}, line {line}: character {invalid.group()!r} is not allowed in YAML"
        )
    return text


def _section(
    file: Path,
    path: str,
    node: yaml.MappingNode,
    line: int,
    construct: Callable[[yaml.Node], Any],
) -> Section:
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    section = Section(file, path, line, values, lines)
    for key_node, value_node in node.value:
        key_line = key_node.start_mark.line + 1
        key = construct(key_node) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            got = key_node.value if isinstance(key_node, yaml.ScalarNode) else key_node.id
            raise ConfigError(
                f"{file}, line {key_line}: expected a text as key, got "
                f"{got!r:.{_MAX_VALUE_LENGTH}}; put it in quotes"
            )
        if len(key) > _MAX_KEY_LENGTH:
            raise ConfigError(
                f"{file}, line {key_line}: a key of {len(key)} characters; expected at most "
                f"{_MAX_KEY_LENGTH}"
            )
        if key in lines:
            lines_text = f"lines {lines[key]} and {key_line}"
            lines[key] = key_line
            raise section.error(key, f"duplicate key, on {lines_text}; keep one")
        lines[key] = key_line
        inner = f"{path}.{key}" if path else key
        values[key] = _value(section, key, inner, value_node, construct)
    return section


def _value(
    section: Section, key: str, path: str, node: yaml.Node, construct: Callable[[yaml.Node], Any]
) -> Any:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return _section(section.file, path, node, line, construct)
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(section, key, f"{path}[{index}]", item, construct)
            for index, item in enumerate(node.value)
        ]
    try:
        return construct(node)
    except yaml.MarkedYAMLError as error:
        raise section.error(key, _reason(error)) from error


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.plain()
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _position(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "not valid YAML"
    if "'\\t'" in problem:
        problem += "; indent YAML with spaces, not with tabs"
    elif "expected ':'" in problem or "mapping values" in problem:
        problem += (
            "; in this line or the one above, put a colon and a space behind each key, and a "
            "text that contains a colon in quotes"
        )
    return f"{problem} ({error.context})" if error.context else problem


def path_inside(folder: Path, section: Section, key: str) -> Path:
    """Return the file that ``key`` names, which must be inside the folder.

    Links are not resolved: a colcon symlink install consists of links to the source tree.
    """
    text = section.get(key)
    if not isinstance(text, str) or not text:
        raise section.error(key, f"expected a file name relative to the folder, got {text!r}")
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).drive
    if absolute or ".." in PurePosixPath(text.replace("\\", "/")).parts:
        raise section.error(key, f"expected a file inside the model folder, got {text!r}")
    if "\0" in text:
        raise section.error(key, f"expected a file name without a NUL, got {text!r}")
    return folder / text
