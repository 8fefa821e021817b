"""The artifact cache with damage, refused writes and failures."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_inference.engines.cache import cache_entry, cache_lock
from edge_inference.engines.cache.artifact_cache import (
    ArtifactCache,
)
from edge_inference.errors import CacheError
from made_up_entries import KEY, OTHER, Clock, leftovers, make, never_make


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", clock=Clock())


class Stop(BaseException):
    """Not an Exception, like KeyboardInterrupt."""


def write_then(raised: BaseException) -> Callable[[Path], dict[str, Any]]:
    def make_and_raise(folder: Path) -> dict[str, Any]:
        make(folder)
        raise raised

    return make_and_raise


def write_metadata(metadata: Any) -> Callable[[Path], Any]:
    def make_with(folder: Path) -> Any:
        make(folder)
        return metadata

    return make_with


def write_extra(change: Callable[[Path], object]) -> Callable[[Path], dict[str, Any]]:
    def make_with(folder: Path) -> dict[str, Any]:
        change(folder)
        return make(folder)

    return make_with


@pytest.mark.parametrize(
    ("failing", "error"),
    [
        (write_then(RuntimeError("no memory")), RuntimeError),
        (write_then(Stop()), Stop),
        (write_then(FileNotFoundError("model.onnx")), FileNotFoundError),
        (write_metadata({"path": Path("x")}), TypeError),
        (write_metadata({"loss": float("nan")}), ValueError),
        (write_metadata(None), TypeError),
        (write_extra(lambda folder: (folder / "inner").mkdir()), ValueError),
        (write_extra(lambda folder: (folder / "link").symlink_to("layers.json")), ValueError),
        (write_extra(lambda folder: (folder / "entry.json").touch()), ValueError),
    ],
)
def test_a_failing_maker_leaves_nothing(
    cache: ArtifactCache, failing: Callable[[Path], Any], error: type[BaseException]
) -> None:
    with pytest.raises(error):
        cache.get_or_make(KEY, failing)
    assert leftovers(cache) == []
    assert cache.find(KEY) is None
    cache.get_or_make(KEY, make).verify()


def rewrite(change: Callable[[Any], object]) -> Callable[[Path], object]:
    """Change the content of a sidecar, but not its checksum."""

    def damage(folder: Path) -> None:
        document = json.loads((folder / "entry.json").read_text())
        change(document)
        (folder / "entry.json").write_text(json.dumps(document))

    return damage


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


#: Kinds of damage, and the text of the error.
SEEN_BY_FIND = {
    "file cut": (write("engine.plan", b"p" * 400), "engine.plan: expected 1000 bytes, got 400"),
    "file empty": (write("engine.plan", b""), "engine.plan: expected 1000 bytes, got 0"),
    "file gone": (
        lambda folder: (folder / "engine.plan").unlink(),
        "engine.plan: cannot be read (No such file or directory)",
    ),
    "sidecar gone": (
        lambda folder: (folder / "entry.json").unlink(),
        "entry.json: cannot be read (No such file or directory)",
    ),
    "sidecar empty": (write("entry.json", b""), "entry.json: expected JSON"),
    "sidecar cut": (
        lambda folder: os.truncate(folder / "entry.json", 100),
        "entry.json: expected JSON",
    ),
    "sidecar binary": (
        write("entry.json", b"\xff\xfe\x00"),
        "entry.json: cannot be read (not UTF-8",
    ),
    "sidecar a list": (write("entry.json", b"[]"), "expected a sidecar of format 1, got None"),
    "sidecar hollow": (write("entry.json", b'{"format": 1}'), "the sidecar was altered"),
    "sidecar NaN": (
        write("entry.json", b'{"format": 1, "entry": NaN}'),
        "entry.json: expected JSON",
    ),
    "sidecar deep": (write("entry.json", b"[" * 100_000), "entry.json: expected JSON"),
    "newer format": (
        rewrite(lambda document: document.update(format=2)),
        "entry.json: expected a sidecar of format 1, got 2",
    ),
    "metadata altered": (
        rewrite(lambda document: document["entry"]["metadata"].update(device="another")),
        "entry.json: the sidecar was altered: expected checksum",
    ),
    "checksum gone": (
        rewrite(lambda document: document.pop("checksum")),
        "the sidecar was altered: expected checksum None, got",
    ),
}
SEEN_BY_VERIFY = {
    "bytes altered": (
        write("engine.plan", b"p" * 999 + b"q"),
        "engine.plan: the file was altered: expected sha256",
    ),
}


def damage_cases(table: dict[str, tuple[Any, str]]) -> Any:
    return pytest.mark.parametrize(("damage", "words"), table.values(), ids=table.keys())


def assert_one_sentence(text: str) -> None:
    assert "\n" not in text
    assert "run `edge-inference engine clean`" in text


@damage_cases(SEEN_BY_FIND)
def test_find_reports_damage(cache: ArtifactCache, damage: Any, words: str) -> None:
    damage(cache.get_or_make(KEY, make).folder)
    with pytest.raises(CacheError) as error:
        cache.find(KEY)
    assert words in str(error.value)
    assert_one_sentence(str(error.value))
    assert cache.entries() == []
    assert cache.faults() == [str(error.value)]


@damage_cases(SEEN_BY_VERIFY)
def test_only_reading_detects_altered_bytes(cache: ArtifactCache, damage: Any, words: str) -> None:
    damage(cache.get_or_make(KEY, make).folder)
    found = cache.find(KEY)
    assert found is not None
    for check in (found.verify, lambda: found.read("engine.plan")):
        with pytest.raises(CacheError) as error:
            check()
        assert words in str(error.value)
        assert_one_sentence(str(error.value))


def test_reading_detects_damage_after_finding(cache: ArtifactCache) -> None:
    found = cache.get_or_make(KEY, make)
    (found.folder / "engine.plan").write_bytes(b"short")
    with pytest.raises(CacheError, match=r"expected 1000 bytes, got 5"):
        found.read("engine.plan")
    (found.folder / "engine.plan").unlink()
    for check in (found.verify, lambda: found.read("engine.plan")):
        with pytest.raises(CacheError, match=r"cannot be read \(No such file"):
            check()


@damage_cases(SEEN_BY_FIND | SEEN_BY_VERIFY)
def test_a_damaged_entry_is_made_again_and_reported_once(
    cache: ArtifactCache, damage: Any, words: str
) -> None:
    damage(cache.get_or_make(KEY, make).folder)
    reported: list[str] = []
    again = cache.get_or_make(KEY, make, report=reported.append)
    again.verify()
    assert len(reported) == 1
    assert words in reported[0]
    assert [entry.key for entry in cache.entries()] == [KEY]
    assert leftovers(cache) == []
    cache.get_or_make(KEY, never_make, report=reported.append)
    assert len(reported) == 1


@pytest.mark.parametrize(
    "take",
    [
        lambda folder: folder.write_bytes(b"x"),
        lambda folder: folder.symlink_to("/nowhere"),
        os.mkfifo,
    ],
)
def test_a_name_that_is_taken_by_something_else_is_freed(cache: ArtifactCache, take: Any) -> None:
    folder = cache.get_or_make(KEY, make).folder
    shutil.rmtree(folder)
    take(folder)
    assert cache.find(KEY) is None
    cache.get_or_make(KEY, make).verify()
    assert leftovers(cache) == []


@damage_cases(SEEN_BY_FIND | SEEN_BY_VERIFY)
def test_clean_removes_damaged_entries_only(cache: ArtifactCache, damage: Any, words: str) -> None:
    cache.get_or_make(OTHER, make)
    damaged = cache.get_or_make(KEY, make)
    damage(damaged.folder)
    assert cache.clean() == [damaged.folder.name]
    assert [entry.key for entry in cache.entries()] == [OTHER]
    assert cache.faults() == leftovers(cache) == []


def test_an_entry_under_another_key_is_damaged(cache: ArtifactCache) -> None:
    folder = cache.get_or_make(OTHER, make).folder
    folder.rename(cache.folder / f"entry-{KEY[:16]}")
    with pytest.raises(CacheError, match=f"expected the entry of key {KEY}, got one of {OTHER}"):
        cache.find(KEY)
    assert cache.get_or_make(KEY, make).key == KEY


def test_a_damaged_copy_does_not_hide_the_valid_entry(cache: ArtifactCache) -> None:
    entry = cache.get_or_make(KEY, make, label="sound")
    copy = shutil.copytree(entry.folder, cache.folder / f"copy-{KEY[:16]}")
    (copy / "engine.plan").unlink()
    found = cache.find(KEY)
    assert found is not None
    assert found.folder == entry.folder


def fill_the_disk(folder: Path) -> dict[str, Any]:
    Path("/dev/full").write_bytes(b"x" * 10_000)
    return {}


def test_a_disk_full_while_making(cache: ArtifactCache) -> None:
    with pytest.raises(CacheError, match=r"No space left on device\); free space, run"):
        cache.get_or_make(KEY, fill_the_disk)
    assert leftovers(cache) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "free space, run `edge-inference engine clean`, or choose another folder"),
        (errno.EDQUOT, "free space"),
        (errno.EROFS, "allow this user to write there"),
        (errno.EIO, "choose another folder with $EDGE_INFERENCE_CACHE"),
    ],
)
def test_a_disk_error_while_publishing(
    cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(CacheError) as error:
            cache.get_or_make(KEY, make)
    assert words in str(error.value)
    assert str(cache.folder) in str(error.value)
    assert leftovers(cache) == []
    assert cache.find(KEY) is None


def test_a_cache_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "cache"):
        with pytest.raises(CacheError, match=r"Not a directory|File exists"):
            ArtifactCache(folder).get_or_make(KEY, make)


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Refuse every write, as on a read-only disk; permissions do not stop root."""

    def refuse(path: Any, *_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    opened = os.open

    def open_for_reading(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            refuse(path)
        return opened(path, flags, *rest, **named)

    def switch() -> None:
        monkeypatch.setattr(os, "open", open_for_reading)
        monkeypatch.setattr(os, "utime", refuse)
        for name in ("mkdir", "rename", "unlink"):
            monkeypatch.setattr(Path, name, refuse)

    yield switch
    monkeypatch.undo()


def test_a_read_only_cache_provides_its_entries(
    cache: ArtifactCache, read_only: Callable[[], None]
) -> None:
    cache.get_or_make(KEY, make)
    (cache.folder / ".making" / f"entry-{OTHER[:16]}.0a1b2c3d").mkdir()
    read_only()
    found = cache.find(KEY)
    assert found is not None
    with found.hold():
        assert found.read("layers.json") == b"{}"
    assert cache.get_or_make(KEY, never_make).key == KEY
    for refused in (
        lambda: cache.get_or_make(OTHER, never_make),
        lambda: cache.remove(KEY),
        lambda: cache.clean(0),
    ):
        with pytest.raises(CacheError, match=r"Read-only file system\); allow this user"):
            refused()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(
    cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache_lock.fcntl, "flock", refuse)
    with pytest.raises(CacheError, match=r"has no file locks .* put the cache on a local disk"):
        cache.get_or_make(KEY, never_make)


def test_a_changed_sidecar_is_refused(cache: ArtifactCache) -> None:
    """A change of any byte of the sidecar is detected, or has no effect."""
    entry = cache.get_or_make(KEY, make)
    sidecar = entry.folder / "entry.json"
    original = sidecar.read_bytes()
    for place in range(0, len(original), 7):
        sidecar.write_bytes(original[:place] + b"#" + original[place + 1 :])
        with pytest.raises(CacheError):
            cache_entry.read_entry(entry.folder)
