"""The cache of built things, used by one process."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.engines import store_entry, store_lock
from edge_inference.engines.store import (
    DEFAULT_LIMIT_BYTES,
    Entry,
    Store,
    default_cache_folder,
    key_of,
)
from edge_inference.errors import CacheError

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
    raise AssertionError("made although it was there")


class Clock:
    """Seconds that pass by one with every look."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", clock=Clock())


def left_overs(store: Store) -> list[str]:
    """Return what should only be there while an entry is made or removed."""
    places = (store.folder / ".making", store.folder / ".locks")
    return [file.name for place in places if place.is_dir() for file in place.iterdir()]


def numbered_key(number: int) -> str:
    return key_of({"number": number})


def test_an_empty_cache_has_nothing_and_is_not_created(store: Store) -> None:
    assert store.find(KEY) is None
    assert store.entries() == []
    assert store.faults() == []
    assert store.clean() == []
    assert store.remove(KEY) is False
    assert not store.folder.exists()


def test_what_was_made_is_found(store: Store) -> None:
    made = store.get_or_make(KEY, make, label="nanodet fp16/trt")
    found = store.find(KEY)
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
    assert left_overs(store) == []


def test_it_is_made_once_and_for_its_key_only(store: Store) -> None:
    first = store.get_or_make(KEY, make)
    assert store.get_or_make(KEY, never_make, label="another name").folder == first.folder
    assert store.find(OTHER) is None
    store.get_or_make(OTHER, make_of(3))
    assert [entry.key for entry in store.entries()] == [OTHER, KEY]


def test_an_entry_may_be_of_metadata_only(store: Store) -> None:
    store.get_or_make(KEY, lambda folder: {"verdict": "no"})
    found = store.find(KEY)
    assert found is not None
    assert (found.files, found.metadata, found.size) == ({}, {"verdict": "no"}, 0)


def test_metadata_come_back_as_json_holds_them(store: Store) -> None:
    made = store.get_or_make(KEY, lambda folder: {"pair": (1, 2), "counts": {10: "a", 9: "b"}})
    assert made.metadata == {"pair": [1, 2], "counts": {"10": "a", "9": "b"}}


@pytest.mark.parametrize("label", ["", "../../etc", "a/b", "ü", "-", "." * 200, "x" * 300])
def test_any_label_gives_a_folder_inside_the_cache(store: Store, label: str) -> None:
    entry = store.get_or_make(KEY, make, label=label)
    assert entry.folder.parent == store.folder
    assert not entry.folder.name.startswith(".")
    assert store.find(KEY) is not None


@pytest.mark.parametrize("key", ["", "abc", "*", KEY.upper(), KEY + "0", "../" + KEY[3:]])
def test_a_key_is_64_digits(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        store.find(key)
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        store.get_or_make(key, make)


def test_a_name_that_the_entry_does_not_have(store: Store) -> None:
    entry = store.get_or_make(KEY, make)
    with pytest.raises(CacheError, match=r"'plan' .* has engine.plan, layers.json; run"):
        entry.path("plan")


class Stop(BaseException):
    """As KeyboardInterrupt is: no Exception."""


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
    store: Store, failing: Callable[[Path], Any], error: type[BaseException]
) -> None:
    with pytest.raises(error):
        store.get_or_make(KEY, failing)
    assert left_overs(store) == []
    assert store.find(KEY) is None
    store.get_or_make(KEY, make).verify()


def rewrite(change: Callable[[Any], object]) -> Callable[[Path], object]:
    """Change what a sidecar says, and leave its checksum."""

    def damage(folder: Path) -> None:
        document = json.loads((folder / "entry.json").read_text())
        change(document)
        (folder / "entry.json").write_text(json.dumps(document))

    return damage


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


#: How an entry is damaged, and what the sentence says about it.
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
    "sidecar binary": (write("entry.json", b"\xff\xfe\x00"), "entry.json: expected JSON"),
    "sidecar a list": (write("entry.json", b"[]"), "expected a description of format 1, got None"),
    "sidecar hollow": (write("entry.json", b'{"format": 1}'), "the description was altered"),
    "sidecar NaN": (
        write("entry.json", b'{"format": 1, "entry": NaN}'),
        "entry.json: expected JSON",
    ),
    "sidecar deep": (write("entry.json", b"[" * 100_000), "entry.json: expected JSON"),
    "newer format": (
        rewrite(lambda document: document.update(format=2)),
        "entry.json: expected a description of format 1, got 2",
    ),
    "metadata altered": (
        rewrite(lambda document: document["entry"]["metadata"].update(device="another")),
        "entry.json: the description was altered: expected checksum",
    ),
    "checksum gone": (
        rewrite(lambda document: document.pop("checksum")),
        "the description was altered: expected checksum None, got",
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
def test_find_says_what_is_damaged(store: Store, damage: Any, words: str) -> None:
    damage(store.get_or_make(KEY, make).folder)
    with pytest.raises(CacheError) as error:
        store.find(KEY)
    assert words in str(error.value)
    assert_one_sentence(str(error.value))
    assert store.entries() == []
    assert store.faults() == [str(error.value)]


@damage_cases(SEEN_BY_VERIFY)
def test_only_reading_sees_other_bytes(store: Store, damage: Any, words: str) -> None:
    damage(store.get_or_make(KEY, make).folder)
    found = store.find(KEY)
    assert found is not None
    for check in (found.verify, lambda: found.read("engine.plan")):
        with pytest.raises(CacheError) as error:
            check()
        assert words in str(error.value)
        assert_one_sentence(str(error.value))


def test_reading_sees_what_happened_after_finding(store: Store) -> None:
    found = store.get_or_make(KEY, make)
    (found.folder / "engine.plan").write_bytes(b"short")
    with pytest.raises(CacheError, match=r"expected 1000 bytes, got 5"):
        found.read("engine.plan")
    (found.folder / "engine.plan").unlink()
    for check in (found.verify, lambda: found.read("engine.plan")):
        with pytest.raises(CacheError, match=r"cannot be read \(No such file"):
            check()


@damage_cases(SEEN_BY_FIND | SEEN_BY_VERIFY)
def test_a_damaged_entry_is_made_anew_and_reported_once(
    store: Store, damage: Any, words: str
) -> None:
    damage(store.get_or_make(KEY, make).folder)
    reported: list[str] = []
    again = store.get_or_make(KEY, make, report=reported.append)
    again.verify()
    assert len(reported) == 1
    assert words in reported[0]
    assert [entry.key for entry in store.entries()] == [KEY]
    assert left_overs(store) == []
    store.get_or_make(KEY, never_make, report=reported.append)
    assert len(reported) == 1


@damage_cases(SEEN_BY_FIND | SEEN_BY_VERIFY)
def test_clean_removes_what_is_damaged_only(store: Store, damage: Any, words: str) -> None:
    store.get_or_make(OTHER, make)
    damaged = store.get_or_make(KEY, make)
    damage(damaged.folder)
    assert store.clean() == [damaged.folder.name]
    assert [entry.key for entry in store.entries()] == [OTHER]
    assert store.faults() == left_overs(store) == []


def test_an_entry_under_another_key_is_damaged(store: Store) -> None:
    folder = store.get_or_make(OTHER, make).folder
    folder.rename(store.folder / f"entry-{KEY[:16]}")
    with pytest.raises(CacheError, match=f"expected the entry made for {KEY}, .* for {OTHER}"):
        store.find(KEY)
    assert store.get_or_make(KEY, make).key == KEY


def test_a_damaged_copy_does_not_hide_the_sound_entry(store: Store) -> None:
    entry = store.get_or_make(KEY, make, label="sound")
    copy = shutil.copytree(entry.folder, store.folder / f"copy-{KEY[:16]}")
    (copy / "engine.plan").unlink()
    found = store.find(KEY)
    assert found is not None
    assert found.folder == entry.folder


def test_other_things_in_the_folder_are_left_alone(store: Store) -> None:
    store.folder.mkdir()
    (store.folder / "timing.cache").write_text("not an entry")
    (store.folder / "calibration").mkdir()
    (store.folder / f"file-{KEY[:16]}").write_text("a file")
    store.get_or_make(KEY, make)
    (store.folder / ".making" / "notes").mkdir()
    store.clean(0)
    assert sorted(file.name for file in store.folder.iterdir()) == [
        ".locks",
        ".making",
        "calibration",
        f"file-{KEY[:16]}",
        "timing.cache",
    ]
    assert (store.folder / ".making" / "notes").is_dir()


def test_remove(store: Store) -> None:
    entry = store.get_or_make(KEY, make)
    store.get_or_make(OTHER, make)
    assert store.remove(KEY)
    assert not store.remove(KEY)
    assert not entry.folder.exists()
    assert [entry.key for entry in store.entries()] == [OTHER]
    assert left_overs(store) == []


def test_the_least_recently_used_make_room(tmp_path: Path) -> None:
    room_for_three = 3 * 10_000 + 3 * 2_000  # 2,000 bytes for each description
    store = Store(tmp_path, room_for_three, clock=Clock())
    for number in range(3):
        store.get_or_make(numbered_key(number), make_of(10_000))
    assert store.find(numbered_key(0)) is not None  # so that 1 is the oldest
    store.get_or_make(numbered_key(3), make_of(10_000))
    kept = {entry.key for entry in store.entries()}
    assert kept == {numbered_key(number) for number in (0, 2, 3)}
    assert left_overs(store) == []


def test_an_entry_larger_than_the_limit_is_kept_alone(tmp_path: Path) -> None:
    store = Store(tmp_path, 1000, clock=Clock())
    store.get_or_make(KEY, make_of(100))
    made = store.get_or_make(OTHER, make_of(5000))
    made.verify()
    assert [entry.key for entry in store.entries()] == [OTHER]


def test_an_entry_without_description_goes_first(tmp_path: Path) -> None:
    store = Store(tmp_path, 25_000, clock=Clock())
    store.get_or_make(KEY, make_of(10_000))
    broken = store.get_or_make(OTHER, make_of(10_000))
    (broken.folder / "entry.json").unlink()
    store.get_or_make(numbered_key(1), make_of(10_000))
    assert {entry.key for entry in store.entries()} == {KEY, numbered_key(1)}


def test_clean_keeps_to_the_given_limit(store: Store) -> None:
    folders = [store.get_or_make(numbered_key(n), make_of(10_000)).folder for n in range(4)]
    assert store.clean() == []
    assert store.clean(25_000) == [folders[0].name, folders[1].name]
    assert store.clean(0) == [folders[2].name, folders[3].name]
    assert store.entries() == []


def test_there_is_a_default_limit(tmp_path: Path) -> None:
    assert Store(tmp_path).limit_bytes == DEFAULT_LIMIT_BYTES
    assert Store(tmp_path, 0).limit_bytes == 0


def test_an_entry_in_use_stays(tmp_path: Path) -> None:
    store = Store(tmp_path, 0, clock=Clock())
    held = store.get_or_make(KEY, make)
    with held.hold() as entry, held.hold():
        store.get_or_make(OTHER, make)
        assert store.clean() == [f"entry-{OTHER[:16]}"]
        with pytest.raises(CacheError, match="is in use; end the process"):
            store.remove(KEY)
        assert entry.read("layers.json") == b"{}"
    assert store.clean() == [held.folder.name]


def test_an_entry_that_is_gone_cannot_be_held(store: Store) -> None:
    entry = store.get_or_make(KEY, make)
    store.remove(KEY)
    with pytest.raises(CacheError, match="was removed by another process"), entry.hold():
        raise AssertionError
    store.get_or_make(KEY, make)
    with entry.hold() as held:
        held.verify()


def test_an_entry_that_is_being_made_anew_is_not_removed(store: Store) -> None:
    entry = store.get_or_make(KEY, make)
    (entry.folder / "engine.plan").unlink()

    def make_while_others_clean(folder: Path) -> dict[str, Any]:
        assert Store(store.folder).clean(0) == []
        with pytest.raises(CacheError, match="in use"):
            Store(store.folder).remove(KEY)
        return make(folder)

    store.get_or_make(KEY, make_while_others_clean).verify()


def test_what_another_is_making_is_not_swept(store: Store) -> None:
    def make_while_others_work(folder: Path) -> dict[str, Any]:
        other = Store(store.folder)
        other.get_or_make(OTHER, make)
        other.get_or_make(OTHER, never_make)
        other.clean()
        return make(folder)

    store.get_or_make(KEY, make_while_others_work).verify()
    assert store.find(OTHER) is not None


@pytest.mark.parametrize("by", [KEY, OTHER])
@pytest.mark.parametrize("there_already", [False, True])
def test_left_overs_are_swept_by_whoever_comes_next(
    store: Store, by: str, there_already: bool
) -> None:
    if there_already:
        store.get_or_make(by, make)
    for name in (f"entry-{KEY[:16]}.0a1b2c3d", f"entry-{KEY[:16]}.0a1b2c3e.gone"):
        (store.folder / ".making" / name).mkdir(parents=True)
        (store.folder / ".making" / name / "engine.plan").write_bytes(b"half")
    store.get_or_make(by, make)
    assert left_overs(store) == []


def test_clean_removes_the_lock_files_of_killed_makers(store: Store) -> None:
    (store.folder / ".locks").mkdir(parents=True)
    (store.folder / ".locks" / KEY[:16]).touch()
    store.clean()
    assert left_overs(store) == []


def test_a_wait_can_be_cancelled(store: Store) -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) == 3

    def make_while_another_waits(folder: Path) -> dict[str, Any]:
        with pytest.raises(CacheError, match="cancelled while another process"):
            Store(store.folder).get_or_make(KEY, never_make, cancelled=cancelled)
        return make(folder)

    store.get_or_make(KEY, make_while_another_waits).verify()
    assert len(asked) == 3


def test_threads_make_it_once(store: Store) -> None:
    makers: list[int] = []
    everybody = threading.Barrier(8)

    def make_and_count(folder: Path) -> dict[str, Any]:
        makers.append(threading.get_ident())
        return make(folder)

    entries: list[Entry] = []

    def ask() -> None:
        everybody.wait()
        entries.append(store.get_or_make(KEY, make_and_count))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(makers) == 1
    assert len(entries) == 8


def test_permissions_follow_the_umask(store: Store) -> None:
    before = os.umask(0o022)
    try:
        entry = store.get_or_make(KEY, make)
    finally:
        os.umask(before)
    assert entry.folder.stat().st_mode & 0o777 == 0o755
    assert (entry.folder / "entry.json").stat().st_mode & 0o777 == 0o644


def fill_the_disk(folder: Path) -> dict[str, Any]:
    Path("/dev/full").write_bytes(b"x" * 10_000)
    return {}


def test_a_disk_that_fills_while_making(store: Store) -> None:
    with pytest.raises(CacheError, match=r"No space left on device\); free space, run"):
        store.get_or_make(KEY, fill_the_disk)
    assert left_overs(store) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "free space, run `edge-inference engine clean`, or choose another folder"),
        (errno.EDQUOT, "free space"),
        (errno.EROFS, "allow this user to write there"),
        (errno.EIO, "choose another folder with $EDGE_INFERENCE_CACHE"),
    ],
)
def test_a_disk_that_refuses_while_publishing(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(CacheError) as error:
            store.get_or_make(KEY, make)
    assert words in str(error.value)
    assert str(store.folder) in str(error.value)
    assert left_overs(store) == []
    assert store.find(KEY) is None


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "cache"):
        with pytest.raises(CacheError, match=r"Not a directory|File exists"):
            Store(folder).get_or_make(KEY, make)


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Make every change refused, as on a read-only disk; root would be let through otherwise."""

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


def test_a_read_only_cache_gives_what_it_has(store: Store, read_only: Callable[[], None]) -> None:
    store.get_or_make(KEY, make)
    (store.folder / ".making" / f"entry-{OTHER[:16]}.0a1b2c3d").mkdir()
    read_only()
    found = store.find(KEY)
    assert found is not None
    with found.hold():
        assert found.read("layers.json") == b"{}"
    assert store.get_or_make(KEY, never_make).key == KEY
    for refused in (
        lambda: store.get_or_make(OTHER, never_make),
        lambda: store.remove(KEY),
        lambda: store.clean(0),
    ):
        with pytest.raises(CacheError, match=r"Read-only file system\); allow this user"):
            refused()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store_lock.fcntl, "flock", refuse)
    with pytest.raises(CacheError, match=r"has no file locks .* put the cache on a local disk"):
        store.get_or_make(KEY, never_make)


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


def test_a_key_refuses_what_json_cannot_hold() -> None:
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


def test_no_such_user_for_the_cache() -> None:
    with pytest.raises(CacheError, match="name one with"):
        default_cache_folder({"EDGE_INFERENCE_CACHE": "~no-such-user-here/cache"})


def test_a_sidecar_survives_only_unchanged(store: Store) -> None:
    """Any one byte of the description changed is noticed, or says the same."""
    entry = store.get_or_make(KEY, make)
    sidecar = entry.folder / "entry.json"
    original = sidecar.read_bytes()
    for place in range(0, len(original), 7):
        sidecar.write_bytes(original[:place] + b"#" + original[place + 1 :])
        with pytest.raises(CacheError):
            store_entry.read_entry(entry.folder)
