"""Making and checking what an engine needs in a process of its own, at low priority.

A build takes minutes, gigabytes and all the processor it gets, and what a
vendor's builder does to its process is its own affair: the robot's nodes go on
beside it, it can be ended at any moment, and its memory is given back whole.

The child reads one request from its standard input, tells its progress line by
line on its standard output, and ends when its parent is gone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edge_inference.backends.base import Backend
from edge_inference.core.measured_costs import Measurement
from edge_inference.core.models.model import load_model
from edge_inference.core.runtime.child_process import python_command, python_environment
from edge_inference.core.runtime.worker import format_error
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import Cancelled, PreparationCancelledError, Progress
from edge_inference.engines.serving.cost_recording import Report, point_of, time_together
from edge_inference.engines.serving.engine_check import EngineCheck, check_engine, record_check
from edge_inference.engines.serving.selection import (
    EngineRequest,
    Selection,
    prepare,
    select_backend,
)
from edge_inference.errors import BackendError, EdgeInferenceError

_LOWEST_PRIORITY = 19
_POLL_S = 0.1
_TOLD_LINES = 3


def prepare_beside(
    request: EngineRequest, cache: ArtifactCache, progress: Progress, cancelled: Cancelled
) -> None:
    """Make what ``request`` needs in the cache, in a child process, and wait for it.

    Raises BackendError with the child's sentence where it fails, and
    PreparationCancelledError soon after ``cancelled`` says so.
    """
    _ask_child(request, cache, {}, progress, cancelled)


def check_beside(
    request: EngineRequest,
    cache: ArtifactCache,
    golden: str,
    agreement: str,
    cancelled: Cancelled,
    rival: EngineRequest | None = None,
) -> EngineCheck:
    """Do what ``check_engine`` does in a child process, on the engine that serves ``request``.

    In this process a check would take its turns at the interpreter from the frames.
    What it takes is kept among the measured costs; with a ``rival`` it is timed in turns
    with that, too. Raises BackendError with the child's sentence where a check refuses the
    engine.
    """
    policy: dict[str, Any] = {"golden": golden, "agreement": agreement}
    if rival is not None:
        policy["rival"] = _to_json(rival, cache)
    found = _ask_child(request, cache, policy, lambda phase, fraction: None, cancelled)
    return EngineCheck(found["notes"], tuple(found["warnings"]), found["precision"])


def _ask_child(
    request: EngineRequest,
    cache: ArtifactCache,
    policy: dict[str, Any],
    progress: Progress,
    cancelled: Cancelled,
) -> dict[str, Any]:
    """Have a child make what is missing, and check the engine where there is a policy."""
    child = subprocess.Popen(
        python_command(f"from {__name__} import main; sys.exit(main())"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",  # a vendor's library writes what it likes
        env=_environment(request.gpu),
        start_new_session=True,  # Ctrl-C is for us; the child ends when we do
    )
    talk = _Talk(child, progress)
    try:
        talk.ask({**_to_json(request, cache), "check": policy})
        while not talk.ended(_POLL_S):
            if cancelled():
                raise PreparationCancelledError(f"{_title(request)}: cancelled")
        return talk.judge(_title(request))
    finally:
        talk.end()


@dataclass
class _Outcome:
    found: dict[str, Any] | None = None
    error: str = ""


class _Talk:
    """The parent's end of the conversation."""

    def __init__(self, child: subprocess.Popen[str], progress: Progress) -> None:
        self._child = child
        self._progress = progress
        self._outcome = _Outcome()
        self._complaints: list[str] = []
        assert child.stdout is not None and child.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_progress, args=(child.stdout,), daemon=True),
            threading.Thread(target=self._read_complaints, args=(child.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def ask(self, asked: dict[str, Any]) -> None:
        """Send the request; the pipe stays open, for its end tells the child that we are gone."""
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):  # it died at once; judge() says what it said
            self._child.stdin.write(json.dumps(asked) + "\n")
            self._child.stdin.flush()

    def ended(self, timeout_s: float) -> bool:
        """Wait a little for the child's end."""
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def judge(self, title: str) -> dict[str, Any]:
        """Return what the child found; raise BackendError unless it said that it is done."""
        code = self._child.wait()
        for reader in self._readers:
            reader.join()
        if self._outcome.found is not None:
            return self._outcome.found
        if self._outcome.error:
            raise BackendError(self._outcome.error)
        last = " / ".join(self._complaints[-_TOLD_LINES:]) or "it said nothing"
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        raise BackendError(
            f"{title}: the process that makes it {how} ({last}); out of memory is the usual "
            "cause: free some, or lower workspace_mib in the section engine of model.yaml"
        )

    def end(self) -> None:
        """Leave nothing running."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        for reader in self._readers:
            reader.join()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):  # what was still to be written has no reader
                pipe.close()

    def _read_progress(self, pipe: IO[str]) -> None:
        for line in pipe:
            try:
                said = json.loads(line)
            except ValueError:
                continue  # a vendor's library that prints
            if not isinstance(said, dict):
                continue
            if "phase" in said:
                try:
                    self._progress(said["phase"], said["fraction"])
                except BaseException as error:  # the child would wait for its reader
                    self._complaints.append(format_error(error))
            self._outcome.found = said.get("done", self._outcome.found)
            self._outcome.error = said.get("error", self._outcome.error)

    def _read_complaints(self, pipe: IO[str]) -> None:
        for line in pipe:
            if line.strip():
                self._complaints.append(line.strip())
                del self._complaints[:-_TOLD_LINES]


def _to_json(request: EngineRequest, cache: ArtifactCache) -> dict[str, Any]:
    return {
        "model": str(request.model.folder.resolve()),
        "backend": request.backend,
        "precision": request.precision,
        "threads": request.threads,
        "gpu": 0,  # the only one that the child sees
        "cuda_graph": request.cuda_graph,
        "int8_mode": request.int8_mode,
        "model_max_mb": request.model_max_mb,
        "cache": str(cache.folder),
        "limit_bytes": cache.limit_bytes,
    }


def _from_json(asked: dict[str, Any]) -> tuple[EngineRequest, ArtifactCache]:
    request = EngineRequest(
        load_model(Path(asked["model"])),
        asked["backend"],
        asked["precision"],
        asked["threads"],
        asked["gpu"],
        cuda_graph=asked["cuda_graph"],
        int8_mode=asked["int8_mode"],
        model_max_mb=asked["model_max_mb"],
    )
    return request, ArtifactCache(Path(asked["cache"]), asked["limit_bytes"])


def _environment(gpu: int) -> dict[str, str]:
    """Return the child's environment: our modules, and only the GPU that the engine is for.

    TensorRT builds for the first GPU that it sees.
    """
    environment = python_environment()
    if gpu:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        numbers = visible.split(",") if visible else []
        environment["CUDA_VISIBLE_DEVICES"] = numbers[gpu] if gpu < len(numbers) else str(gpu)
    return environment


def _title(request: EngineRequest) -> str:
    return f"{request.model.name} for {request.backend} in {request.precision}"


def main() -> int:
    """Be the child: do what standard input asks for; return the exit code."""
    os.nice(_LOWEST_PRIORITY)
    line = sys.stdin.readline()
    if not line:
        return 1
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # What a vendor's library prints must not come between our lines.
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(**words: Any) -> None:
        own.write(json.dumps(words) + "\n")
        own.flush()

    try:
        asked = json.loads(line)
        request, cache = _from_json(asked)
        selection = prepare(
            request, cache, lambda phase, fraction: say(phase=phase, fraction=fraction)
        )
        found = _check(selection, cache, asked["check"]) if asked["check"] else {}
    except EdgeInferenceError as error:
        say(error=str(error))
        return 1
    say(done=found)
    return 0


def _check(selection: Selection, cache: ArtifactCache, policy: dict[str, Any]) -> dict[str, Any]:
    assert selection.backend is not None
    with selection.backend as backend:
        checked = check_engine(
            selection, backend, golden=policy["golden"], agreement=policy["agreement"]
        )
        warnings = list(checked.warnings)
        measured = record_check(selection, checked, cache, warnings.append)
        if "rival" in policy:
            request, _ = _from_json(policy["rival"])
            _time_with(request, measured, selection, backend, cache, warnings.append)
    return {"notes": checked.notes, "warnings": warnings, "precision": checked.precision}


def _time_with(
    request: EngineRequest,
    measured: Measurement | None,
    selection: Selection,
    backend: Backend,
    cache: ArtifactCache,
    report: Report,
) -> None:
    """Time an engine in turns with its rival, unless that is ``measured`` already.

    A rival that does not run leaves the costs unknown.
    """
    try:
        rival = select_backend(request, cache)
        if measured is not None and measured.cost(point_of(rival, cache)) is not None:
            return
        if rival.backend is not None:
            with rival.backend as other:
                time_together("preparation", [(selection, backend), (rival, other)], cache, report)
    except EdgeInferenceError as error:
        report(f"the cost of {_title(selection.request)} stays unknown: {error}")


def _end_with_parent() -> None:
    try:
        sys.stdin.read()
    finally:
        os._exit(1)  # not sys.exit: a builder inside a library would not notice


if __name__ == "__main__":
    sys.exit(main())
