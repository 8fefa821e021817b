"""Removes from a recording what identifies a machine or its owner."""

from __future__ import annotations

import re

from edge_inference.platforms.file_patterns import is_kernel_file

_HEX = "[0-9A-Fa-f]"
_ADDRESS = re.compile(
    rf"(?<![0-9A-Fa-f:])(?:{_HEX}{{2}}(?P<sep>[:_-]))(?:{_HEX}{{2}}(?P=sep)){{4}}"
    rf"{_HEX}{{2}}(?![0-9A-Fa-f:])"
)
_UUID = re.compile(rf"\b{_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}\b")
_SERIAL = re.compile(r"(?im)(serial[ \w-]*?[ \t]*[:=][ \t]*)[^\s,;]+")
_REMOVED = "removed"


class Anonymizer:
    """Replaces addresses and UUIDs by numbered ones, serial numbers and the host name by a word.

    Equal addresses get equal replacements, so that references stay consistent.
    """

    def __init__(self, host_name: str = "") -> None:
        self._host = (
            re.compile(rf"(?<![\w-]){re.escape(host_name)}(?![\w-])") if host_name else None
        )
        self._aliases: dict[str, str] = {}

    def anonymize_path(self, path: str) -> str:
        """Return a path without them: the battery of a mouse is named by its address."""
        name = self._numbered(path)
        return name if is_kernel_file(path) else self._without_host(name)

    def anonymize_content(self, path: str, content: bytes) -> bytes:
        """Return the content of a file without them."""
        if "serial" in path.rpartition("/")[2].lower():
            return _REMOVED.encode()
        # latin-1 maps each byte to one character and back, so all other bytes stay the same.
        text = self._numbered(_SERIAL.sub(rf"\1{_REMOVED}", content.decode("latin-1")))
        if not is_kernel_file(path):  # a file of the kernel does not contain the host name
            text = self._without_host(text)
        return text.encode("latin-1")

    def anonymize_text(self, text: str) -> str:
        """Return free text without them."""
        return self._without_host(self._numbered(_SERIAL.sub(rf"\1{_REMOVED}", text)))

    def _without_host(self, text: str) -> str:
        return text if self._host is None else self._host.sub(_REMOVED, text)

    def _numbered(self, text: str) -> str:
        return _UUID.sub(self._uuid, _ADDRESS.sub(self._address, text))

    def _address(self, match: re.Match[str]) -> str:
        separator = match["sep"]
        digits = f"{self._number(match[0].lower().replace(separator, '')):012x}"
        return separator.join(digits[i : i + 2] for i in range(0, 12, 2))

    def _uuid(self, match: re.Match[str]) -> str:
        return f"00000000-0000-0000-0000-{self._number(match[0].lower()):012x}"

    def _number(self, secret: str) -> int:
        return int(self._aliases.setdefault(secret, str(len(self._aliases) + 1)))
