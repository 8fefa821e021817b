"""The checksum of a user's own code: which files of it count."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_inference.errors import ConfigError
from edge_inference.optimize.training.source_digest import source_digest

FILES = {
    "own_nets_pkg/__init__.py": "",
    "own_nets_pkg/parts/__init__.py": "",
    "own_nets_pkg/parts/net.py": (
        "import own_nets_beside\nfrom ..blocks import block\n"
        "def make():\n    from . import late\n    return late\n"
    ),
    "own_nets_pkg/parts/late.py": "",
    "own_nets_pkg/blocks.py": "def block():\n    return 1\n",
    "own_nets_beside.py": "WIDTH = 8\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "unrelated.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("own_nets")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


@pytest.mark.parametrize("changed", FILES)
def test_each_file_that_is_imported_counts(folder: Path, changed: str) -> None:
    first = source_digest("own_nets_pkg.parts.net:make")
    with (folder / changed).open("a") as stream:
        stream.write("# Changed.\n")
    assert source_digest("own_nets_pkg.parts.net:make") != first


def test_other_files_do_not_count(folder: Path) -> None:
    function = f"{folder / 'own_nets_beside.py'}:WIDTH"
    first = source_digest(function)
    (folder / "unrelated.py").write_text("# Changed.\n")
    (folder / "own_nets_pkg" / "blocks.py").write_text("# Changed.\n")
    assert source_digest(function) == first
    (folder / "own_nets_beside.py").write_text("WIDTH = 9\n")
    assert source_digest(function) != first


def test_code_without_a_python_file(folder: Path) -> None:
    assert source_digest("math:sin") == source_digest("itertools:count")
    with pytest.raises(ConfigError, match="importing own_nets_missing failed"):
        source_digest("own_nets_missing:make")
