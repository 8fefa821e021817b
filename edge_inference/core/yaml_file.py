"""YAML files that remember their line numbers.

:func:`load_yaml` gives a :class:`Section`; what it hands out is plain, and
whatever turns out to be wrong is reported where it stands::

    models/x/model.yaml, line 7, input.width: expected an integer from 1 to 8192, got 'abc'

Only plain data is read (PyYAML's safe types), from plain files, and within bounds of
depth, count and length. Anchors and aliases are refused: a small file could grow into a
huge one by them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from edge_inference.core.bounded_file import read_text
from edge_inference.core.settings import build, rules, suggestion
from edge_inference.errors import ConfigError

Settings = TypeVar("Settings")

_DEEPEST = 50
_MOST_NODES = 20_000
_LONGEST_KEY = 200
_LONGEST_MESSAGE = 1000
# Whatever is read from the text of one of these can be written on a line.
_LONGEST_VALUE = 100
_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_NUMBERS = tuple(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))


class BoundedLoader(yaml.SafeLoader):
    """The safe loader, without aliases, and with bounds on what a text can cost.

    PyYAML looks ahead through nested brackets, and reads long numbers, in quadratic time. What
    goes beyond a bound is a MarkedYAMLError, and so is a value that its tag cannot be made of.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0

    def fetch_flow_collection_start(self, token_class: type[yaml.Token]) -> None:
        """Refuse brackets in brackets before the scanner looks for what they may be."""
        if self.flow_level >= _DEEPEST:
            raise _too_deep(self.get_mark())
        super().fetch_flow_collection_start(token_class)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node within the bounds."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not supported; write the value out",
                problem_mark=mark,
            )
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise yaml.MarkedYAMLError(
                problem=f"more than {_MOST_NODES} keys and values", problem_mark=mark
            )
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _too_deep(mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTIONS:
            raise yaml.MarkedYAMLError(
                problem=f"the tag {node.tag!r:.{_LONGEST_VALUE}} is not known; leave it out",
                problem_mark=mark,
            )
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Make the value of a node."""
        is_number = isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS
        if is_number and len(node.value) > _LONGEST_VALUE:
            raise yaml.MarkedYAMLError(
                problem=f"a number of {len(node.value)} characters; expected at most "
                f"{_LONGEST_VALUE}",
                problem_mark=node.start_mark,
            )
        try:
            # At once: a text that is tagged as a list would else become an empty one.
            return super().construct_object(node, deep=True)
        except (ValueError, ArithmeticError, LookupError, AttributeError) as error:
            reason = f": {error}" if type(error) is ValueError else ""
            raise yaml.MarkedYAMLError(
                problem=f"{str(node.value)!r:.{_LONGEST_VALUE}} cannot be read as "
                f"{node.tag.rpartition(':')[2]}{reason}",
                problem_mark=node.start_mark,
            ) from error


class _Loader(BoundedLoader):
    """With ``1e-3`` read as a number, as in YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _too_deep(mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(
        problem=f"nested too deep; expected at most {_DEEPEST} levels", problem_mark=mark
    )


class Section(Mapping[str, Any]):
    """One mapping of a YAML file: its values by key, and the line of every key.

    A value is a scalar, a list, or another Section where the file has a
    mapping. ``path`` is the dotted key that leads here, empty at the top.
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
        """Make an error that says where: at ``key``, or at the section's head for None."""
        line = self._lines.get(key, self.line) if key is not None else self.line
        where = ".".join(part for part in (self.path, key) if part)
        if len(message) > _LONGEST_MESSAGE:  # by a value that it shows
            message = f"{message[:_LONGEST_MESSAGE]} …"
        return ConfigError(f"{self.file}, line {line}{', ' + where if where else ''}: {message}")

    def plain(self) -> dict[str, Any]:
        """Return the section as plain dicts and lists."""
        return {key: _plain(value) for key, value in self._values.items()}

    def require_known(self, *known: str) -> None:
        """Raise ConfigError at the first key that is not one of ``known``."""
        for key in self._values:
            if key not in known:
                raise self.error(key, f"unknown key{suggestion(key, known)}")

    def read(self, settings_class: type[Settings], *besides: str) -> Settings:
        """Make a settings object from this section's keys, checking every value.

        Keys named in ``besides`` are left for the caller. Raises ConfigError
        with file, line and key for a value that does not fit, an unknown key, a
        missing one, and a rule across fields that does not hold.
        """
        known = rules(settings_class)
        self.require_known(*known, *besides)
        values: dict[str, Any] = {}
        for name, rule in known.items():
            if name not in self._values:
                if rule.required:
                    raise self.error(name, f"missing; expected {rule.expected()}")
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
        """Return the mapping at ``key``; ConfigError where it is missing or no mapping."""
        value = self._values.get(key)
        if not isinstance(value, Section):
            raise self._unexpected(key, "a mapping of keys to values")
        return value

    def sections(self, key: str) -> dict[str, Section]:
        """Return the mapping of mappings at ``key``, in the order of the file."""
        outer = self.section(key)
        return {name: outer.section(name) for name in outer}

    def section_list(self, key: str) -> tuple[Section, ...]:
        """Return the list of mappings at ``key``."""
        value = self._values.get(key)
        if not isinstance(value, list) or not all(isinstance(item, Section) for item in value):
            raise self._unexpected(key, "a list of mappings")
        return tuple(value)

    def _unexpected(self, key: str, expected: str) -> ConfigError:
        if key not in self._values:
            return self.error(key, f"missing; expected {expected}")
        return self.error(key, f"expected {expected}, got {_plain(self._values[key])!r}")


def load_yaml(file: Path) -> Section:
    """Read a YAML file whose top is a mapping.

    Raises ConfigError, with line and column where the YAML itself is broken.
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
        reason = f"{_reason(error):.{_LONGEST_MESSAGE}}"
        raise ConfigError(f"{file}{_position(error)}: {reason}") from error
    finally:
        loader.dispose()


def _read_text(file: Path) -> str:
    try:
        text = read_text(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    odd = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if odd:
        line = text.count("\n", 0, odd.start()) + 1
        raise ConfigError(f"{file}, line {line}: character {odd.group()!r} is not allowed in YAML")
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
                f"{got!r:.{_LONGEST_VALUE}}; put it in quotes"
            )
        if len(key) > _LONGEST_KEY:
            raise ConfigError(
                f"{file}, line {key_line}: a key of {len(key)} characters; expected at most "
                f"{_LONGEST_KEY}"
            )
        if key in lines:
            lines_text = f"lines {lines[key]} and {key_line}"
            lines[key] = key_line
            raise section.error(key, f"the key stands twice, on {lines_text}; keep one")
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
        problem += "; YAML is indented with spaces, never with tabs"
    return f"{problem} ({error.context})" if error.context else problem
