"""The artifact cache in one process."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.engines.cache.artifact_cache import (
    DEFAULT_LIMIT_BYTES,
    ArtifactCache,
    CacheEntry,
    default_cache_folder,
    key_of,
)
from edge_inference.errors import CacheError
from made_up_entries import FILES, KEY, OTHER, Clock, leftovers, make, make_of, never_make


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", clock=Clock())


def numbered_key(number: int) -> str:
    return key_of({"number": number})


def test_an_empty_cache_is_not_created(cache: ArtifactCache) -> None:
    assert cache.find(KEY) is None
    assert cache.entries() == []
    assert cache.faults() == []
    assert cache.clean() == []
    assert cache.remove(KEY) is False
    assert not cache.folder.exists()


def test_a_new_entry_is_found(cache: ArtifactCache) -> None:
    made = cache.get_or_make(KEY, make, label="nanodet fp16/trt")
    found = cache.find(KEY)
    assert found is not None
    assert found.key == KEY
    assert found.metadata == {
        "device": "made-up",
        "seconds": 1.5,
        "profiles": [[1, 3, 224, 224]],
    }
    assert {name: found.read(name) for name in found.files} == FILES
    assert found.path("engine.plan").read_bytes() == FILES["engine.plan"]
    assert found.size == 1002
    assert found.folder.name == f"nanodet_fp16_trt-{KEY[:16]}"
    assert made.created_s < made.used_s < found.used_s
    found.verify()
    assert leftovers(cache) == []


def test_an_entry_is_made_once_for_its_key(cache: ArtifactCache) -> None:
    first = cache.get_or_make(KEY, make)
    assert cache.get_or_make(KEY, never_make, label="another name").folder == first.folder
    assert cache.find(OTHER) is None
    cache.get_or_make(OTHER, make_of(3))
    assert [entry.key for entry in cache.entries()] == [OTHER, KEY]


def test_an_entry_may_have_metadata_only(cache: ArtifactCache) -> None:
    cache.get_or_make(KEY, lambda folder: {"verdict": "no"})
    found = cache.find(KEY)
    assert found is not None
    assert (found.files, found.metadata, found.size) == ({}, {"verdict": "no"}, 0)


def test_metadata_are_read_as_json(cache: ArtifactCache) -> None:
    made = cache.get_or_make(KEY, lambda folder: {"pair": (1, 2), "counts": {10: "a", 9: "b"}})
    assert made.metadata == {"pair": [1, 2], "counts": {"10": "a", "9": "b"}}


@pytest.mark.parametrize("label", ["", "../../etc", "a/b", "ü", "-", "." * 200, "x" * 300])
def test_any_label_gives_a_folder_inside_the_cache(cache: ArtifactCache, label: str) -> None:
    entry = cache.get_or_make(KEY, make, label=label)
    assert entry.folder.parent == cache.folder
    assert not entry.folder.name.startswith(".")
    assert cache.find(KEY) is not None


@pytest.mark.parametrize("key", ["", "abc", "*", KEY.upper(), KEY + "0", "../" + KEY[3:]])
def test_a_key_is_64_digits(cache: ArtifactCache, key: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        cache.find(key)
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        cache.get_or_make(key, make)


def test_a_file_that_is_not_in_the_entry(cache: ArtifactCache) -> None:
    entry = cache.get_or_make(KEY, make)
    with pytest.raises(CacheError, match=r"'plan' .* got engine.plan, layers.json; run"):
        entry.path("plan")


def test_other_files_in_the_folder_are_unchanged(cache: ArtifactCache) -> None:
    cache.folder.mkdir()
    (cache.folder / "timing.cache").write_text("not an entry")
    (cache.folder / "calibration").mkdir()
    (cache.folder / f"file-{KEY[:16]}").write_text("a file")
    cache.get_or_make(KEY, make)
    (cache.folder / ".making" / "notes").mkdir()
    cache.clean(0)
    assert sorted(file.name for file in cache.folder.iterdir()) == [
        ".locks",
        ".making",
        "calibration",
        f"file-{KEY[:16]}",
        "timing.cache",
    ]
    assert (cache.folder / ".making" / "notes").is_dir()


def test_remove(cache: ArtifactCache) -> None:
    entry = cache.get_or_make(KEY, make)
    cache.get_or_make(OTHER, make)
    assert cache.remove(KEY)
    assert not cache.remove(KEY)
    assert not entry.folder.exists()
    assert [entry.key for entry in cache.entries()] == [OTHER]
    assert leftovers(cache) == []


def test_the_least_recently_used_entries_are_removed(tmp_path: Path) -> None:
    room_for_three = 3 * 10_000 + 3 * 2_000  # 2,000 bytes for each sidecar
    cache = ArtifactCache(tmp_path, room_for_three, clock=Clock())
    for number in range(3):
        cache.get_or_make(numbered_key(number), make_of(10_000))
    assert cache.find(numbered_key(0)) is not None  # so that 1 is the oldest
    cache.get_or_make(numbered_key(3), make_of(10_000))
    kept = {entry.key for entry in cache.entries()}
    assert kept == {numbered_key(number) for number in (0, 2, 3)}
    assert leftovers(cache) == []


def test_an_entry_larger_than_the_limit_is_kept(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, 1000, clock=Clock())
    cache.get_or_make(KEY, make_of(100))
    made = cache.get_or_make(OTHER, make_of(5000))
    made.verify()
    assert [entry.key for entry in cache.entries()] == [OTHER]


def test_an_entry_without_sidecar_is_removed_first(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, 25_000, clock=Clock())
    cache.get_or_make(KEY, make_of(10_000))
    broken = cache.get_or_make(OTHER, make_of(10_000))
    (broken.folder / "entry.json").unlink()
    cache.get_or_make(numbered_key(1), make_of(10_000))
    assert {entry.key for entry in cache.entries()} == {KEY, numbered_key(1)}


def test_clean_uses_the_given_limit(cache: ArtifactCache) -> None:
    folders = [cache.get_or_make(numbered_key(n), make_of(10_000)).folder for n in range(4)]
    assert cache.clean() == []
    assert cache.clean(25_000) == [folders[0].name, folders[1].name]
    assert cache.clean(0) == [folders[2].name, folders[3].name]
    assert cache.entries() == []


def test_there_is_a_default_limit(tmp_path: Path) -> None:
    assert ArtifactCache(tmp_path).limit_bytes == DEFAULT_LIMIT_BYTES
    assert ArtifactCache(tmp_path, 0).limit_bytes == 0


def test_an_entry_in_use_stays(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, 0, clock=Clock())
    held = cache.get_or_make(KEY, make)
    with held.hold() as entry, held.hold():
        cache.get_or_make(OTHER, make)
        assert cache.clean() == [f"entry-{OTHER[:16]}"]
        with pytest.raises(CacheError, match="is in use; end the process"):
            cache.remove(KEY)
        assert entry.read("layers.json") == b"{}"
    assert cache.clean() == [held.folder.name]


def test_a_removed_entry_cannot_be_held(cache: ArtifactCache) -> None:
    entry = cache.get_or_make(KEY, make)
    cache.remove(KEY)
    with pytest.raises(CacheError, match="was removed by another process"), entry.hold():
        raise AssertionError
    cache.get_or_make(KEY, make)
    with entry.hold() as held:
        held.verify()


def test_an_entry_in_the_making_is_not_removed(cache: ArtifactCache) -> None:
    entry = cache.get_or_make(KEY, make)
    (entry.folder / "engine.plan").unlink()

    def make_while_others_clean(folder: Path) -> dict[str, Any]:
        assert ArtifactCache(cache.folder).clean(0) == []
        with pytest.raises(CacheError, match="in use"):
            ArtifactCache(cache.folder).remove(KEY)
        return make(folder)

    cache.get_or_make(KEY, make_while_others_clean).verify()


def test_files_of_another_maker_are_not_swept(cache: ArtifactCache) -> None:
    def make_while_others_work(folder: Path) -> dict[str, Any]:
        other = ArtifactCache(cache.folder)
        other.get_or_make(OTHER, make)
        other.get_or_make(OTHER, never_make)
        other.clean()
        return make(folder)

    cache.get_or_make(KEY, make_while_others_work).verify()
    assert cache.find(OTHER) is not None


@pytest.mark.parametrize("by", [KEY, OTHER])
@pytest.mark.parametrize("there_already", [False, True])
def test_the_next_caller_sweeps_leftovers(
    cache: ArtifactCache, by: str, there_already: bool
) -> None:
    if there_already:
        cache.get_or_make(by, make)
    for name in (f"entry-{KEY[:16]}.0a1b2c3d", f"entry-{KEY[:16]}.0a1b2c3e.gone"):
        (cache.folder / ".making" / name).mkdir(parents=True)
        (cache.folder / ".making" / name / "engine.plan").write_bytes(b"half")
    cache.get_or_make(by, make)
    assert leftovers(cache) == []


def test_clean_removes_the_lock_files_of_killed_makers(cache: ArtifactCache) -> None:
    (cache.folder / ".locks").mkdir(parents=True)
    (cache.folder / ".locks" / KEY[:16]).touch()
    cache.clean()
    assert leftovers(cache) == []


def test_a_wait_can_be_cancelled(cache: ArtifactCache) -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) == 3

    def make_while_another_waits(folder: Path) -> dict[str, Any]:
        with pytest.raises(CacheError, match="cancelled while waiting for another process"):
            ArtifactCache(cache.folder).get_or_make(KEY, never_make, cancelled=cancelled)
        return make(folder)

    cache.get_or_make(KEY, make_while_another_waits).verify()
    assert len(asked) == 3


def test_threads_make_an_entry_once(cache: ArtifactCache) -> None:
    makers: list[int] = []
    everybody = threading.Barrier(8)

    def make_and_count(folder: Path) -> dict[str, Any]:
        makers.append(threading.get_ident())
        return make(folder)

    entries: list[CacheEntry] = []

    def ask() -> None:
        everybody.wait()
        entries.append(cache.get_or_make(KEY, make_and_count))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(makers) == 1
    assert len(entries) == 8


def test_permissions_follow_the_umask(cache: ArtifactCache) -> None:
    before = os.umask(0o022)
    try:
        entry = cache.get_or_make(KEY, make)
    finally:
        os.umask(before)
    assert entry.folder.stat().st_mode & 0o777 == 0o755
    assert (entry.folder / "entry.json").stat().st_mode & 0o777 == 0o644


@given(
    st.dictionaries(
        st.text(),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        min_size=1,
    )
    .filter(lambda parts: float("inf") not in parts.values())
    .filter(lambda parts: float("-inf") not in parts.values()),
    st.randoms(),
)
def test_a_key_depends_on_content_not_on_order(parts: dict[str, Any], random: Any) -> None:
    items = list(parts.items())
    random.shuffle(items)
    assert key_of(dict(items)) == key_of(parts)
    name, value = items[0]
    assert key_of({**parts, name: [value]}) != key_of(parts)


def test_a_key_of_values_other_than_json_is_an_error() -> None:
    for value in (Path("x"), {1}, b"x"):
        with pytest.raises(TypeError):
            key_of({"part": value})
    with pytest.raises(ValueError, match="JSON"):
        key_of({"part": float("nan")})


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"EDGE_INFERENCE_CACHE": "/big/cache", "HOME": "/h"}, "/big/cache"),
        ({"EDGE_INFERENCE_CACHE": "", "XDG_CACHE_HOME": "/xdg"}, "/xdg/edge_inference"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/edge_inference"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/edge_inference"),
    ],
)
def test_the_default_folder(environ: dict[str, str], folder: str) -> None:
    assert default_cache_folder(environ) == Path(folder)


def test_an_unknown_user_in_the_cache_folder() -> None:
    with pytest.raises(CacheError, match=r"set .EDGE_INFERENCE_CACHE"):
        default_cache_folder({"EDGE_INFERENCE_CACHE": "~no-such-user-here/cache"})
