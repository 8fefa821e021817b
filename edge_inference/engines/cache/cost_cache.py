"""The measured costs that are kept in the cache, a file for each machine.

A machine is what changes the time of an inference: processor, its instructions,
and the libraries that compute. With another one of these nothing is known, and
another file is used. A file is replaced whole by a rename, under a lock: any
number of processes may write, and what a killed one leaves is swept by the next.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from edge_inference.core.measured_costs import MeasuredCosts, Measurement
from edge_inference.engines.cache import cache_entry, cache_lock, cost_document
from edge_inference.engines.cache.artifact_cache import key_of
from edge_inference.engines.cache.cache_folder import CACHE_VARIABLE
from edge_inference.engines.cache.environment import machine_identity
from edge_inference.errors import CacheError

#: The folder inside that of the cache.
COSTS_FOLDER = "costs"
#: Costs that one file holds; the oldest measurements go first.
MAX_COSTS = 400
#: Machines, or versions of libraries on one, that share a cache.
MAX_FILES = 16

_LARGEST_FILE = 1 << 20
_PATIENCE_S = 10.0
_LOCKS = ".locks"


def _unsaid(_sentence: str) -> None:
    """Report to nobody."""


def remove_costs(cache: Path) -> int:
    """Remove what was measured, on whatever machine; return the number of files removed.

    Raises CacheError where one cannot be removed.
    """
    removed = 0
    for file in sorted((cache / COSTS_FOLDER).glob("*")):
        try:
            file.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CacheError(
                f"{file}: cannot be removed ({error.strerror}); remove it by hand"
            ) from error
        removed += 1
    return removed


class CostCache:
    """The costs of this machine, shared by any number of processes and threads."""

    def __init__(self, cache: Path, machine: Mapping[str, str] | None = None) -> None:
        """Take the cache's folder, and what ``machine_identity`` tells where it is None."""
        self.machine = dict(machine_identity() if machine is None else machine)
        self._cache = Path(cache)
        digits = key_of(self.machine)[:16]
        self.file = self._cache / COSTS_FOLDER / f"{digits}.v{cost_document.FORMAT}.json"
        self._lock_file = self._cache / _LOCKS / f"costs-{digits}"

    def read(self, report: Callable[[str], None] = _unsaid) -> MeasuredCosts:
        """Return what is known; nothing where the file is no good, and ``report`` gets why."""
        try:
            return self._read()
        except CacheError as error:
            report(str(error))
            return MeasuredCosts()

    def add(self, measurement: Measurement, report: Callable[[str], None] = _unsaid) -> None:
        """Keep a measurement.

        A file that is no good is set aside first: ``report`` gets the sentence. Raises
        CacheError where the cache cannot be written; nothing is lost but the measurement.
        """
        deadline_s = time.monotonic() + _PATIENCE_S
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._lock_file.parent.mkdir(parents=True, exist_ok=True)
            with cache_lock.exclusive_lock(self._lock_file, lambda: time.monotonic() > deadline_s):
                try:
                    known = self._read()
                except CacheError as error:
                    report(str(error))
                    self.file.replace(self.file.with_suffix(".damaged"))
                    known = MeasuredCosts()
                self._write(known.with_measurement(measurement, MAX_COSTS))
                self._trim()
        except OSError as error:
            raise CacheError(
                f"{self.file}: the measured costs cannot be written ({error.strerror}); allow "
                f"this user to write there, or choose another folder with ${CACHE_VARIABLE}"
            ) from error

    def _read(self) -> MeasuredCosts:
        """Raise CacheError where the file is there and no good."""
        hint = "it is not used, and set aside when something is measured again"
        try:
            # Opening a pipe must not wait; a link may lead anywhere.
            descriptor = os.open(self.file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except FileNotFoundError:
            return MeasuredCosts()
        except OSError as error:
            raise CacheError(f"{self.file}: cannot be read ({error.strerror}); {hint}") from error
        try:
            with os.fdopen(descriptor, "rb") as file:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_FILE:
                    raise CacheError(f"expected a file of at most {_LARGEST_FILE} bytes")
                content = file.read(_LARGEST_FILE + 1)
            return cost_document.read(content.decode(), self.machine)
        except (CacheError, OSError, UnicodeDecodeError) as error:
            raise CacheError(f"{self.file}: {error}; {hint}") from error

    def _write(self, costs: MeasuredCosts) -> None:
        """Replace the file; the caller holds the lock."""
        folder = self.file.parent
        for left in folder.glob(f".{self.file.name}.*"):
            left.unlink()
        private = folder / f".{self.file.name}.{secrets.token_hex(4)}"
        try:
            private.write_text(cost_document.write(costs, self.machine), encoding="utf-8")
            cache_entry.flush(private)
            private.replace(self.file)
            cache_entry.flush(folder)
        except BaseException:
            with suppress(OSError):
                private.unlink()
            raise

    def _trim(self) -> None:
        """Remove the files of other machines that were not written for longest."""
        found = []
        for file in self.file.parent.glob("*.json"):
            with suppress(OSError):
                found.append((file.stat().st_mtime, file))
        for _, file in sorted(found, reverse=True)[MAX_FILES:]:
            if file != self.file:
                with suppress(OSError):
                    file.unlink()
