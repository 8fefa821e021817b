"""Files and nodes have a maximum length."""

from __future__ import annotations

import re
from pathlib import Path

from tree import ROOT, tracked_files

MAX_LINES = 400
MAX_NODE_LINES = 180
NODES_FOLDER = Path("edge_inference/nodes")
NODES = re.search(r"set\(executables ([\w ]+)\)", (ROOT / "CMakeLists.txt").read_text())[1].split()


def limit_of(name: Path) -> int:
    """Return how many lines a file may have."""
    is_node = name.parent.parent == NODES_FOLDER and name.stem in NODES
    return MAX_NODE_LINES if is_node else MAX_LINES


def test_every_file_is_short() -> None:
    files = [name for name in tracked_files() if name.suffix == ".py"]
    lines = {name: len((ROOT / name).read_text().splitlines()) for name in files}
    assert len(lines) > len(NODES)
    too_long = {str(name): n for name, n in lines.items() if n > limit_of(name)}
    assert too_long == {}


def test_every_node_has_its_own_file() -> None:
    files = {name.stem for name in tracked_files() if limit_of(name) == MAX_NODE_LINES}
    assert files >= set(NODES) - {"component_container"}
