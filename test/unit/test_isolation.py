"""A unit test that starts a process or opens a model or a ROS context fails."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
import sys
import types
from collections.abc import Callable

import pytest

import isolation


def imports_onnxruntime() -> None:
    import onnxruntime  # noqa: F401


@pytest.mark.parametrize(
    "act",
    [
        lambda: subprocess.run(["true"], check=True),
        lambda: os.system("true"),
        os.fork,
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        lambda: multiprocessing.get_context("fork").Process().start(),
        lambda: multiprocessing.get_context("spawn").Process().start(),
    ],
)
def test_a_process_is_refused(act: Callable[[], object]) -> None:
    with pytest.raises(pytest.fail.Exception, match="starts a process"):
        act()
    assert len(isolation.take_violations()) == 1


def test_a_swallowed_violation_is_kept() -> None:
    try:
        subprocess.run(["true"], check=True)
    except BaseException as swallowed:
        assert "belongs in test/process" in str(swallowed)
    assert isolation.take_violations() == ["starts a process (subprocess.Popen)"]


@pytest.mark.skipif("onnxruntime" in sys.modules, reason="another tier has imported it")
def test_a_heavy_package_is_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match="imports onnxruntime"):
        imports_onnxruntime()
    assert len(isolation.take_violations()) == 1


def test_a_package_imported_by_another_tier_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    class InferenceSession:
        pass

    imported = types.SimpleNamespace(InferenceSession=InferenceSession)
    monkeypatch.setitem(sys.modules, "onnxruntime", imported)
    isolation.forbid_opening("onnxruntime", monkeypatch)
    with pytest.raises(pytest.fail.Exception, match=r"opens onnxruntime\.InferenceSession"):
        InferenceSession()
    assert len(isolation.take_violations()) == 1


def test_a_loaded_library_is_no_violation() -> None:
    assert ctypes.CDLL(None)
    assert isolation.take_violations() == []
