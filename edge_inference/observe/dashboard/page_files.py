"""The files of the page, in memory, each with its type and a tag of its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.bounded_file import is_regular_file, read_bytes
from edge_inference.errors import ConfigError

_INDEX = "index.html"
_MAX_BYTES = 1 << 20
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}


@dataclass(frozen=True)
class PageFile:
    """A file; ``tag`` is its ETag, in quotes."""

    content: bytes
    kind: str
    tag: str


def read_page_files(folder: Path) -> dict[str, PageFile]:
    """Return the files of a folder by their path in a URL; "" is index.html.

    Only these are ever served. Files of other types, such as a licence, are left out. Raises
    ConfigError where the page is missing or cannot be read.
    """
    found: dict[str, PageFile] = {}
    try:
        for file in sorted(folder.rglob("*")):
            kind = _KINDS.get(file.suffix)
            if kind is None or not is_regular_file(file):
                continue
            content = read_bytes(file, _MAX_BYTES)
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[file.relative_to(folder).as_posix()] = PageFile(content, kind, tag)
    except OSError as error:
        raise ConfigError(f"the page of the dashboard cannot be read: {error}") from error
    if _INDEX not in found:
        raise ConfigError(
            f"{folder / _INDEX}: the page of the dashboard is missing; install the package again"
        )
    found[""] = found[_INDEX]
    return found
