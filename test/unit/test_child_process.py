"""The import path of child processes and executables is without the working folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import edge_inference
from edge_inference.core.runtime.child_process import (
    drop_working_folder,
    import_path,
    python_environment,
)

PACKAGE = str(Path(edge_inference.__file__).parents[1])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", "/another_folder", *sys.path])
    return str(tmp_path)


@pytest.mark.parametrize(
    ("named", "is_kept"),
    [(None, False), ("", False), (":/x", False), ("/x::", False), ("/x:{here}", True), (".", True)],
)
def test_the_working_folder_stays_if_pythonpath_names_it(
    here: str, monkeypatch: pytest.MonkeyPatch, named: str | None, is_kept: bool
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if named is not None:
        monkeypatch.setenv("PYTHONPATH", named.format(here=here))
    found = import_path()
    assert (here in found) is is_kept
    assert "" not in found and "/another_folder" in found
    assert python_environment()["PYTHONPATH"].split(os.pathsep) == found


def test_the_package_is_found_from_its_own_folder(
    here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PACKAGE)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(sys, "path", [PACKAGE, *sys.path])
    assert PACKAGE in import_path()


@pytest.mark.parametrize(
    ("given", "left"),
    [(":/x", "/x"), ("/x:", "/x"), ("/x::/y", "/x:/y"), (":", ""), ("/x", "/x"), ("", "")],
)
def test_an_executable_drops_the_working_folder_of_an_empty_entry(
    here: str, monkeypatch: pytest.MonkeyPatch, given: str, left: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", given)
    drop_working_folder()
    assert os.environ["PYTHONPATH"] == left
    assert (here in sys.path) is (given == left)


def test_a_removed_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert "" not in import_path()
