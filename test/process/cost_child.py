"""A process that adds measured costs; the tests start several at once, and kill some.

On request it writes a mark before every change of the file system in the cache and waits for a
line: it stops where it is killed, without a sleep.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from edge_inference.core.engine_configuration import EngineConfiguration
from edge_inference.core.measured_costs import Cost, Measurement, Spread
from edge_inference.engines.cache.cost_cache import CostCache

CHANGES = ("open", "os.mkdir", "os.rename", "os.remove", "fcntl.flock")
MACHINE = {"cpu": "A Processor"}


def measurement(writer: str, number: int) -> Measurement:
    configuration = EngineConfiguration(writer, "fp32", "ort", f"{number:064x}")
    return Measurement(writer, float(number), (Cost(configuration, 20, Spread(0.01, 0.02)),))


def stand_still_at_changes(cache: Path) -> None:
    def mark(what: str) -> None:
        print(what, flush=True)
        sys.stdin.readline()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES:
            return
        path = str(arguments[0])  # a descriptor is a number
        if Path(path).is_absolute() and cache not in Path(path).parents:
            return
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
    folder, writer, count, standing = sys.argv[1:]
    cache = CostCache(Path(folder), MACHINE)
    if standing == "standing":
        stand_still_at_changes(Path(folder))
    else:
        print("ready", flush=True)
        sys.stdin.readline()
    for number in range(int(count)):
        cache.add(measurement(writer, number))
    print("done", flush=True)


if __name__ == "__main__":
    main()
