"""What was heard of late, by the name of whoever said it."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Value = TypeVar("Value")


class RecentNames(Generic[Value]):
    """Remembers the last word of each of ``most`` names, and forgets who falls silent.

    While all of them speak a newcomer is not remembered: names that somebody makes up must not
    push out those that are known. From any thread; times are nanoseconds of one rising clock.
    """

    def __init__(self, most: int, silence_ns: int) -> None:
        self.most = most
        self._silence_ns = silence_ns
        self._heard: dict[str, tuple[Value, int]] = {}
        self._lock = threading.Lock()

    def hear(self, name: str, value: Value, now_ns: int) -> bool:
        """Take note of what somebody says; False where there is no room for a newcomer."""
        with self._lock:
            if name not in self._heard and len(self._heard) >= self.most:
                self._forget(now_ns)
                if len(self._heard) >= self.most:
                    return False
            self._heard[name] = (value, now_ns)
            return True

    def known(self, now_ns: int) -> dict[str, Value]:
        """Return the last word of everybody who has not fallen silent."""
        with self._lock:
            self._forget(now_ns)
            return {name: value for name, (value, _) in self._heard.items()}

    def _forget(self, now_ns: int) -> None:
        silent = [name for name, (_, at) in self._heard.items() if now_ns - at >= self._silence_ns]
        for name in silent:
            del self._heard[name]
