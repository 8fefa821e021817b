"""Files stay small enough to read in one go, and a node stays thin."""

from __future__ import annotations

import re
from pathlib import Path

from tree import ROOT, tracked_files

LONGEST = 400
LONGEST_NODE = 180
NODE_FOLDERS = Path("edge_inference/nodes")
NODES = re.search(r"set\(executables ([\w ]+)\)", (ROOT / "CMakeLists.txt").read_text())[1].split()


def limit_of(name: Path) -> int:
    """Return how many lines a file may have."""
    is_node = name.parent.parent == NODE_FOLDERS and name.stem in NODES
    return LONGEST_NODE if is_node else LONGEST


def test_every_file_is_short() -> None:
    files = [name for name in tracked_files() if name.suffix == ".py"]
    lines = {name: len((ROOT / name).read_text().splitlines()) for name in files}
    assert len(lines) > len(NODES)
    too_long = {str(name): n for name, n in lines.items() if n > limit_of(name)}
    assert too_long == {}


def test_a_node_is_shorter_than_another_file() -> None:
    found = {name.stem for name in tracked_files() if limit_of(name) == LONGEST_NODE}
    assert found >= set(NODES) - {"component_container"}
