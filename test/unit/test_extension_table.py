"""Tables that other packages extend by entry points."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_inference.core.extension_table import ExtensionTable
from edge_inference.errors import PluginError


@dataclass(frozen=True)
class Tool:
    """A row of the tables in these tests."""

    name: str
    weight: float = 1.0


sys.modules.setdefault("test_extension_table_rows", sys.modules[__name__])

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Provide a function that installs a package: its code, and its entry points by name."""

    def install(package: str, code: str, **entries: str) -> None:
        (tmp_path / f"{package}.py").write_text(code)
        folder = tmp_path / f"{package}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {package}:{value}" for name, value in entries.items()]
        text = "\n".join(["[edge_inference.tools]", *lines, ""])
        (folder / "entry_points.txt").write_text(text)

    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield install
    for module in set(sys.modules) - known:
        del sys.modules[module]


ROW = "from test_extension_table_rows import Tool\n"


def table(
    check: Callable[[Tool, Mapping[str, Tool]], str | None] = lambda row, rows: None,
) -> ExtensionTable[Tool]:
    return ExtensionTable("tools", "tool", Tool, [Tool("hammer"), Tool("saw")], check)


def test_without_other_packages_the_own_rows_remain() -> None:
    assert list(table().rows()) == ["hammer", "saw"]
    assert table().problems() == ()


def test_rows_of_another_package_follow_the_own_ones(install: Install) -> None:
    install(
        "more_tools", f"{ROW}PLANE = Tool('plane')\nAXE = Tool('axe')", plane="PLANE", axe="AXE"
    )
    assert list(table().rows()) == ["hammer", "saw", "axe", "plane"]
    assert table().get("plane") == Tool("plane")


def test_an_unknown_name_names_the_known_ones() -> None:
    with pytest.raises(PluginError, match=r"unknown tool 'hamer'; did you mean 'hammer'\?"):
        table().get("hamer")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("", "AttributeError"),
        ("AXE = 7", "expected a Tool, got int"),
        (f"{ROW}AXE = Tool", "expected a Tool, got type"),
        (f"{ROW}AXE = Tool('ax')", "its row is named 'ax'"),
    ],
)
def test_a_broken_entry_is_told_and_leaves_the_others(
    install: Install, code: str, reason: str
) -> None:
    install("broken_tools", code, axe="AXE")
    install("good_tools", f"{ROW}PLANE = Tool('plane')", plane="PLANE")
    broken = table()
    assert list(broken.rows()) == ["hammer", "saw", "plane"]
    (problem,) = broken.problems()
    assert "package broken_tools" in problem
    with pytest.raises(PluginError, match=reason):
        broken.get("axe")


def test_an_own_row_is_not_replaced(install: Install) -> None:
    install("heavy_tools", f"{ROW}HAMMER = Tool('hammer', 9.0)", hammer="HAMMER")
    heavy = table()
    assert heavy.get("hammer").weight == 1.0
    assert "the name is taken" in heavy.problems()[0]


def test_of_two_packages_with_one_name_the_first_is_kept(install: Install) -> None:
    for package in ("one_shop", "other_shop"):
        install(package, f"{ROW}AXE = Tool('axe')", axe="AXE")
    double = table()
    assert list(double.rows()) == ["hammer", "saw", "axe"]
    assert len(double.problems()) == 1


def test_a_row_that_does_not_fit_is_refused(install: Install) -> None:
    install("light_tools", f"{ROW}AXE = Tool('axe', 0.0)", axe="AXE")
    light = table(lambda row, rows: None if row.weight else "it weighs nothing")
    assert "axe" not in light.rows()
    with pytest.raises(PluginError, match="it weighs nothing"):
        light.get("axe")


def test_entry_points_are_imported_once_and_late(install: Install) -> None:
    install(
        "counting_tools", f"{ROW}import sys\nsys.tool_imports = 1\nAXE = Tool('axe')", axe="AXE"
    )
    counting = table()
    assert not hasattr(sys, "tool_imports")
    first = counting.rows()
    del sys.tool_imports  # type: ignore[attr-defined]
    assert counting.rows() == first
    assert not hasattr(sys, "tool_imports")
