"""Build pycuda without a CUDA toolkit: with headers from wheels and an empty driver library.

pycuda comes as source only. Its build reads ``.aksetup-defaults.py`` in the home folder, so it gets
a home folder of its own. The result is for tests: compiled fast, not to run fast.
"""

from __future__ import annotations

import os
from pathlib import Path

from commands import Commands

DRIVER = "libcuda.so"
SONAME = "libcuda.so.1"
# What pip reads in the real home folder besides its configuration folder.
OF_PIP = (".netrc", ".pip")


def build(requirement: str, target: Path, cuda: Path, commands: Commands) -> None:
    """Build a requirement such as "pycuda==2026.1" and install it into a folder.

    ``cuda`` is a folder that NVIDIA's header wheels were installed into.
    """
    home = target.with_name(f"{target.name}-home")
    home.mkdir(parents=True, exist_ok=True)
    # The driver is found when pycuda is imported; for linking its name is enough.
    source = home / "driver.c"
    source.write_text("")
    link = ["c++", "-shared", "-x", "c", str(source), "-o", str(home / DRIVER)]
    commands.run([*link, f"-Wl,-soname,{SONAME}"])
    (home / ".aksetup-defaults.py").write_text(defaults(cuda, home))
    options = ["--no-deps", "--no-build-isolation", "--no-cache-dir", "--target", str(target)]
    commands.pip([*options, requirement], env=environment(home))


def defaults(cuda: Path, stub: Path) -> str:
    """Return the build's settings: no OpenGL, no cuRAND, and compiled without optimisation."""
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


def environment(home: Path) -> dict[str, str]:
    """Return an environment with another home folder, in which pip keeps its configuration.

    Some compilers leave out a library from which nothing is needed; the linker's option forbids it.
    """
    real = Path.home()
    for name in OF_PIP:
        if (real / name).exists() and not (home / name).exists():
            (home / name).symlink_to(real / name)
    configuration = os.environ.get("XDG_CONFIG_HOME", str(real / ".config"))
    changed = {"HOME": str(home), "XDG_CONFIG_HOME": configuration}
    return {**os.environ, **changed, "LDFLAGS": "-Wl,--no-as-needed"}
