"""Keys of a terminal, by their names."""

from __future__ import annotations

import os
import select

_ESCAPE = "\x1b"
#: What terminals send for the keys that have no character.
_SEQUENCES = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\x1b[C": "right",
    "\x1bOC": "right",
    "\x1b[D": "left",
    "\x1bOD": "left",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[H": "home",
    "\x1bOH": "home",
    "\x1b[1~": "home",
    "\x1b[F": "end",
    "\x1bOF": "end",
    "\x1b[4~": "end",
    "\x1b[Z": "back tab",
    "\t": "tab",
    " ": "page down",
    _ESCAPE: "escape",
    "\x03": "interrupt",
}
_MAX_BYTES = 256


class KeyReader:
    """Reads the keys from a terminal that hands over every byte at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = ""
        self.has_ended = False

    def read(self, timeout_s: float) -> list[str]:
        """Wait for keys, and return them; empty where none came, or the terminal is gone."""
        ready, _, _ = select.select([self._descriptor], [], [], timeout_s)
        if not ready:
            # What a key sends comes at once: an escape by itself is that key.
            keys, self._begun = (["escape"] if self._begun == _ESCAPE else []), ""
            return keys
        try:
            received = os.read(self._descriptor, _MAX_BYTES)
        except OSError:
            received = b""
        self.has_ended = not received
        keys, self._begun = split_keys(self._begun + received.decode("ascii", "replace"))
        return keys


def split_keys(text: str) -> tuple[list[str], str]:
    """Return the names of the keys in a text, and the begin of one whose rest has not come.

    A character is its own name; sequences of other keys are left out.
    """
    keys: list[str] = []
    while text:
        length = _length(text)
        if length is None:
            return keys, text
        sequence, text = text[:length], text[length:]
        if sequence in _SEQUENCES or len(sequence) == 1:
            keys.append(_SEQUENCES.get(sequence, sequence))
    return keys, ""


def _length(text: str) -> int | None:
    """Return the length of the first key's sequence; None where it is not complete."""
    if not text.startswith(_ESCAPE):
        return 1
    if len(text) == 1:
        return None
    if text[1] == "O":
        return 3 if len(text) > 2 else None
    if text[1] != "[":
        return 1  # the escape key, and then another one
    # Parameters are followed by one final character.
    for place, character in enumerate(text[2:], start=3):
        if "@" <= character <= "~":
            return place
    return None if len(text) < _MAX_BYTES else len(text)
