"""Files stay small enough to read in one go, and a node stays thin."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tree import ROOT, tracked_files

LONGEST = 400
LONGEST_NODE = 180
NODES = re.search(r"set\(executables ([\w ]+)\)", (ROOT / "CMakeLists.txt").read_text())[1].split()


def python_files() -> list[Path]:
    return [name for name in tracked_files() if name.suffix == ".py"]


@pytest.mark.parametrize("name", python_files(), ids=str)
def test_a_file_is_short(name: Path) -> None:
    is_node = name.parent == Path("edge_inference/nodes") and name.stem in NODES
    limit = LONGEST_NODE if is_node else LONGEST
    lines = len((ROOT / name).read_text().splitlines())
    assert lines <= limit
