"""Made-up cache entries for the tests of the artifact cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_inference.engines.cache.artifact_cache import ArtifactCache, key_of

KEY = key_of({"model": "made-up", "precision": "fp16"})
OTHER = key_of({"model": "made-up", "precision": "int8"})
FILES = {"engine.plan": b"p" * 1000, "layers.json": b"{}"}


def make(folder: Path) -> dict[str, Any]:
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return {"device": "made-up", "seconds": 1.5, "profiles": [[1, 3, 224, 224]]}


def make_of(size: int) -> Callable[[Path], dict[str, Any]]:
    def make_sized(folder: Path) -> dict[str, Any]:
        (folder / "data").write_bytes(bytes(size))
        return {}

    return make_sized


def never_make(folder: Path) -> dict[str, Any]:
    raise AssertionError("an existing entry was made again")


class Clock:
    """A clock that advances by one second with every call."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def leftovers(cache: ArtifactCache) -> list[str]:
    """Return the files that may exist only while an entry is made or removed."""
    places = (cache.folder / ".making", cache.folder / ".locks")
    return [file.name for place in places if place.is_dir() for file in place.iterdir()]
