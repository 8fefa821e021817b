"""The kit for tests of GPU code: what is made when, and what is said of a part that is missing."""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gpu_kit
from tree import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import commands
import gpu_test_kit
import progress
import pycuda_build
import stub_libraries

REQUIREMENTS = ROOT / "requirements" / "gpu_test.txt"


class FakeCommands(commands.Commands):
    """Makes the folder that pip was to fill; ``broken`` and ``excluded`` name requirements."""

    def __init__(self, folder: Path, said: list[str]) -> None:
        shown = progress.Progress()
        shown.say = said.append
        super().__init__(Path(sys.executable), folder / "log", folder / "pip", shown)
        self.fetched: list[str] = []
        self.broken: set[str] = set()
        self.excluded: set[str] = set()
        self.numpy = "2"
        self.stopped = False

    def pip(self, arguments: list[str], **options: object) -> None:
        names = [word.partition("==")[0] for word in arguments if "==" in word]
        self.fetched += names
        if self.stopped:
            raise commands.StoppedError("ended")
        if self.broken & set(names):
            raise commands.SetUpError("no network")
        folder = Path(arguments[arguments.index("--target") + 1])
        folder.mkdir(parents=True)
        if not self.excluded & set(names):
            (folder / "module.py").write_text("")

    def install(self, arguments: list[str], *, step: str) -> None:
        self.pip(arguments)

    def run(self, command: list[str], **options: object) -> None:
        pass

    def ask(self, code: str) -> str:
        return self.numpy


class Bench:
    """A kit in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "kit"
        self.requirements = folder / "requirements.txt"
        self.requirements.write_text("# what for\nnvidia-a==1\npycuda==2\ntensorrt-bindings==8\n")
        self.said: list[str] = []
        self.commands = FakeCommands(folder, self.said)

    def prepare(self) -> bool:
        self.commands.fetched.clear()
        self.said.clear()
        arguments = (self.folder, self.requirements, self.commands, self.commands)
        worked = gpu_test_kit.Kit(*arguments).prepare()
        self.commands.fetched.sort()
        return worked

    def missing(self, part: str) -> str:
        state = json.loads((self.folder / "kit.json").read_text())
        return str(state[part].get("missing", ""))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(gpu_test_kit.platform, "machine", lambda: "x86_64")
    monkeypatch.delenv("CI", raising=False)
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("nvidia-cuda-nvrtc==13.5.37", "cuda"),
        ("pycuda==2026.1", "pycuda"),
        ("tensorrt-rtx-cu13-libs==1.7.1.116", "tensorrt_rtx"),
        ('tensorrt-bindings==8.6.1; python_version < "3.12"', "tensorrt-8.6.1"),
        ("tensorrt-cu13-bindings==11.4.0.106", "tensorrt-11.4.0.106"),
    ],
)
def test_the_part_of_a_requirement(line: str, part: str) -> None:
    assert gpu_test_kit.part_of(line) == part


def test_an_empty_list_has_no_parts(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    assert gpu_test_kit.parts_in(tmp_path / "empty.txt") == []


def test_the_parts_are_those_that_the_tests_look_for() -> None:
    names = [part.name for part in gpu_test_kit.parts_in(REQUIREMENTS)]
    bindings = [f"tensorrt-{release}" for release in gpu_kit.BINDINGS]
    assert sorted(names) == sorted([gpu_test_kit.CUDA, *gpu_kit.MODULES, *bindings])
    assert names.index(gpu_test_kit.CUDA) < names.index("pycuda")
    assert gpu_test_kit.kit_folder(ROOT / ".cache") == gpu_kit.KIT


def test_every_requirement_is_pinned_and_explained() -> None:
    document = (ROOT / "docs" / "dependencies.md").read_text()
    for part in gpu_test_kit.parts_in(REQUIREMENTS):
        for line in part.lines:
            assert re.fullmatch(r"[\w-]+==[\d.]+(; .*)?", line), line
            assert line.partition("==")[0] in document, line


def test_a_second_time_nothing_is_done(bench: Bench) -> None:
    assert bench.prepare()
    assert bench.commands.fetched == ["nvidia-a", "pycuda", "tensorrt-bindings"]
    assert not bench.prepare()
    assert (bench.commands.fetched, bench.said) == ([], [])


def test_only_what_changed_is_made_again(bench: Bench) -> None:
    bench.prepare()
    changed = bench.requirements.read_text().replace("nvidia-a==1", "nvidia-a==2")
    bench.requirements.write_text(changed)
    assert bench.prepare()
    assert bench.commands.fetched == ["nvidia-a"]
    shutil.rmtree(bench.folder / "tensorrt-8")
    assert bench.prepare()
    assert bench.commands.fetched == ["tensorrt-bindings"]


def test_pycuda_is_built_again_for_another_numpy(bench: Bench) -> None:
    bench.prepare()
    bench.commands.numpy = "1"
    assert bench.prepare()
    assert bench.commands.fetched == ["pycuda"]


def test_a_part_that_cannot_be_had_is_told_and_tried_again(bench: Bench) -> None:
    bench.commands.broken = {"pycuda"}
    assert bench.prepare()
    assert bench.commands.fetched == ["nvidia-a", "pycuda", "tensorrt-bindings"]
    assert "pycuda cannot be had" in bench.said[-1]
    assert "pycuda cannot be had" in bench.missing("pycuda")
    bench.commands.broken = set()
    assert bench.prepare()
    assert (bench.commands.fetched, bench.missing("pycuda")) == (["pycuda"], "")


def test_what_was_ended_is_not_called_missing(bench: Bench) -> None:
    bench.commands.stopped = True
    with pytest.raises(commands.StoppedError):
        bench.prepare()
    assert not (bench.folder / "kit.json").exists()
    bench.commands.stopped = False
    assert bench.prepare()
    assert bench.missing("pycuda") == ""


def test_pycuda_waits_for_the_headers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fill = gpu_test_kit.Kit._fill

    def slowly(self: gpu_test_kit.Kit, part: gpu_test_kit.Part, folder: Path) -> dict[str, str]:
        order.append(f"{part.name} begins")
        entry = fill(self, part, folder)
        order.append(f"{part.name} ends")
        return entry

    monkeypatch.setattr(gpu_test_kit.Kit, "_fill", slowly)
    assert bench.prepare()
    assert order.index("cuda ends") < order.index("pycuda begins")


def test_in_continuous_integration_it_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    bench.commands.broken = {"pycuda"}
    with pytest.raises(commands.SetUpError, match=r"pycuda cannot be had.*\nno network"):
        bench.prepare()


def test_a_release_without_wheels_is_told_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    bench.commands.excluded = {"tensorrt-bindings"}
    assert bench.prepare()
    assert "tensorrt-8 has no wheel for Python 3." in bench.said[-1]
    assert "no wheel" in bench.missing("tensorrt-8")
    assert not bench.prepare()


def test_other_processors_have_no_kit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_test_kit.platform, "machine", lambda: "aarch64")
    assert bench.prepare()
    assert bench.said == ["no tests of GPU code against doubles: there is no kit for aarch64"]
    assert "aarch64" in bench.missing("")
    assert not bench.prepare()
    assert bench.commands.fetched == []


def test_what_the_tests_hear_of_a_missing_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_kit, "KIT", tmp_path)
    monkeypatch.setattr(gpu_kit, "_state", lambda: {})
    assert gpu_kit.missing("pycuda") == gpu_kit.NOT_MADE
    monkeypatch.setattr(gpu_kit, "_state", lambda: {"": {"missing": "wrong processor"}})
    assert gpu_kit.missing("pycuda") == "wrong processor"
    with pytest.raises(pytest.skip.Exception, match="wrong processor"):
        gpu_kit.folder_of("pycuda")
    (tmp_path / "pycuda").mkdir()
    assert gpu_kit.missing("pycuda") == ""
    assert gpu_kit.folder_of("pycuda") == tmp_path / "pycuda"


def test_pycudas_build_keeps_the_configuration_of_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, home = tmp_path / "real", tmp_path / "home"
    (real / ".pip").mkdir(parents=True)
    home.mkdir()
    monkeypatch.setenv("HOME", str(real))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    changed = pycuda_build.environment(home)
    assert changed["HOME"] == str(home)
    assert changed["XDG_CONFIG_HOME"] == str(real / ".config")
    assert (home / ".pip").resolve() == real / ".pip"
    assert pycuda_build.environment(home) == changed


def test_pycuda_is_built_with_every_header_folder(tmp_path: Path) -> None:
    (tmp_path / "nvidia" / "cuda_runtime" / "include").mkdir(parents=True)
    settings: dict[str, object] = {}
    exec(pycuda_build.defaults(tmp_path, tmp_path / "it's here"), settings)
    assert settings["CUDA_INC_DIR"] == [str(tmp_path / "nvidia" / "cuda_runtime" / "include")]
    assert settings["CUDADRV_LIB_DIR"] == [str(tmp_path / "it's here")]
    assert settings["CUDA_ENABLE_CURAND"] is False


def test_stub_libraries_let_a_module_load(tmp_path: Path) -> None:
    """A library that asks for two of NVIDIA's, with a function that nobody offers."""
    empty, source = tmp_path / "empty.c", tmp_path / "module.c"
    empty.write_text("")
    source.write_text("void *make_it(void);\nint ask(void) { return make_it() ? 1 : 7; }")
    for library in ("libnvone.so.5", "libnvtwo.so.5"):
        link(empty, tmp_path / library, f"-Wl,-soname,{library}")
    needed = ("libnvone.so.5", "libnvtwo.so.5")
    module = tmp_path / "tensorrt.so"
    options = ("-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN")
    link(source, module, *options, *(tmp_path / name for name in needed))
    for library in needed:
        (tmp_path / library).unlink()
    with pytest.raises(OSError, match=r"libnvone\.so\.5"):
        ctypes.CDLL(str(module))
    stub_libraries.make(tmp_path, commands.Commands(Path(), tmp_path / "log", tmp_path / "pip"))
    assert ctypes.CDLL(str(module)).ask() == 7


def test_a_module_that_asks_for_nothing_is_another_build(tmp_path: Path) -> None:
    (tmp_path / "m.c").write_text("int f(void) { return 1; }")
    link(tmp_path / "m.c", tmp_path / "tensorrt.so")
    with pytest.raises(commands.SetUpError, match="no library of TensorRT"):
        stub_libraries.make(tmp_path, FakeCommands(tmp_path, []))


def test_what_python_offers_already_is_no_stub() -> None:
    assert stub_libraries.missing(["dlopen", "PyErr_Clear", "make_it"]) == ["make_it"]


def link(source: Path, library: Path, *options: object) -> None:
    command = ["c++", "-shared", "-fPIC", "-x", "c", source, "-x", "none", *options, "-o", library]
    subprocess.run([str(word) for word in command], check=True)
