"""Sizes in bytes as text."""

from __future__ import annotations

import re

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?) ?(?P<unit>[A-Za-z]*)", re.ASCII)


def format_megabytes(size: int | None) -> str:
    """Format a file size; None stands for a missing file."""
    return "missing" if size is None else f"{size / 1e6:.1f} MB"


def parse_size(text: str) -> int:
    """Parse ``2GiB``, ``500 MB`` or ``0``; raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or match["unit"].upper() not in _UNITS:
        raise ValueError(f"expected a size such as 2GiB or 500MB, got {text!r}")
    return int(float(match["number"]) * _UNITS[match["unit"].upper()])
