"""Tables of kinds that other packages can extend: a row in this package, or an entry point.

A user's package adds a row in its ``setup.cfg``, without a change in this repository::

    [options.entry_points]
    edge_inference.actions =
        wave = my_robot.wave:WAVE

The name on the left must be the name of the row. Entry points are found in all installed
packages, also in those of a colcon workspace, and are imported when a table is asked for more
than a row of this package. An entry that cannot be used changes nothing but its own name: the
reason is in :meth:`ExtensionTable.problems` and in the error of :meth:`ExtensionTable.get`.

No lock is held while another package is imported, because its import may wait for another thread
that reads the same table. Threads that read a table first at the same time all load it; the
result of one of them is kept.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from edge_inference.core.entry_points import PREFIX, forget_installed_entries, installed_entries
from edge_inference.core.runtime.worker import format_error
from edge_inference.core.settings import shorten, suggestion
from edge_inference.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: Names of rows appear in parameters, messages and files.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_VALUE = re.compile(r"[\w.]+\s*:\s*[\w.]+\s*(\[.*\])?")


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=_Named)


@dataclass(frozen=True)
class Extension:
    """An entry point of an installed package, and why it cannot be used; empty if it can."""

    name: str
    value: str
    package: str
    problem: str = ""


class ExtensionTable(Generic[Row]):
    """The rows of one table by name: those of this package first, then those of entry points.

    ``group`` is the group of entry points without ``edge_inference.``, ``what`` names a row in
    messages. ``check`` returns why a row of another package is unusable beside the rows so far,
    None if it is usable. ``to_row`` makes the row of an entry point's object and name, where the
    object itself is not the row; it raises PluginError where it cannot. Reading is thread-safe.
    """

    def __init__(
        self,
        group: str,
        what: str,
        row_class: type[Row],
        own: Sequence[Row],
        check: Callable[[Row, Mapping[str, Row]], str | None] = lambda row, rows: None,
        to_row: Callable[[Any, str], Any] = lambda loaded, name: loaded,
    ) -> None:
        self.group = f"{PREFIX}{group}"
        self._what = what
        self._row_class = row_class
        self.own: Mapping[str, Row] = MappingProxyType({row.name: row for row in own})
        self._check = check
        self._to_row = to_row
        self._loaded: _Loaded[Row] | None = None
        self._thread = threading.local()
        _tables.add(self)

    def rows(self) -> Mapping[str, Row]:
        """Return all usable rows by name, in a fixed order."""
        return self._load().rows

    def get(self, name: str) -> Row:
        """Return a row by name. Raises PluginError for an unknown or unusable one.

        A row of this package is returned without looking for others.
        """
        own = self.own.get(name)
        if own is not None:
            return own
        loaded = self._load()
        if name in loaded.rows:
            return loaded.rows[name]
        for extension in loaded.extensions:
            if extension.name == name:
                raise PluginError(extension.problem)
        faults = "".join(f"; {fault}" for fault in installed_entries().faults)
        raise PluginError(
            f"unknown {self._what} {shorten(name)}{suggestion(name, loaded.rows)}{faults}"
        )

    def extensions(self) -> tuple[Extension, ...]:
        """Return the entry points of installed packages, usable or not."""
        return self._load().extensions

    def problems(self) -> tuple[str, ...]:
        """Return why entry points cannot be used, one sentence for each."""
        return self._load().problems()

    def problems_so_far(self) -> tuple[str, ...]:
        """Return the problems if the entry points have been read; read nothing."""
        loaded = self._loaded
        return () if loaded is None else (*installed_entries().faults, *loaded.problems())

    def forget(self) -> None:
        """Read the entry points again when they are next needed."""
        self._loaded = None

    def _load(self) -> _Loaded[Row]:
        loaded = self._loaded
        if loaded is None:
            if getattr(self._thread, "is_loading", False):
                # A package reads the table while it is imported for it.
                return _Loaded(self.own, ())
            self._thread.is_loading = True
            try:
                loaded = self._load_rows()
            finally:
                self._thread.is_loading = False
            with _lock:
                loaded = self._loaded = self._loaded or loaded
        return loaded

    def _load_rows(self) -> _Loaded[Row]:
        rows = dict(self.own)
        extensions = []
        for entry, package in installed_entries().groups.get(self.group, ()):
            try:
                rows[entry.name] = self._load_row(entry, rows)
                problem = ""
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # another package's code may raise anything
                title = f"{self._what} {shorten(entry.name)} (entry point {shorten(entry.value)}"
                problem = f"{title} of package {package}): {_reason(error)}"
            extensions.append(Extension(entry.name, entry.value, package, problem))
        return _Loaded(MappingProxyType(rows), tuple(extensions))

    def _load_row(self, entry: EntryPoint, rows: Mapping[str, Row]) -> Row:
        if not _VALUE.fullmatch(entry.value):
            raise PluginError("expected module:object after the =")
        if not _NAME.fullmatch(entry.name):
            raise PluginError("expected a name of at most 64 letters, digits, '_', '-' and '.'")
        row = self._to_row(entry.load(), entry.name)
        if not isinstance(row, self._row_class):
            raise PluginError(f"expected a {self._row_class.__name__}, got {type(row).__name__}")
        if row.name != entry.name:
            raise PluginError(f"its row is named {shorten(row.name)}; give both the same name")
        if entry.name in rows:
            raise PluginError("the name is taken; choose another one")
        reason = self._check(row, rows)
        if reason is not None:
            raise PluginError(reason)
        return row


@dataclass(frozen=True)
class _Loaded(Generic[Row]):
    rows: Mapping[str, Row]
    extensions: tuple[Extension, ...]

    def problems(self) -> tuple[str, ...]:
        return tuple(each.problem for each in self.extensions if each.problem)


_lock = threading.Lock()
_tables: weakref.WeakSet[ExtensionTable[Any]] = weakref.WeakSet()
_told: set[str] = set()


def new_problems() -> list[str]:
    """Return the problems of all tables that were read so far, each one once in a process."""
    with _lock:
        problems = {text for table in _tables for text in table.problems_so_far()}
        problems -= _told
        _told.update(problems)
    return sorted(problems)


def problems_of_packages(groups: Iterable[str]) -> list[str]:
    """Return what is wrong with entry points beside those that are in a table.

    That is a package whose entry points cannot be read, and a group that is none of ``groups``.
    """
    known = list(groups)
    installed = installed_entries()
    unknown = [
        f"package {package}: there is no group of entry points {group}{suggestion(group, known)}"
        for group, entries in sorted(installed.groups.items())
        for package in sorted({package for _, package in entries})
        if group not in known
    ]
    return [*installed.faults, *unknown]


def forget_installed() -> None:
    """Let all tables look again for installed packages when they are next read."""
    forget_installed_entries()
    with _lock:
        _told.clear()
        for table in _tables:
            table.forget()


def _reason(error: BaseException) -> str:
    if isinstance(error, PluginError):  # a sentence of this package
        return str(error)
    return f"importing failed: {format_error(error)}"
