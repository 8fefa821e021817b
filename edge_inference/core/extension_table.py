"""Tables of kinds that other packages can extend: a row in this package, or an entry point.

A user's package adds a row in its ``setup.cfg``, without a change in this repository::

    [options.entry_points]
    edge_inference.actions =
        wave = my_robot.actions:WAVE

The name on the left must be the name of the row. Entry points are found in all installed
packages, also in those of a colcon workspace, and are imported when the table is first read. An
entry that cannot be used changes nothing but its own name: the reason is in
:meth:`ExtensionTable.problems` and in the error of :meth:`ExtensionTable.get`.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from edge_inference.core.settings import shorten, suggestion
from edge_inference.errors import PluginError

_PREFIX = "edge_inference."


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=_Named)
_tables: weakref.WeakSet[ExtensionTable[Any]] = weakref.WeakSet()


def tables() -> tuple[ExtensionTable[Any], ...]:
    """Return the tables of all imported modules."""
    return tuple(_tables)


class ExtensionTable(Generic[Row]):
    """The rows of one table by name: those of this package first, then those of entry points.

    ``group`` is the group of entry points without ``edge_inference.``, ``what`` names a row in
    messages. ``check`` returns why a row of another package is unusable beside the rows so far,
    None if it is usable. Reading is thread-safe.
    """

    def __init__(
        self,
        group: str,
        what: str,
        row_class: type[Row],
        own: Sequence[Row],
        check: Callable[[Row, Mapping[str, Row]], str | None] = lambda row, rows: None,
    ) -> None:
        self._group = f"{_PREFIX}{group}"
        self._what = what
        self._row_class = row_class
        self._own = {row.name: row for row in own}
        self._check = check
        self._lock = threading.RLock()
        self._rows: dict[str, Row] | None = None
        self._problems: dict[str, str] = {}
        _tables.add(self)

    def rows(self) -> Mapping[str, Row]:
        """Return all usable rows by name, in a fixed order."""
        with self._lock:
            if self._rows is None:
                self._rows = self._load()
            return MappingProxyType(self._rows)

    def reload(self) -> None:
        """Read the entry points again when the table is next read: packages have been installed."""
        with self._lock:
            self._rows, self._problems = None, {}

    def get(self, name: str) -> Row:
        """Return a row by name. Raises PluginError for an unknown or unusable one."""
        rows = self.rows()
        if name in rows:
            return rows[name]
        if name in self._problems:
            raise PluginError(self._problems[name])
        raise PluginError(f"unknown {self._what} {shorten(name)}{suggestion(name, rows)}")

    def problems(self) -> tuple[str, ...]:
        """Return why entry points cannot be used, one sentence for each."""
        self.rows()
        return tuple(self._problems.values())

    def _load(self) -> dict[str, Row]:
        rows = dict(self._own)
        # Sorted, so that neither order nor choice depends on the order of folders in sys.path.
        for entry in sorted(entry_points(group=self._group), key=lambda e: (e.name, e.value)):
            try:
                rows[entry.name] = self._load_row(entry, rows)
            except PluginError as error:
                self._problems.setdefault(entry.name, str(error))
        return rows

    def _load_row(self, entry: EntryPoint, rows: Mapping[str, Row]) -> Row:
        package = f" of package {entry.dist.name}" if entry.dist is not None else ""
        title = f"{self._what} {entry.name!r} (entry point {entry.value}{package})"
        if entry.name in rows:
            raise PluginError(f"{title}: the name is taken; choose another one")
        try:
            row = entry.load()
        except BaseException as error:  # another package's import may raise anything
            if isinstance(error, KeyboardInterrupt):
                raise
            raise PluginError(
                f"{title}: importing failed: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(row, self._row_class):
            raise PluginError(
                f"{title}: expected a {self._row_class.__name__}, got {type(row).__name__}"
            )
        if row.name != entry.name:
            raise PluginError(
                f"{title}: its row is named {shorten(row.name)}; give both the same name"
            )
        reason = self._check(row, rows)
        if reason is not None:
            raise PluginError(f"{title}: {reason}")
        return row
