"""Build pycuda without a CUDA toolkit: with headers from wheels and an empty driver library.

pycuda is released as source only. Its build reads ``.aksetup-defaults.py`` in the home folder, so
it gets its own home folder. The result is for tests: it compiles fast, but does not run fast.
"""

from __future__ import annotations

import os
from pathlib import Path

from command_runner import CommandRunner

DRIVER_LIBRARY = "libcuda.so"
SONAME = "libcuda.so.1"
# What pip reads in the home folder besides its configuration folder.
PIP_FILES = (".netrc", ".pip")


def build_pycuda(requirement: str, target: Path, cuda: Path, runner: CommandRunner) -> None:
    """Build a requirement such as "pycuda==2026.1" and install it into a folder.

    ``cuda`` is the folder into which NVIDIA's header wheels were installed.
    """
    home = target.with_name(f"{target.name}-home")
    home.mkdir(parents=True, exist_ok=True)
    # The linker needs only the library's name; the real driver is loaded when pycuda is imported.
    source = home / "driver.c"
    source.write_text("")
    link = ["c++", "-shared", "-x", "c", str(source), "-o", str(home / DRIVER_LIBRARY)]
    runner.run([*link, f"-Wl,-soname,{SONAME}"])
    (home / ".aksetup-defaults.py").write_text(format_build_settings(cuda, home))
    options = ["--no-deps", "--no-build-isolation", "--no-cache-dir", "--target", str(target)]
    runner.pip_install([*options, requirement], env=make_build_environment(home))


def format_build_settings(cuda: Path, stub: Path) -> str:
    """Return pycuda's build settings: no OpenGL, no cuRAND, compiled without optimization."""
    includes = sorted(str(folder) for folder in (cuda / "nvidia").glob("*/include"))
    values = {
        "CUDA_ROOT": str(cuda),
        "CUDA_INC_DIR": includes,
        "CUDA_ENABLE_GL": False,
        "CUDA_ENABLE_CURAND": False,
        "CUDADRV_LIB_DIR": [str(stub)],
        "CXXFLAGS": ["-O0", "-g0", "-w"],
        "LDFLAGS": ["-s"],
    }
    return "".join(f"{name} = {value!r}\n" for name, value in values.items())


def make_build_environment(home: Path) -> dict[str, str]:
    """Return an environment with another home folder in which pip finds its real configuration.

    Some compilers do not link a library of which no symbol is used; the linker option prevents
    that.
    """
    real = Path.home()
    for name in PIP_FILES:
        if (real / name).exists() and not (home / name).exists():
            (home / name).symlink_to(real / name)
    configuration = os.environ.get("XDG_CONFIG_HOME", str(real / ".config"))
    changed = {"HOME": str(home), "XDG_CONFIG_HOME": configuration}
    return {**os.environ, **changed, "LDFLAGS": "-Wl,--no-as-needed"}
