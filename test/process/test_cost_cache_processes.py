"""Measured costs, added by several processes at once, some of which are killed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from cost_child import MACHINE, measurement
from edge_inference.engines.cache.cost_cache import CostCache

CHILD = Path(__file__).with_name("cost_child.py")
ROOT = CHILD.parents[2]
WRITERS = ("first", "second", "third")
EACH = 12


class Child:
    """A process that adds costs and reports its steps."""

    def __init__(self, cache: Path, writer: str, count: int, how: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), str(cache), writer, str(count), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.communicate()

    def listen(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


def test_concurrent_writers_lose_nothing(tmp_path: Path) -> None:
    with ExitStack() as running:
        children = [
            running.enter_context(Child(tmp_path, writer, EACH, "together")) for writer in WRITERS
        ]
        assert [child.listen() for child in children] == ["ready"] * len(WRITERS)
        for child in children:
            child.go_on()
        assert [child.listen() for child in children] == ["done"] * len(WRITERS)
    kept = CostCache(tmp_path, MACHINE).read().measurements
    for writer in WRITERS:
        own = [each for each in kept if each.by == writer]
        assert own == [measurement(writer, number) for number in range(EACH)]


def test_a_process_killed_at_any_step_leaves_valid_costs(tmp_path: Path) -> None:
    before, after = measurement("before", 0), measurement("child", 0)
    steps: list[str] = []
    for step in range(100):
        folder = tmp_path / str(step)
        cache = CostCache(folder, MACHINE)
        cache.add(before)
        with Child(folder, "child", 1, "standing") as child:
            for _ in range(step):
                child.listen()
                child.go_on()
            message = child.listen()
        assert cache.read().measurements in ((before,), (before, after))
        cache.add(
            measurement("next", 0)
        )  # locks and partial files of killed processes do not block it
        assert cache.read().measurements[-1] == measurement("next", 0)
        assert [file.name for file in cache.file.parent.iterdir()] == [cache.file.name]
        if message == "done":
            break
        steps.append(message.partition(" ")[0])
    assert message == "done"
    assert {"open", "fsync", "os.rename"} <= set(steps)
