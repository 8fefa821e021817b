"""The measured costs in the cache, one file for each machine.

A machine is everything that changes the time of an inference: the CPU, its instructions and
the libraries that compute. A change of one of them gives another file, without costs. A
writer replaces the file by a rename, under a lock: any number of processes may write, and
the next writer removes what a killed one left.
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

#: Folder inside the cache folder.
COSTS_FOLDER = "costs"
#: Most costs in one file; the oldest measurements are dropped first.
MAX_COSTS = 400
#: Most files: one for each machine and version of the libraries.
MAX_FILES = 16

_MAX_FILE_BYTES = 1 << 20
_LOCK_TIMEOUT_S = 10.0
_LOCKS = ".locks"


def _ignore(_message: str) -> None:
    """Ignore a report."""


def remove_costs(cache: Path) -> int:
    """Remove the measured costs of all machines; return the number of removed files.

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
        """Use a cache folder; ``machine`` replaces the result of ``machine_identity``."""
        self.machine = dict(machine_identity() if machine is None else machine)
        self._cache = Path(cache)
        digits = key_of(self.machine)[:16]
        self.file = self._cache / COSTS_FOLDER / f"{digits}.v{cost_document.FORMAT}.json"
        self._lock_file = self._cache / _LOCKS / f"costs-{digits}"

    def read(self, report: Callable[[str], None] = _ignore) -> MeasuredCosts:
        """Return the costs; none if the file is unusable, and ``report`` gets the error."""
        try:
            return self._read()
        except CacheError as error:
            report(str(error))
            return MeasuredCosts()

    def add(self, measurement: Measurement, report: Callable[[str], None] = _ignore) -> None:
        """Add a measurement to the file.

        An unusable file is renamed to *.damaged first, and ``report`` gets the error. Raises
        CacheError where the cache cannot be written; only the measurement is lost then.
        """
        deadline_s = time.monotonic() + _LOCK_TIMEOUT_S
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
        """Read the file; raise CacheError where it is unusable."""
        hint = "it is not used; the next measurement renames it to *.damaged"
        try:
            # O_NONBLOCK: opening a pipe must not wait. O_NOFOLLOW: a link may point anywhere.
            descriptor = os.open(self.file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except FileNotFoundError:
            return MeasuredCosts()
        except OSError as error:
            raise CacheError(f"{self.file}: cannot be read ({error.strerror}); {hint}") from error
        try:
            with os.fdopen(descriptor, "rb") as file:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_FILE_BYTES:
                    raise CacheError(f"expected a file of at most {_MAX_FILE_BYTES} bytes")
                content = file.read(_MAX_FILE_BYTES + 1)
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
        """Remove the least recently written files of other machines."""
        found = []
        for file in self.file.parent.glob("*.json"):
            with suppress(OSError):
                found.append((file.stat().st_mtime, file))
        for _, file in sorted(found, reverse=True)[MAX_FILES:]:
            if file != self.file:
                with suppress(OSError):
                    file.unlink()
