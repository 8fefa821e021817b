"""Memory that many short-lived threads freed is not kept by each of them."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, sys, threading
from edge_inference.composition.allocator import keep_large_blocks

keep_large_blocks()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
all_at_once = threading.Barrier(40)

def work():
    all_at_once.wait()
    libc.malloc(ctypes.c_size_t(1 << 20))
    all_at_once.wait()

threads = [threading.Thread(target=work) for _ in range(40)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="not glibc")
def test_there_are_few_arenas(tmp_path: Path) -> None:
    told = tmp_path / "malloc.xml"
    subprocess.run([sys.executable, "-c", PROGRAM, str(told)], check=True, timeout=60)
    assert 1 <= told.read_text().count("<heap nr=") <= 4
