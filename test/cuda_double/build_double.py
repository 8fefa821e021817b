"""Compiles the doubles of NVIDIA's libraries into the cache, once for each source version."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".cache" / "cuda_double"
# Filled by scripts/gpu_test_kit.py.
KIT = ROOT / ".cache" / "gpu_test_kit" / f"cp{sys.version_info[0]}{sys.version_info[1]}"
FLAGS = ("-O1", "-g", "-std=c++17", "-shared", "-fPIC", "-Wall", "-fvisibility=hidden")


def build_double(cache: Path = CACHE) -> Path:
    """Return a folder with ``libcuda.so.1`` and ``libnvrtc.so``.

    Raises LookupError, with the reason, where pycuda or a compiler is missing.
    """
    wanted = _symbols_of_pycuda()
    unused = _unused(wanted)
    digest = hashlib.sha256(unused.encode())
    for source in sorted((*HERE.glob("*.cpp"), *HERE.glob("*.h"))):
        digest.update(source.read_bytes())
    folder = cache / digest.hexdigest()[:16]
    if not folder.exists():
        private = cache / f"{folder.name}.{os.getpid()}"
        private.mkdir(parents=True)
        (private / "unused.inc").write_text(unused, encoding="utf-8")
        _compile(private, "libcuda.cpp", "libcuda.so.1")
        _compile(private, "libnvrtc.cpp", "libnvrtc.so")
        try:
            private.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(private)
    return folder


def find_pycuda() -> Path:
    """Return the folder that holds the package pycuda: in the test kit, else in this Python."""
    if (KIT / "pycuda" / "pycuda").is_dir():
        return KIT / "pycuda"
    package = importlib.util.find_spec("pycuda")
    if package is None or not package.submodule_search_locations:
        raise LookupError("pycuda is not installed")
    return Path(package.submodule_search_locations[0]).parent


def _symbols_of_pycuda() -> list[str]:
    """Return the driver functions that pycuda links to."""
    found = sorted((find_pycuda() / "pycuda").glob("_driver*.so"))
    if not found or shutil.which("nm") is None or shutil.which("g++") is None:
        raise LookupError("pycuda's extension module, nm or g++ is missing")
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", str(found[0])], check=True, capture_output=True, text=True
    )
    names = (line.split()[-1].partition("@")[0] for line in listed.stdout.splitlines())
    return sorted(name for name in names if name.startswith("cu"))


def _unused(wanted: list[str]) -> str:
    source = (HERE / "libcuda.cpp").read_text(encoding="utf-8")
    names = (name for name in wanted if f" {name}(" not in source)
    return "".join(f"UNUSED({name})\n" for name in names)


def _compile(folder: Path, source: str, library: str) -> None:
    command = ["g++", *FLAGS, f"-I{folder}", f"-Wl,-soname,{library}", "-o", str(folder / library)]
    subprocess.run([*command, str(HERE / source), "-ldl", "-pthread"], check=True)
