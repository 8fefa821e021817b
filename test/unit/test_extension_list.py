"""``edge-inference extensions``: what is installed, and what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_inference.cli.command_line import run
from edge_inference.cli.extension_list import TABLES
from installed_extension import installed, write_metadata

PACKAGE = Path(__file__).parents[2] / "edge_inference"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for the modules and metadata of packages."""
    with installed(tmp_path):
        yield tmp_path


def test_every_table_is_listed() -> None:
    groups = {
        f"edge_inference.{group}"
        for file in PACKAGE.rglob("*.py")
        for group in re.findall(r'= ExtensionTable\(\s*"(\w+)"', file.read_text())
    }
    assert {table.group for table in TABLES} == groups
    assert "edge_inference.decoders" in groups


def test_without_other_packages_it_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["extensions"]) == 0
    assert capsys.readouterr() == ("no installed package adds anything\n", "")
    assert run(["extensions", "--json"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("extension_package")
def test_the_rows_of_a_package_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["extensions"]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    lines = [line.split() for line in output.splitlines()]
    assert lines[0] == ["group", "name", "package", "defined", "in"]
    assert ["decoders", "fomo", "my_robot", "my_robot.fomo:decode"] in lines
    assert ["backends", "opencv", "my_robot", "my_robot.opencv_backend:OPENCV"] in lines


def test_what_cannot_be_used_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.py").write_text("raise RuntimeError('two\\nlines')")
    write_metadata(folder, "broken", "[edge_inference.decoders]\nmine = broken:decode\n")
    write_metadata(folder, "typo", "[edge_inference.decoder]\nyours = typo:decode\n")
    write_metadata(folder, "damaged", "[edge_inference.backends]\nnothing\n")
    assert run(["extensions"]) == 1
    output, errors = capsys.readouterr()
    assert output == "no installed package adds anything\n"
    mine, damaged, typo = errors.splitlines()
    assert "decoder 'mine' (entry point 'broken:decode' of package broken): importing" in mine
    assert "package damaged: its entry points cannot be read" in damaged
    assert "group of entry points edge_inference.decoder; did you mean" in typo
    assert run(["extensions", "--json"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["group"], found["name"]) == ("edge_inference.decoders", "mine")
    assert "RuntimeError: two" in found["problem"]
