"""An error at a full disk or a file size limit names the disk or the limit."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from edge_inference.core.disk import describe_write_error, probe_write_error

ROOT = Path(__file__).parents[2]
NANODET = ROOT / "models" / "nanodet"
TIMEOUT_S = 240.0
#: Runs the command line with a file size limit.
LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from edge_inference.cli.main import console
sys.exit(console())
"""


def limited(folder: Path, limit: int, *words: str, **streams: object) -> tuple[int, str]:
    """Run a command; return its exit code and what it says."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "EDGE_INFERENCE_CACHE": str(folder / "cache")},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        **{"stdout": subprocess.PIPE, **streams},
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("limit", [10_000, 1_000_000])
@pytest.mark.parametrize(
    "words",
    [
        ["models", "check", str(NANODET), "--backend", "ort", "--precision", "int8"],
        ["quantize", str(NANODET), "--precision", "fp16", "--output", "made"],
        ["bisect", str(NANODET), "--precision", "int8"],
    ],
    ids=lambda words: words[0],
)
def test_a_file_size_limit_is_named(tmp_path: Path, words: list[str], limit: int) -> None:
    code, said = limited(tmp_path, limit, *words)
    last = said.splitlines()[-1]
    assert code == 1 and last.startswith("edge-inference: "), said
    assert f"this process may write {limit} bytes" in last and "ulimit -f" in last
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("words", [["models", "--json"], ["models", "check", str(NANODET)]])
def test_output_into_a_file_at_its_size_limit(tmp_path: Path, words: list[str]) -> None:
    with (tmp_path / "out").open("w") as out:
        code, said = limited(tmp_path, 0, *words, stdout=out)
    assert code == 1 and said.count("\n") == 1, said
    assert "this process may write 0 bytes" in said and "output" in said


def test_output_onto_a_full_disk() -> None:
    with Path("/dev/full").open("w") as out:
        code, said = limited(ROOT, 1 << 30, "models", "--json", stdout=out)
    assert code == 1 and said.count("\n") == 1
    assert "No space left on device; free space" in said


def test_the_error_that_keeps_a_file_from_growing_is_found(tmp_path: Path) -> None:
    file = tmp_path / "some"
    file.write_bytes(bytes(1000))
    assert probe_write_error(file) is None
    assert probe_write_error(tmp_path / "new") is None
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))  # the probe's bytes alone would fit
    try:
        trouble = probe_write_error(file)
        assert trouble is not None
        assert "1048576 bytes; allow more with ulimit -f" in describe_write_error(trouble)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    missing = probe_write_error(tmp_path / "no" / "some")
    assert missing is not None and describe_write_error(missing) == "No such file or directory"
    assert [entry.name for entry in tmp_path.iterdir()] == ["some"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (28, "free space there"),
        (122, "free space there"),
        (13, "allow this user"),
        (30, "allow this user"),
        (5, "Input/output error"),
    ],
)
def test_each_cause_has_its_hint(number: int, words: str) -> None:
    assert words in describe_write_error(OSError(number, os.strerror(number)))
