"""Tables that other packages extend by entry points."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_inference.core import entry_points, extension_table
from edge_inference.core.extension_table import ExtensionTable, new_problems, problems_of_packages
from edge_inference.errors import PluginError
from installed_extension import installed, write_metadata


@dataclass(frozen=True)
class Tool:
    """A row of the tables in these tests."""

    name: str
    weight: float = 1.0


sys.modules.setdefault("test_extension_table_rows", sys.modules[__name__])

Install = Callable[..., None]
DEADLINE_S = 30.0


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Provide a function that installs a package: its code, and its entry points by name."""

    def install(package: str, code: str, **entries: str) -> None:
        (tmp_path / f"{package}.py").write_text(code)
        lines = [f"{name} = {package}:{value}" for name, value in entries.items()]
        write_metadata(tmp_path, package, "\n".join(["[edge_inference.tools]", *lines, ""]))

    with installed(tmp_path):
        yield install


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
        (
            f"{ROW}class Bad(Tool):\n    name = property(lambda self: 1 / 0)\n"
            "AXE = Bad.__new__(Bad)",
            "ZeroDivisionError",
        ),
        (
            "class Bad:\n    __class__ = property(lambda self: 1 / 0)\nAXE = Bad()",
            "ZeroDivisionError",
        ),
        ("def __getattr__(name): raise SystemExit('late')", "SystemExit: late"),
        (
            "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
            "Mute: <exception str",
        ),
        ("def", "SyntaxError"),
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


def test_an_own_row_needs_no_look_at_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("packages were read")

    monkeypatch.setattr(extension_table, "installed_entries", refuse)
    assert table().get("hammer") == Tool("hammer")


def test_all_tables_share_one_look_at_packages(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    find = entry_points._find_entries
    monkeypatch.setattr(entry_points, "_find_entries", lambda: looks.append(1) or find())
    for _ in range(3):
        table().rows()
    assert looks == [1]


@pytest.mark.parametrize("name", ["a tool", "x" * 65, "axé", "-axe", "a/xe"])
def test_a_name_that_cannot_be_shown_is_refused(
    install: Install, tmp_path: Path, name: str
) -> None:
    (tmp_path / "odd_tools.py").write_text(f"{ROW}AXE = Tool({name!r})")
    write_metadata(tmp_path, "odd_tools", f"[edge_inference.tools]\n{name} = odd_tools:AXE\n")
    odd = table()
    assert list(odd.rows()) == ["hammer", "saw"]
    assert len(odd.problems()) == 1


@pytest.mark.parametrize("value", ["odd_tools", "odd tools:AXE", "odd_tools:", ":AXE", "a:b:c"])
def test_a_value_that_is_no_object_of_a_module_is_refused(
    install: Install, tmp_path: Path, value: str
) -> None:
    write_metadata(tmp_path, "odd_tools", f"[edge_inference.tools]\naxe = {value}\n")
    (problem,) = table().problems()
    assert problem.endswith("expected module:object after the =")


def test_nothing_is_installed_in_the_working_folder(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend("")
    write_metadata(here, "trap", "[edge_inference.tools]\naxe = trap:AXE\n")
    assert table().extensions() == ()


def test_places_without_packages_are_no_problem(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("good_tools", f"{ROW}PLANE = Tool('plane')", plane="PLANE")
    (tmp_path / "file.egg-info").write_text("of distutils")
    (tmp_path / "empty.dist-info").mkdir()
    (tmp_path / "other.dist-info").mkdir()
    (tmp_path / "other.dist-info" / "entry_points.txt").write_bytes(b"\xff damaged, of others")
    for place in ("none", "file.egg-info"):
        monkeypatch.syspath_prepend(tmp_path / place)
    assert "plane" in table().rows()
    assert table().problems() == ()
    assert problems_of_packages(["edge_inference.tools"]) == []


def test_without_such_packages_the_metadata_library_is_not_imported(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "importlib.metadata", None)
    assert list(table().rows()) == ["hammer", "saw"]


def test_extras_of_an_entry_point_change_nothing(install: Install, tmp_path: Path) -> None:
    install("extra_tools", f"{ROW}AXE = Tool('axe')", axe="AXE [sharp]")
    assert "axe" in table().rows()


def test_a_package_that_is_installed_twice_counts_once(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("one_shop", f"{ROW}AXE = Tool('axe')", axe="AXE")
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    monkeypatch.syspath_prepend(overlay)
    (overlay / "one_shop.py").write_text(f"{ROW}AXE = Tool('axe', 3.0)")
    write_metadata(overlay, "One.Shop", "[edge_inference.tools]\naxe = one_shop:AXE\n")
    twice = table()
    assert twice.get("axe").weight == 3.0
    assert twice.problems() == ()


def test_a_linked_development_installation_is_found(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "linked.py").write_text(f"{ROW}AXE = Tool('axe')")
    folder = tmp_path / "linked.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: linked\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[edge_inference.tools]\naxe = linked:AXE\n")
    (extension,) = [each for each in table().extensions() if each.name == "axe"]
    assert (extension.package, extension.value, extension.problem) == ("linked", "linked:AXE", "")


def test_a_package_without_metadata_is_named_by_its_place(install: Install, tmp_path: Path) -> None:
    install("nameless", "AXE = 7", axe="AXE")
    (tmp_path / "nameless-1.0.dist-info" / "METADATA").unlink()
    (problem,) = table().problems()
    assert f"package without a name in {tmp_path}" in problem


@pytest.mark.parametrize(
    "content", [b"[edge_inference.tools]\nno value\n", b"[edge_inference.tools]\n\xff = a:B\n"]
)
def test_a_package_with_a_damaged_list_is_told_and_leaves_the_others(
    install: Install, tmp_path: Path, content: bytes
) -> None:
    install("good_tools", f"{ROW}PLANE = Tool('plane')", plane="PLANE")
    folder = write_metadata(tmp_path, "damaged", "")
    (folder / "entry_points.txt").write_bytes(content)
    damaged = table()
    assert "plane" in damaged.rows()
    with pytest.raises(PluginError, match="package damaged: its entry points cannot be read"):
        damaged.get("axe")
    (problem,) = problems_of_packages(["edge_inference.tools"])
    assert "package damaged" in problem


def test_a_group_with_a_typing_error_is_told(install: Install, tmp_path: Path) -> None:
    write_metadata(tmp_path, "typo", "[edge_inference.tool]\naxe = typo:AXE\n[others]\na = b:C\n")
    assert list(table().rows()) == ["hammer", "saw"]
    (problem,) = problems_of_packages(["edge_inference.tools"])
    assert problem == (
        "package typo: there is no group of entry points edge_inference.tool; "
        "did you mean 'edge_inference.tools'?"
    )


def test_problems_are_new_once_and_only_after_the_table_was_read(install: Install) -> None:
    install("broken_tools", "AXE = 7", axe="AXE")
    broken = table()
    assert new_problems() == []
    broken.rows()
    assert new_problems() == list(broken.problems())
    assert new_problems() == []


def test_a_package_may_read_the_table_while_it_is_imported(install: Install) -> None:
    tools = table()
    sys.modules["test_extension_table_rows"].reader = lambda: list(tools.rows())  # type: ignore[attr-defined]
    code = f"{ROW}from test_extension_table_rows import reader\nSEEN = reader()\nAXE = Tool('axe')"
    install("curious", code, axe="AXE")
    assert list(tools.rows()) == ["hammer", "saw", "axe"]
    assert sys.modules["curious"].SEEN == ["hammer", "saw"]
    assert tools.problems() == ()


def test_threads_that_load_at_once_get_the_same_rows(install: Install) -> None:
    install("slow_tools", f"{ROW}AXE = Tool('axe')", axe="AXE")
    both = threading.Barrier(2)
    tools = table(lambda row, rows: None if both.wait(DEADLINE_S) >= 0 else "")
    found: list[Mapping[str, Tool]] = []
    threads = [threading.Thread(target=lambda: found.append(tools.rows())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert [list(rows) for rows in found] == [["hammer", "saw", "axe"]] * 2
    assert found[0] is found[1]
