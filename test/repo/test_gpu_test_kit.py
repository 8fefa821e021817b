"""The kit for tests of GPU code: when a part is made, and how a missing part is reported."""

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
import command_runner
import gpu_test_kit
import progress
import pycuda_build
import stub_libraries

REQUIREMENTS = ROOT / "requirements" / "gpu_test.txt"


class FakeRunner(command_runner.CommandRunner):
    """Makes the folder that pip would fill; ``broken`` and ``excluded`` name requirements."""

    def __init__(self, folder: Path, printed: list[str]) -> None:
        display = progress.Progress()
        display.print_line = printed.append
        super().__init__(Path(sys.executable), folder / "log", folder / "pip", display)
        self.fetched: list[str] = []
        self.broken: set[str] = set()
        self.excluded: set[str] = set()
        self.numpy = "2"
        self.is_interrupted = False

    def pip_install(self, arguments: list[str], **options: object) -> None:
        names = [word.partition("==")[0] for word in arguments if "==" in word]
        self.fetched += names
        if self.is_interrupted:
            raise command_runner.StoppedError("ended")
        if self.broken & set(names):
            raise command_runner.SetUpError("no network")
        folder = Path(arguments[arguments.index("--target") + 1])
        folder.mkdir(parents=True)
        if not self.excluded & set(names):
            (folder / "module.py").write_text("")

    def install(self, arguments: list[str], *, step: str) -> None:
        self.pip_install(arguments)

    def run(self, command: list[str], **options: object) -> None:
        pass

    def query_python(self, code: str) -> str:
        return self.numpy


class Bench:
    """A kit in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "kit"
        self.requirements = folder / "requirements.txt"
        self.requirements.write_text("# a comment\nnvidia-a==1\npycuda==2\ntensorrt-bindings==8\n")
        self.printed: list[str] = []
        self.runner = FakeRunner(folder, self.printed)

    def prepare(self) -> bool:
        self.runner.fetched.clear()
        self.printed.clear()
        arguments = (self.folder, self.requirements, self.runner, self.runner)
        has_changed = gpu_test_kit.GpuTestKit(*arguments).prepare()
        self.runner.fetched.sort()
        return has_changed

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
def test_part_of_a_requirement(line: str, part: str) -> None:
    assert gpu_test_kit.part_name(line) == part


def test_an_empty_list_has_no_parts(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    assert gpu_test_kit.read_parts(tmp_path / "empty.txt") == []


def test_parts_are_those_that_the_tests_use() -> None:
    names = [part.name for part in gpu_test_kit.read_parts(REQUIREMENTS)]
    bindings = [f"tensorrt-{release}" for release in gpu_kit.BINDINGS]
    assert sorted(names) == sorted([gpu_test_kit.CUDA, *gpu_kit.MODULES, *bindings])
    assert names.index(gpu_test_kit.CUDA) < names.index("pycuda")
    assert gpu_test_kit.kit_folder(ROOT / ".cache") == gpu_kit.KIT


def test_every_requirement_is_pinned_and_explained() -> None:
    document = (ROOT / "docs" / "dependencies.md").read_text()
    for part in gpu_test_kit.read_parts(REQUIREMENTS):
        for line in part.lines:
            assert re.fullmatch(r"[\w-]+==[\d.]+(; .*)?", line), line
            assert line.partition("==")[0] in document, line


def test_a_second_run_does_nothing(bench: Bench) -> None:
    assert bench.prepare()
    assert bench.runner.fetched == ["nvidia-a", "pycuda", "tensorrt-bindings"]
    assert not bench.prepare()
    assert (bench.runner.fetched, bench.printed) == ([], [])


def test_only_changed_parts_are_made_again(bench: Bench) -> None:
    bench.prepare()
    changed = bench.requirements.read_text().replace("nvidia-a==1", "nvidia-a==2")
    bench.requirements.write_text(changed)
    assert bench.prepare()
    assert bench.runner.fetched == ["nvidia-a"]
    shutil.rmtree(bench.folder / "tensorrt-8")
    assert bench.prepare()
    assert bench.runner.fetched == ["tensorrt-bindings"]


def test_pycuda_is_built_again_for_another_numpy(bench: Bench) -> None:
    bench.prepare()
    bench.runner.numpy = "1"
    assert bench.prepare()
    assert bench.runner.fetched == ["pycuda"]


def test_an_unavailable_part_is_reported_and_tried_again(bench: Bench) -> None:
    bench.runner.broken = {"pycuda"}
    assert bench.prepare()
    assert bench.runner.fetched == ["nvidia-a", "pycuda", "tensorrt-bindings"]
    assert "pycuda is not available" in bench.printed[-1]
    assert "pycuda is not available" in bench.missing("pycuda")
    bench.runner.broken = set()
    assert bench.prepare()
    assert (bench.runner.fetched, bench.missing("pycuda")) == (["pycuda"], "")


def test_an_interrupted_part_is_not_reported_as_missing(bench: Bench) -> None:
    bench.runner.is_interrupted = True
    with pytest.raises(command_runner.StoppedError):
        bench.prepare()
    assert not (bench.folder / "kit.json").exists()
    bench.runner.is_interrupted = False
    assert bench.prepare()
    assert bench.missing("pycuda") == ""


def test_pycuda_waits_for_the_headers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fill = gpu_test_kit.GpuTestKit._fill

    def recorded_fill(
        self: gpu_test_kit.GpuTestKit, part: gpu_test_kit.Part, folder: Path
    ) -> dict[str, str]:
        order.append(f"{part.name} begins")
        entry = fill(self, part, folder)
        order.append(f"{part.name} ends")
        return entry

    monkeypatch.setattr(gpu_test_kit.GpuTestKit, "_fill", recorded_fill)
    assert bench.prepare()
    assert order.index("cuda ends") < order.index("pycuda begins")


def test_in_continuous_integration_a_missing_part_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    bench.runner.broken = {"pycuda"}
    with pytest.raises(command_runner.SetUpError, match=r"pycuda is not available.*\nno network"):
        bench.prepare()


def test_a_release_without_wheels_is_reported_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    bench.runner.excluded = {"tensorrt-bindings"}
    assert bench.prepare()
    assert "tensorrt-8 has no wheel for Python 3." in bench.printed[-1]
    assert "no wheel" in bench.missing("tensorrt-8")
    assert not bench.prepare()


def test_other_processors_have_no_kit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_test_kit.platform, "machine", lambda: "aarch64")
    assert bench.prepare()
    assert bench.printed == ["no tests of GPU code against doubles: there is no kit for aarch64"]
    assert "aarch64" in bench.missing("")
    assert not bench.prepare()
    assert bench.runner.fetched == []


def test_reason_that_tests_get_for_a_missing_part(
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


def test_build_of_pycuda_keeps_the_configuration_of_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, home = tmp_path / "real", tmp_path / "home"
    (real / ".pip").mkdir(parents=True)
    home.mkdir()
    monkeypatch.setenv("HOME", str(real))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    environment = pycuda_build.make_build_environment(home)
    assert environment["HOME"] == str(home)
    assert environment["XDG_CONFIG_HOME"] == str(real / ".config")
    assert (home / ".pip").resolve() == real / ".pip"
    assert pycuda_build.make_build_environment(home) == environment


def test_pycuda_is_built_with_every_header_folder(tmp_path: Path) -> None:
    (tmp_path / "nvidia" / "cuda_runtime" / "include").mkdir(parents=True)
    settings: dict[str, object] = {}
    exec(pycuda_build.format_build_settings(tmp_path, tmp_path / "it's here"), settings)
    assert settings["CUDA_INC_DIR"] == [str(tmp_path / "nvidia" / "cuda_runtime" / "include")]
    assert settings["CUDADRV_LIB_DIR"] == [str(tmp_path / "it's here")]
    assert settings["CUDA_ENABLE_CURAND"] is False


def test_stub_libraries_let_a_module_load(tmp_path: Path) -> None:
    """The module needs two libraries of NVIDIA and a function that no library defines."""
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
    stub_libraries.make_libraries(
        tmp_path, command_runner.CommandRunner(Path(), tmp_path / "log", tmp_path / "pip")
    )
    assert ctypes.CDLL(str(module)).ask() == 7


def test_a_module_without_required_libraries_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.c").write_text("int f(void) { return 1; }")
    link(tmp_path / "m.c", tmp_path / "tensorrt.so")
    with pytest.raises(command_runner.SetUpError, match="no library of TensorRT"):
        stub_libraries.make_libraries(tmp_path, FakeRunner(tmp_path, []))


def test_symbols_that_python_defines_need_no_stub() -> None:
    assert stub_libraries.unresolved_symbols(["dlopen", "PyErr_Clear", "make_it"]) == ["make_it"]


def link(source: Path, library: Path, *options: object) -> None:
    command = ["c++", "-shared", "-fPIC", "-x", "c", source, "-x", "none", *options, "-o", library]
    subprocess.run([str(word) for word in command], check=True)
