"""Whether an output works: said once when it fails, and once when it works again."""

from __future__ import annotations

from collections.abc import Callable


class OutputState:
    """The state of one output; ``name`` is what it is called in messages."""

    def __init__(self, name: str, on_message: Callable[[str], None]) -> None:
        self._name = name
        self._on_message = on_message
        self.has_failed = False

    def note_failure(self, reason: str) -> None:
        """Say why the output does not work, unless it did not work before either."""
        if not self.has_failed:
            self.has_failed = True
            self._on_message(f"{self._name}: {reason}; everything else goes on")

    def note_success(self) -> None:
        """Say that the output works again, if it did not."""
        if self.has_failed:
            self.has_failed = False
            self._on_message(f"{self._name}: works again")
