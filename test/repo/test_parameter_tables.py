"""docs/parameters.md has the parameters that the code declares."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="the nodes' declarations need ROS 2")

from scripts import parameter_tables


def test_tables_are_up_to_date() -> None:
    assert parameter_tables.FILE.read_text(encoding="utf-8") == parameter_tables.render_page(), (
        "run: python scripts/parameter_tables.py"
    )


def test_every_parameter_is_described() -> None:
    rows = [line for line in parameter_tables.render_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    for row in rows:
        assert row.rstrip(" |").rpartition("|")[2].strip(), row
