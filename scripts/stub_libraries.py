"""Make empty libraries for TensorRT's Python bindings, so that they import without TensorRT.

Names and members of the bindings can then be looked at; what TensorRT should make comes out empty.
The libraries are written from what the bindings' module asks for, and hold nothing of NVIDIA's.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

from commands import Commands, SetUpError

NEEDED = re.compile(r"\(NEEDED\).*\[(libnv[^\]]+)\]")
# "                 U name", or "name@VERSION" where another library is known to have it.
UNDEFINED = re.compile(r"^\s+U (\w+)$", re.MULTILINE)


def make(folder: Path, commands: Commands) -> None:
    """Put the libraries that ``folder/tensorrt.so`` needs beside it, where its loader looks."""
    module = folder / "tensorrt.so"
    libraries = NEEDED.findall(_read(["readelf", "--dynamic", "--wide", str(module)]))
    names = UNDEFINED.findall(_read(["nm", "--dynamic", str(module)]))
    if not libraries or not names:
        raise SetUpError(f"{module} asks for no library of TensorRT: it is built in another way")
    source = folder / "stub.c"
    for number, library in enumerate(libraries):
        source.write_text(source_of([] if number else missing(names)))
        link = ["c++", "-shared", "-fPIC", "-x", "c", str(source), "-o", str(folder / library)]
        commands.run([*link, f"-Wl,-soname,{library}"])


def missing(names: list[str]) -> list[str]:
    """Leave out what Python and the libraries that it has loaded offer already."""
    here = ctypes.CDLL(None)
    return [name for name in names if not hasattr(here, name)]


def source_of(names: list[str]) -> str:
    """Return C source with a function for each name that returns zero: no object, no success."""
    return "".join(f"void *{name}(void) {{ return 0; }}\n" for name in names)


def _read(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetUpError(f"{command[0]} fails (apt install binutils): {error}") from error
    return done.stdout
