"""How packages are installed: by uv as pip would, by pip where uv fails, and what is said of it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from tree import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import commands
import installer
import packages
import progress

LISTING = """:env:.cert='/env/ca.pem'
:env:.find-links='/wheels /more wheels'
global.cert='/file/ca.pem'
global.extra-index-url='\\nfile:///a\\nfile:///b'
global.index-url='http://index/simple'
install.index-url='http://nearer/simple'
freeze.timeout='1'
"""


class Recorder(commands.Commands):
    """Notes what would be installed and how; ``broken`` names the programs that fail, and why."""

    def __init__(self, folder: Path) -> None:
        self.shown = io.StringIO()
        shown = progress.Progress(self.shown)
        super().__init__(Path(sys.executable), folder / "log", folder / "pip", shown)
        self.programs: list[str] = []
        self.broken: dict[str, str] = {}

    def run(self, command: list[str], **options: object) -> None:
        program = "uv" if Path(command[0]).name == "uv" else "pip"
        if "--target" in command:
            program = "fetch"
            uv = Path(command[command.index("--target") + 1]) / "bin" / "uv"
            uv.parent.mkdir(parents=True)
            uv.touch()
        self.programs.append(program)
        if program in self.broken:
            raise commands.SetUpError(self.broken[program])


@pytest.fixture
def bench(tmp_path: Path) -> tuple[Recorder, installer.Installer]:
    requirement = tmp_path / "installer.txt"
    requirement.write_text("uv==1.2\n")
    recorder = Recorder(tmp_path)
    return recorder, installer.Installer(recorder, requirement, tmp_path / "uv")


def test_the_nearest_setting_of_pip_holds() -> None:
    settings = installer.pip_settings(LISTING)
    assert settings["cert"] == "/env/ca.pem"
    assert settings["index-url"] == "http://nearer/simple"
    assert "timeout" not in settings


def test_nothing_configured_is_nothing_set() -> None:
    assert installer.pip_settings("") == {}
    assert installer.pip_settings("not a setting\n") == {}


def test_uv_is_told_what_pip_was_told(tmp_path: Path) -> None:
    chosen = installer.uv_environment(installer.pip_settings(LISTING), tmp_path, {"A": "1"})
    assert chosen["SSL_CERT_FILE"] == "/env/ca.pem"
    assert chosen["UV_DEFAULT_INDEX"] == "http://nearer/simple"
    assert chosen["UV_INDEX"] == "http://nearer/simple file:///a file:///b"
    assert chosen["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert chosen["UV_FIND_LINKS"] == "/wheels,/more,wheels"
    assert (chosen["UV_CACHE_DIR"], chosen["A"]) == (str(tmp_path), "1")


def test_the_index_that_pip_asks_by_default_is_read() -> None:
    usage = """  -i, --index-url <url>       Base URL of the Python Package Index (default
                              http://main/simple). This should point to a repository
  --extra-index-url <url>     Extra URLs of indexes (default nothing)
"""
    assert installer.main_index(usage) == "http://main/simple"
    assert installer.main_index("  --extra-index-url <url>  More (default http://a)") is None
    asked = [sys.executable, "-m", "pip", "install", "--help"]
    told = subprocess.run(
        asked,
        capture_output=True,
        text=True,
        check=True,
        env={"PIP_INDEX_URL": "http://own/simple"},
    )
    assert installer.main_index(told.stdout) == "http://own/simple"


def test_one_index_is_asked_once(tmp_path: Path) -> None:
    chosen = installer.uv_environment({"index-url": "http://main/simple"}, tmp_path, {})
    assert chosen["UV_DEFAULT_INDEX"] == "http://main/simple"
    assert "UV_INDEX" not in chosen


def test_what_the_user_tells_uv_stays(tmp_path: Path) -> None:
    given = {"UV_DEFAULT_INDEX": "http://mine/simple", "SSL_CERT_FILE": "/mine.pem"}
    chosen = installer.uv_environment(installer.pip_settings(LISTING), tmp_path, given)
    assert {name: chosen[name] for name in given} == given


def test_uv_is_fetched_once(bench: tuple[Recorder, installer.Installer]) -> None:
    recorder, install = bench
    install.install(["a==1"], step="packages")
    install.install(["b==1"], step="packages")
    assert recorder.programs == ["fetch", "uv", "uv"]
    assert recorder.shown.getvalue() == ""


@pytest.mark.parametrize(
    ("broken", "programs", "said"),
    [
        ({"fetch": "no such package"}, ["fetch", "pip", "pip"], "uv cannot be had"),
        ({"uv": "error: wheels"}, ["fetch", "uv", "pip", "pip"], "uv failed"),
    ],
)
def test_without_uv_pip_goes_on_and_it_is_said_once(
    bench: tuple[Recorder, installer.Installer],
    broken: dict[str, str],
    programs: list[str],
    said: str,
) -> None:
    recorder, install = bench
    recorder.broken = broken
    install.install(["a==1"], step="packages")
    install.install(["b==1"], step="packages")
    assert recorder.programs == programs
    assert recorder.shown.getvalue().count(said) == 1
    assert "going on with pip" in recorder.shown.getvalue()


def test_a_full_disk_is_not_tried_again(bench: tuple[Recorder, installer.Installer]) -> None:
    recorder, install = bench
    recorder.broken = {"uv": "error: No space left on device (os error 28)"}
    with pytest.raises(commands.SetUpError, match="No space left"):
        install.install(["a==1"], step="packages")
    assert recorder.programs == ["fetch", "uv"]


def test_a_half_fetched_uv_is_fetched_again(bench: tuple[Recorder, installer.Installer]) -> None:
    recorder, install = bench
    half = install._cache / "tool" / "uv-1.2.part" / "bin"
    half.mkdir(parents=True)
    install.install(["a==1"], step="packages")
    assert recorder.programs == ["fetch", "uv"]


@pytest.mark.parametrize(
    ("wanted", "sets"),
    [
        ([], ["run"]),
        (["voice"], ["run", "voice"]),
        (["engines", "voice"], ["run", "voice", "engines"]),
        (["tests"], ["run", "voice", "engines", "tests"]),
    ],
)
def test_sets_that_an_environment_needs(wanted: list[str], sets: list[str]) -> None:
    assert packages.complete(wanted) == sets


def locked(name: str) -> dict[str, set[str]]:
    """Return the versions of each package in a locked list."""
    lines = (ROOT / "requirements" / "locked" / f"{name}.txt").read_text().splitlines()
    found: dict[str, set[str]] = {}
    for line in lines[1:]:
        package, _, version = line.partition(";")[0].strip().partition("==")
        assert version, line
        found.setdefault(package, set()).add(version)
    return found


@pytest.mark.parametrize("distro", ["jazzy", "kilted"])
def test_locked_lists_go_together(distro: str) -> None:
    """Every package of the lists is there, and in all lists it is the same."""
    names = [f"ros-{distro}", *packages.SETS]
    versions = {name: locked(name) for name in names}
    for name in names:
        for package, found in versions[name].items():
            others = [versions[other].get(package, found) for other in names]
            assert all(other == found for other in others), package
    for name, lists in {f"ros-{distro}": (f"ros-{distro}",), **packages.SETS}.items():
        for part in lists:
            for line in (ROOT / "requirements" / f"{part}.txt").read_text().splitlines():
                wanted = line.partition("#")[0].strip().lower().replace("_", "-")
                if wanted:
                    package = wanted.split("=")[0].split(">")[0].split("<")[0].split("~")[0]
                    assert package in versions[name], f"{part}.txt: {package}"
