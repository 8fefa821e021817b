"""A bounded map from a name to its latest value; an entry expires when it is not renewed."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ExpiringMap(Generic[Value]):
    """Keeps the latest value of up to ``max_entries`` names, each for ``timeout_ns``.

    While the map is full, a new name is refused: invented names must not displace known ones.
    Thread-safe. Times are nanoseconds of one monotonic clock.
    """

    def __init__(self, max_entries: int, timeout_ns: int) -> None:
        self.max_entries = max_entries
        self._timeout_ns = timeout_ns
        self._entries: dict[str, tuple[Value, int]] = {}
        self._lock = threading.Lock()

    def put(self, name: str, value: Value, now_ns: int) -> bool:
        """Store a value and renew its entry; return False if the map has no space for the name."""
        with self._lock:
            if name not in self._entries and len(self._entries) >= self.max_entries:
                self._expire(now_ns)
                if len(self._entries) >= self.max_entries:
                    return False
            self._entries[name] = (value, now_ns)
            return True

    def current(self, now_ns: int) -> dict[str, Value]:
        """Return the values of all entries that have not expired."""
        with self._lock:
            self._expire(now_ns)
            return {name: value for name, (value, _) in self._entries.items()}

    def _expire(self, now_ns: int) -> None:
        expired = [
            name for name, (_, at) in self._entries.items() if now_ns - at >= self._timeout_ns
        ]
        for name in expired:
            del self._entries[name]
