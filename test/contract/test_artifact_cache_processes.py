"""The artifact cache with many processes, some of which are killed."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cache_child import make
from edge_inference.engines.cache.artifact_cache import ArtifactCache, key_of
from edge_inference.errors import CacheError

CHILD = Path(__file__).with_name("cache_child.py")
ROOT = CHILD.parents[2]
KEY = key_of({"wanted": 1})
OLD = key_of({"old": 1})
ROOM = 12_000  # one entry: making the second one removes the first
ASKING = 20
KILLS = 20


class Child:
    """A process that makes the entry and reports each step."""

    def __init__(self, cache: Path, how: str, counts: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), str(cache), KEY, str(ROOM), str(counts), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self.message = ""

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.communicate()

    def listen(self) -> str:
        assert self.process.stdout is not None
        self.message = self.process.stdout.readline()
        return self.message

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def run_to(self, step: int) -> bool:
        """Run it to a step, counted from 0, and stop there; False if it ended before."""
        for _ in range(step):
            if not self.is_at_a_step():
                return False
            self.go_on()
        return self.is_at_a_step()

    def is_at_a_step(self) -> bool:
        return not self.listen().startswith("{")


def quiet(what: str) -> None:
    """Run to the end without a stop."""


def whole(folder: Path) -> dict[str, str]:
    return make(folder, quiet)


def prepared(folder: Path) -> Path:
    """Make a cache with a damaged entry of the key, and an old one beyond the limit."""
    cache = ArtifactCache(folder)
    cache.get_or_make(OLD, whole, label="old")
    damaged = cache.get_or_make(KEY, whole, label="made-up")
    (damaged.folder / "engine.plan").write_bytes(b"half")
    return folder


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("template") / "cache")


@pytest.fixture(scope="module")
def steps(template: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every step of making an entry, in order."""
    folder = tmp_path_factory.mktemp("steps")
    found = []
    with Child(shutil.copytree(template, folder / "cache"), "standing", folder / "n") as child:
        while child.is_at_a_step():
            found.append(child.message.strip())
            child.go_on()
    return found


def assert_usable(folder: Path) -> None:
    """Check the state of the cache, which must hold after any event."""
    cache = ArtifactCache(folder, ROOM)
    for key in (KEY, OLD):
        try:
            found = cache.find(key)
        except CacheError as error:  # the initial damage, which no process repaired
            assert key == KEY
            assert "engine.plan: expected 3300 bytes, got 4" in str(error)
        else:
            if found is not None:
                found.verify()
    entry = cache.get_or_make(KEY, whole, label="made-up")
    entry.verify()
    assert len(entry.files) == 3
    assert list((folder / ".making").iterdir()) == []
    assert cache.faults() == []
    assert all(
        name.startswith("old-") for name in cache.clean()
    )  # the old entry is not removed yet
    assert [entry.key for entry in cache.entries()] == [KEY]
    assert list((folder / ".locks").iterdir()) == []


def test_many_processes_make_an_entry_once(tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    children = [Child(tmp_path / "cache", "together", counts) for _ in range(ASKING)]
    try:
        for child in children:
            assert child.listen() == "ready\n"
        for child in children:
            child.go_on()
        for child in children:
            message = json.loads(child.listen())
            assert message == {"done": True, "bytes": 3300, "made": "whole"}
            assert child.process.wait() == 0
    finally:
        for child in children:
            child.__exit__()
    assert len(counts.read_text().splitlines()) == 1
    assert_usable(tmp_path / "cache")


def test_the_steps_cover_every_phase(steps: list[str]) -> None:
    """The steps include locking, making, publishing and removing."""
    text = "\n".join(steps)
    for phase in (
        ".locks/",
        "os.mkdir",
        "make engine.plan 0",
        "make timing.bin 5",
        "entry.json",
        "fsync",
        "os.rename",
        "os.rmdir",
        "os.utime",
    ):
        assert phase in text
    assert text.count("os.rename") == 3  # the damaged entry, the new one, the removed one
    assert text.count("fsync") == 6  # three files, the sidecar, two folders
    assert publishing(steps) > KILLS


def assert_survives(template: Path, folder: Path, step: int) -> None:
    cache = shutil.copytree(template, folder / "cache")
    with Child(cache, "standing", folder / "counts") as child:
        assert child.run_to(step)
    try:
        assert_usable(cache)
    finally:
        shutil.rmtree(cache)


def publishing(steps: list[str]) -> int:
    """Return the first step of publishing."""
    return next(number for number, step in enumerate(steps) if "entry.json" in step)


def test_kill_9_at_random_times_leaves_a_usable_cache(
    template: Path, steps: list[str], tmp_path: Path
) -> None:
    for step in random.Random(20250).sample(range(publishing(steps)), KILLS):
        assert_survives(template, tmp_path, step)


def test_kill_9_at_every_step_of_publishing_leaves_a_usable_cache(
    template: Path, steps: list[str], tmp_path: Path
) -> None:
    for step in range(publishing(steps), len(steps)):
        assert_survives(template, tmp_path, step)


def test_a_waiting_process_takes_over_when_the_maker_is_killed(tmp_path: Path) -> None:
    cache, counts = tmp_path / "cache", tmp_path / "counts"
    with Child(cache, "standing", counts) as maker, Child(cache, "together", counts) as waiting:
        while "make layers.json 1" not in maker.listen():
            maker.go_on()
        assert waiting.listen() == "ready\n"
        waiting.go_on()
        maker.process.kill()
        assert json.loads(waiting.listen())["bytes"] == 3300
    assert len(counts.read_text().splitlines()) == 2
    assert_usable(cache)


def test_an_entry_in_use_by_another_process_stays(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    ArtifactCache(cache).get_or_make(KEY, whole)
    code = (
        "import sys; from pathlib import Path\n"
        "from edge_inference.engines.cache.artifact_cache import ArtifactCache\n"
        f"with ArtifactCache(Path({str(cache)!r})).find({KEY!r}).hold():\n"
        "    print('held', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert ArtifactCache(cache).clean(0) == []
        process.kill()
    assert ArtifactCache(cache).clean(0) == [f"entry-{KEY[:16]}"]
