"""How packages are installed: with uv as pip would, and with pip if uv fails."""

from __future__ import annotations

import io
import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tree import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import command_runner
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


class Recorder(command_runner.CommandRunner):
    """Records the programs that would run; ``broken`` maps programs that fail to their output."""

    def __init__(self, folder: Path) -> None:
        self.printed = io.StringIO()
        display = progress.Progress(self.printed)
        super().__init__(Path(sys.executable), folder / "log", folder / "pip", display)
        self.programs: list[str] = []
        self.commands: list[list[str]] = []
        self.broken: dict[str, str] = {}

    def run(self, command: list[str], **options: object) -> None:
        program = "uv" if Path(command[0]).name == "uv" else "pip"
        if "--target" in command:
            program = "fetch"
            uv = Path(command[command.index("--target") + 1]) / "bin" / "uv"
            uv.parent.mkdir(parents=True)
            uv.touch()
        self.programs.append(program)
        self.commands.append(command)
        if program in self.broken:
            raise command_runner.SetUpError(self.broken[program])


@pytest.fixture
def bench(tmp_path: Path) -> tuple[Recorder, installer.Installer]:
    requirement = tmp_path / "installer.txt"
    requirement.write_text("uv==1.2\n")
    recorder = Recorder(tmp_path)
    return recorder, installer.Installer(recorder, requirement, tmp_path / "uv")


def test_the_section_with_the_highest_priority_overrides_the_others() -> None:
    settings = installer.parse_pip_settings(LISTING)
    assert settings["cert"] == "/env/ca.pem"
    assert settings["index-url"] == "http://nearer/simple"
    assert "timeout" not in settings


def test_no_configuration_gives_no_settings() -> None:
    assert installer.parse_pip_settings("") == {}
    assert installer.parse_pip_settings("not a setting\n") == {}


def test_uv_gets_the_configuration_of_pip(tmp_path: Path) -> None:
    settings = installer.parse_pip_settings(LISTING)
    environment = installer.make_uv_environment(settings, tmp_path, {"A": "1"})
    assert environment["SSL_CERT_FILE"] == "/env/ca.pem"
    assert environment["UV_DEFAULT_INDEX"] == "http://nearer/simple"
    assert environment["UV_INDEX"] == "http://nearer/simple file:///a file:///b"
    assert environment["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert environment["UV_FIND_LINKS"] == "/wheels,/more,wheels"
    assert (environment["UV_CACHE_DIR"], environment["A"]) == (str(tmp_path), "1")


def test_the_default_index_of_pip_is_read() -> None:
    usage = """  -i, --index-url <url>       Base URL of the Python Package Index (default
                              http://main/simple). This should point to a repository
  --extra-index-url <url>     Extra URLs of indexes (default nothing)
"""
    assert installer.parse_default_index(usage) == "http://main/simple"
    assert (
        installer.parse_default_index("  --extra-index-url <url>  More (default http://a)") is None
    )
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"PIP_INDEX_URL": "http://own/simple"},
    )
    assert installer.parse_default_index(done.stdout) == "http://own/simple"


def test_a_single_index_is_named_once(tmp_path: Path) -> None:
    environment = installer.make_uv_environment({"index-url": "http://main/simple"}, tmp_path, {})
    assert environment["UV_DEFAULT_INDEX"] == "http://main/simple"
    assert "UV_INDEX" not in environment


def test_variables_of_the_user_override_the_configuration_of_pip(tmp_path: Path) -> None:
    given = {"UV_DEFAULT_INDEX": "http://mine/simple", "SSL_CERT_FILE": "/mine.pem"}
    settings = installer.parse_pip_settings(LISTING)
    environment = installer.make_uv_environment(settings, tmp_path, given)
    assert {name: environment[name] for name in given} == given


def test_uv_is_fetched_once(bench: tuple[Recorder, installer.Installer]) -> None:
    recorder, install = bench
    install.install(["a==1"], step="packages")
    install.install(["b==1"], step="packages")
    assert recorder.programs == ["fetch", "uv", "uv"]
    assert recorder.printed.getvalue() == ""


@pytest.mark.parametrize(
    ("broken", "programs", "message"),
    [
        ({"fetch": "no such package"}, ["fetch", "pip", "pip"], "uv is not available"),
        ({"uv": "error: wheels"}, ["fetch", "uv", "pip", "pip"], "uv failed"),
    ],
)
def test_without_uv_pip_is_used_and_reported_once(
    bench: tuple[Recorder, installer.Installer],
    broken: dict[str, str],
    programs: list[str],
    message: str,
) -> None:
    recorder, install = bench
    recorder.broken = broken
    install.install(["a==1"], step="packages")
    install.install(["b==1"], step="packages")
    assert recorder.programs == programs
    assert recorder.printed.getvalue().count(message) == 1
    assert "continuing with pip" in recorder.printed.getvalue()


def test_a_full_disk_is_an_error_without_a_second_attempt(
    bench: tuple[Recorder, installer.Installer],
) -> None:
    recorder, install = bench
    recorder.broken = {"uv": "error: No space left on device (os error 28)"}
    with pytest.raises(command_runner.SetUpError, match="No space left"):
        install.install(["a==1"], step="packages")
    assert recorder.programs == ["fetch", "uv"]


def test_a_partly_fetched_uv_is_fetched_again(bench: tuple[Recorder, installer.Installer]) -> None:
    recorder, install = bench
    partial = install._cache / "tool" / "uv-1.2.part" / "bin"
    partial.mkdir(parents=True)
    install.install(["a==1"], step="packages")
    assert recorder.programs == ["fetch", "uv"]


@pytest.mark.parametrize(
    ("requested", "sets"),
    [
        ([], ["run"]),
        (["voice"], ["run", "voice"]),
        (["engines", "voice"], ["run", "voice", "engines"]),
        (["tests"], ["run", "voice", "engines", "tests"]),
        (["optimize"], ["run", "optimize"]),
        (["optimize", "tests"], ["run", "voice", "engines", "tests", "optimize"]),
    ],
)
def test_sets_that_an_environment_needs(requested: list[str], sets: list[str]) -> None:
    assert packages.resolve_sets(requested) == sets


def lists_after(option: str, command: list[str]) -> list[str]:
    """Return the names of the lists that a command gets with ``-r`` or ``-c``."""
    return [Path(name).stem for word, name in itertools.pairwise(command) if word == option]


def test_pip_installs_torch_within_the_locked_versions(
    bench: tuple[Recorder, installer.Installer], tmp_path: Path
) -> None:
    recorder, install = bench
    sets = packages.resolve_sets(["tests", "optimize"])
    requirements = ROOT / "requirements"
    content = packages.Packages(requirements, tmp_path, "kilted", sets, [], recorder, install)
    content.install_rest("packages")
    assert recorder.programs == ["fetch", "uv", "pip", "pip"]
    _, others, shared, alone = recorder.commands
    assert lists_after("-r", others) == ["run", "voice", "engines", "tests"]
    assert lists_after("-r", shared) == ["optimize"]
    assert lists_after("-c", shared) == ["ros-kilted", *sets]
    assert lists_after("-r", alone) == ["optimize_data", "optimize_benchmarks"]
    assert ["--no-deps" in command for command in (shared, alone)] == [False, True]


def test_beside_a_sourced_ros_pip_installs_all_sets(
    bench: tuple[Recorder, installer.Installer], tmp_path: Path
) -> None:
    """Without the distribution's OpenCV and NumPy, which this environment has too."""
    recorder, install = bench
    sets = packages.resolve_sets(["optimize"])
    content = packages.Packages(ROOT / "requirements", tmp_path, "", sets, [], recorder, install)
    content.install_first("ROS 2")
    content.install_rest("packages")
    shared, alone = recorder.commands
    assert lists_after("-r", shared) == ["run", "optimize"]
    assert lists_after("-c", shared) == ["constraints"]
    assert (tmp_path / "constraints.txt").read_text() == "numpy<3\n"
    assert "opencv" not in (tmp_path / "run.txt").read_text()
    assert lists_after("-r", alone) == ["samples", "optimize_data", "optimize_benchmarks"]
    assert ["--no-deps" in command for command in (shared, alone)] == [False, True]


def test_one_version_of_torch_is_required() -> None:
    """A range would let pip choose a newer build for CUDA over a CPU build of this version."""
    lines = (ROOT / "requirements" / "optimize.txt").read_text().splitlines()
    (line,) = [line for line in lines if re.match(r"torch\b(?!-)", line)]
    assert re.fullmatch(r"torch==[0-9.]+", line)


def test_a_changed_list_of_the_optimize_set_is_installed(
    bench: tuple[Recorder, installer.Installer], tmp_path: Path
) -> None:
    recorder, install = bench
    requirements = tmp_path / "requirements"
    shutil.copytree(ROOT / "requirements", requirements)

    def fingerprints() -> list[str]:
        return [
            packages.Packages(
                requirements, tmp_path, distro, sets, [], recorder, install
            ).fingerprint()
            for distro in ("kilted", "")
            for sets in (["run"], ["run", "optimize"])
        ]

    before = fingerprints()
    (requirements / "optimize_data.txt").write_text("mlxtend==0.24.0\n")
    changed = [old != new for old, new in zip(before, fingerprints(), strict=True)]
    assert changed == [False, True, False, True]


def locked_versions(name: str) -> dict[str, set[str]]:
    """Return the versions of each package in a locked list."""
    lines = (ROOT / "requirements" / "locked" / f"{name}.txt").read_text().splitlines()
    versions: dict[str, set[str]] = {}
    for line in lines[1:]:
        package, _, version = line.partition(";")[0].strip().partition("==")
        assert version, line
        assert "+" not in version, f"{line}: a build that no other machine may have"
        versions.setdefault(package, set()).add(version)
    return versions


@pytest.mark.parametrize("distro", ["jazzy", "kilted"])
def test_locked_lists_are_consistent(distro: str) -> None:
    """Every package of the lists is locked, and has the same version in all locked lists."""
    names = [f"ros-{distro}", *packages.SETS]
    versions = {name: locked_versions(name) for name in names}
    for name in names:
        for package, own in versions[name].items():
            others = [versions[other].get(package, own) for other in names]
            assert all(other == own for other in others), package
    for name, lists in {f"ros-{distro}": (f"ros-{distro}",), **packages.SETS}.items():
        for part in lists:
            for line in (ROOT / "requirements" / f"{part}.txt").read_text().splitlines():
                requirement = line.partition("#")[0].strip().lower().replace("_", "-")
                if requirement:
                    package = requirement.split("=")[0].split(">")[0].split("<")[0].split("~")[0]
                    assert package in versions[name], f"{part}.txt: {package}"
