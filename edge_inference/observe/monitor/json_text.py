"""Dataclasses as JSON that every program reads: NaN and infinity, which are unknown, are null."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any


def json_text(value: object) -> str:
    """Return dataclasses, containers, texts and numbers as JSON in one line."""
    return json.dumps(_plain(value), allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if dataclasses.is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    raise TypeError(f"expected plain data for JSON, got {type(value).__name__}")
