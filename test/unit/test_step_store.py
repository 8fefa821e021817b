"""The store of finished steps: found by what changes them, verified, complete or absent."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_inference.errors import CacheError
from edge_inference.optimize.recipe import step_store
from edge_inference.optimize.recipe.step_store import StepStore, StoredStep, folder_digest

Make = Callable[[Path], Mapping[str, Any]]


def _write(folder: Path) -> dict[str, Any]:
    (folder / "inner").mkdir()
    (folder / "inner" / "values").write_bytes(b"123")
    (folder / "top").write_bytes(b"4")
    return {"told": 5}


def _get(work: Path, make: Make, **parts: Any) -> StoredStep:
    with StepStore(work, work / "unpacked") as store:
        step = store.get_or_make({"step": "a", **parts}, "a", make, lambda: False)
        assert (step.folder / "inner" / "values").read_bytes() == b"123"
        assert (step.folder / "top").read_bytes() == b"4"
        return step


def _refuse(folder: Path) -> dict[str, Any]:
    raise AssertionError("expected a stored step")


def test_a_step_is_made_once(tmp_path: Path) -> None:
    first = _get(tmp_path, _write)
    again = _get(tmp_path, _refuse)
    assert (first.was_stored, again.was_stored) == (False, True)
    assert again.metadata == {"told": 5}
    assert not _get(tmp_path, _write, seed=1).was_stored
    assert not (tmp_path / "unpacked").exists()


def test_a_failed_step_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        _write(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match="No space left"):
        _get(tmp_path, fail)
    assert not list(tmp_path.glob("a-*"))
    assert not list((tmp_path / ".making").iterdir())


def test_a_damaged_step_is_made_again(tmp_path: Path) -> None:
    _get(tmp_path, _write)
    (file,) = tmp_path.glob("a-*/content.tar")
    content = bytearray(file.read_bytes())
    content[600] ^= 1
    file.write_bytes(content)
    assert not _get(tmp_path, _write).was_stored


def test_the_digest_covers_names_and_content(tmp_path: Path) -> None:
    def digest(name: str, content: bytes) -> str:
        folder = tmp_path / f"{name}-{content!r}"
        folder.mkdir()
        (folder / name).write_bytes(content)
        return folder_digest(folder)

    assert len({digest("a", b"1"), digest("a", b"2"), digest("b", b"1")}) == 3


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside"])
def test_a_file_outside_of_its_folder_is_not_written(tmp_path: Path, name: str) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(CacheError, match="expected a file of a finished step"):
        step_store._unpack(content.getvalue(), tmp_path / "unpacked")
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]
