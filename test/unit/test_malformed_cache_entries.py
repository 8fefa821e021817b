"""Malformed cache entries with a valid checksum."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from edge_inference.cli.command_line import run
from edge_inference.engines.cache.cache_entry import FORMAT, canonical, read_entry
from edge_inference.errors import CacheError
from hostile_files import assert_one_sentence

FILE = {"size": 0, "sha256": hashlib.sha256(b"").hexdigest()}
SOUND: dict[str, Any] = {"key": "k" * 64, "files": {"x": FILE}, "metadata": {}, "created_s": 1.5}


def write_entry(folder: Path, content: object) -> None:
    folder.mkdir(parents=True)
    (folder / "x").touch()
    try:
        checksum = hashlib.sha256(canonical([FORMAT, content]).encode()).hexdigest()
    except ValueError:
        checksum = "none"
    text = json.dumps({"format": FORMAT, "checksum": checksum, "entry": content})
    (folder / "entry.json").write_text(text.replace("Infinity", "1e400"))


STRANGE: dict[str, object] = {
    "no object": [SOUND],
    "a number": 1,
    "empty": {},
    "a key": {**SOUND, "key": 1},
    "no key": {name: value for name, value in SOUND.items() if name != "key"},
    "files": {**SOUND, "files": []},
    "a file": {**SOUND, "files": {"x": 1}},
    "no size": {**SOUND, "files": {"x": {"sha256": "0"}}},
    "more": {**SOUND, "files": {"x": {**FILE, "mode": 1}}},
    "a size": {**SOUND, "files": {"x": {**FILE, "size": -1}}},
    "a size in words": {**SOUND, "files": {"x": {**FILE, "size": "0"}}},
    "a truth as size": {**SOUND, "files": {"x": {**FILE, "size": False}}},
    "a sha256": {**SOUND, "files": {"x": {**FILE, "sha256": None}}},
    "a path": {**SOUND, "files": {"../x": FILE}},
    "a whole path": {**SOUND, "files": {"/etc/passwd": FILE}},
    "the folder": {**SOUND, "files": {".": FILE}},
    "no name": {**SOUND, "files": {"": FILE}},
    "a NUL": {**SOUND, "files": {"x\0": FILE}},
    "half a pair": {**SOUND, "files": {"\ud800": FILE}},
    "itself": {**SOUND, "files": {"entry.json": FILE}},
    "metadata": {**SOUND, "metadata": [1]},
    "a moment": {**SOUND, "created_s": "today"},
    "a truth as moment": {**SOUND, "created_s": True},
    "a late moment": {**SOUND, "created_s": 10**80},
    "before all": {**SOUND, "created_s": -1},
    "no moment": {**SOUND, "created_s": None},
    "infinite": {**SOUND, "created_s": math.inf},
    "infinite metadata": {**SOUND, "metadata": {"a": math.inf}},
    "a long key": {**SOUND, "key": ["k" * 100_000]},
}


@pytest.mark.parametrize("what", STRANGE)
def test_a_malformed_entry_is_refused_listed_and_removed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    folder = tmp_path / f"a-{'0' * 16}"
    write_entry(folder, STRANGE[what])
    with pytest.raises(CacheError) as caught:
        read_entry(folder)
    assert_one_sentence(caught.value, "entry.json")
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path))
    assert run(["engine", "list", "--verify"]) == 1
    assert str(folder) in capsys.readouterr().err
    assert run(["engine", "clean", "--limit", "8GB"]) == 0
    assert not folder.exists()


def test_texts_of_an_entry_are_printed_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "[/red] [link=x]\x1b[31m\nb"
    key = "0" * 64
    write_entry(tmp_path / f"a-{key[:16]}", {**SOUND, "metadata": {"precision": text}, "key": key})
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path))
    assert run(["engine", "list"]) == 0
    shown = capsys.readouterr().out
    assert "[/red] [link=x]\\x1b[31m b" in shown
    assert "\x1b" not in shown
