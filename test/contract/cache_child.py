"""A process that requests an entry of the cache; the tests start it, and kill it.

Before every change of the file system in the cache, and at every step of the making, it
writes a mark and waits for a line: it stops where it is killed, without a sleep.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_inference.engines.cache.artifact_cache import ArtifactCache

CHANGES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.utime", "fcntl.flock")


def make(folder: Path, mark: Callable[[str], None]) -> dict[str, Any]:
    for name in ("engine.plan", "layers.json", "timing.bin"):
        with (folder / name).open("wb") as file:
            for piece in range(6):
                mark(f"make {name} {piece}")
                file.write(name.encode() * 50)
                file.flush()
    return {"made": "whole"}


def stand_still_at_changes(cache: Path, mark: Callable[[str], None]) -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES:
            return
        path = str(arguments[0])  # a descriptor is a number
        if Path(path).is_absolute() and cache not in Path(path).parents:
            return  # rmtree uses names relative to the folder
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        mark(f"{event} {path}")

    sys.addaudithook(hook)
    fsync = os.fsync

    def marked_fsync(descriptor: int) -> None:
        mark("fsync")
        fsync(descriptor)

    os.fsync = marked_fsync


def main() -> None:
    cache, key, limit, count_file, standing = sys.argv[1:]

    def mark(what: str) -> None:
        if standing == "standing":
            print(what, flush=True)
            sys.stdin.readline()

    def make_and_count(folder: Path) -> dict[str, Any]:
        with Path(count_file).open("a") as file:
            file.write(f"{os.getpid()}\n")
        return make(folder, mark)

    if standing == "together":
        print("ready", flush=True)
        sys.stdin.readline()
    stand_still_at_changes(Path(cache), mark)
    entry = ArtifactCache(Path(cache), int(limit)).get_or_make(key, make_and_count, label="made-up")
    whole = len(entry.read("engine.plan"))
    print(json.dumps({"done": True, "bytes": whole, **entry.metadata}), flush=True)


if __name__ == "__main__":
    main()
