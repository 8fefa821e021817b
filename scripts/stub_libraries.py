"""Make empty libraries for TensorRT's Python bindings, so that they import without TensorRT.

Tests can then inspect the names and members of the bindings; every call of TensorRT returns zero.
The libraries are generated from the symbols that the bindings' module requires, and contain no
code of NVIDIA.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

from command_runner import CommandRunner, SetUpError

NEEDED_PATTERN = re.compile(r"\(NEEDED\).*\[(libnv[^\]]+)\]")
# "                 U name"; nm prints "U name@VERSION" if another library is known to define it.
UNDEFINED_PATTERN = re.compile(r"^\s+U (\w+)$", re.MULTILINE)


def make_libraries(folder: Path, runner: CommandRunner) -> None:
    """Write the libraries that ``folder/tensorrt.so`` needs into its folder."""
    module = folder / "tensorrt.so"
    libraries = NEEDED_PATTERN.findall(_run_tool(["readelf", "--dynamic", "--wide", str(module)]))
    names = UNDEFINED_PATTERN.findall(_run_tool(["nm", "--dynamic", str(module)]))
    if not libraries or not names:
        raise SetUpError(
            f"{module} requires no library of TensorRT: expected bindings that link to libnv*.so"
        )
    source = folder / "stub.c"
    for number, library in enumerate(libraries):
        source.write_text(stub_source([] if number else unresolved_symbols(names)))
        link = ["c++", "-shared", "-fPIC", "-x", "c", str(source), "-o", str(folder / library)]
        runner.run([*link, f"-Wl,-soname,{library}"])


def unresolved_symbols(names: list[str]) -> list[str]:
    """Return the symbols that neither Python nor its loaded libraries define."""
    process = ctypes.CDLL(None)
    return [name for name in names if not hasattr(process, name)]


def stub_source(names: list[str]) -> str:
    """Return C source with a function for each name that returns zero."""
    return "".join(f"void *{name}(void) {{ return 0; }}\n" for name in names)


def _run_tool(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetUpError(f"{command[0]} fails (apt install binutils): {error}") from error
    return done.stdout
