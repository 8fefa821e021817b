"""Prepares and checks engines in a child process at low priority.

A build takes minutes, gigabytes of memory and all the CPU time that it gets. In a child
process it does not disturb the nodes, it can be cancelled at any time, a crash of the
vendor's builder does no harm, and all its memory is freed at the end.

The child reads one request from standard input, writes its progress to standard output, one
JSON object a line, and ends when its parent ends.
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
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.cost_recording import Report, configuration_of, time_engines
from edge_inference.engines.serving.engine_check import EngineCheck, check_engine, record_check
from edge_inference.engines.serving.selection import Selection, prepare, select_backend
from edge_inference.errors import BackendError, CancelledError, EdgeInferenceError

_LOWEST_PRIORITY = 19
_POLL_S = 0.1
_REPORTED_LINES = 3


def prepare_in_child(
    request: EngineRequest, cache: ArtifactCache, progress: Progress, cancelled: Cancelled
) -> None:
    """Make the artifact of ``request`` in the cache, in a child process, and wait for it.

    Raises BackendError with the child's error where it fails, and CancelledError soon after
    ``cancelled`` returns True.
    """
    _run_child(request, cache, {}, progress, cancelled)


def check_in_child(
    request: EngineRequest,
    cache: ArtifactCache,
    golden: str,
    agreement: str,
    cancelled: Cancelled,
    baseline: EngineRequest | None = None,
) -> EngineCheck:
    """Run ``check_engine`` in a child process, on the engine that serves ``request``.

    In this process a check would hold the interpreter lock and delay frames. The child
    records the cost of the engine; with a ``baseline`` it also times the two interleaved.
    Raises BackendError with the child's error where a check refuses the engine.
    """
    policy: dict[str, Any] = {"golden": golden, "agreement": agreement}
    if baseline is not None:
        policy["baseline"] = _to_json(baseline, cache)
    found = _run_child(request, cache, policy, lambda phase, fraction: None, cancelled)
    return EngineCheck(found["notes"], tuple(found["warnings"]), found["precision"])


def _run_child(
    request: EngineRequest,
    cache: ArtifactCache,
    policy: dict[str, Any],
    progress: Progress,
    cancelled: Cancelled,
) -> dict[str, Any]:
    """Make a missing artifact in a child, and check the engine if there is a policy."""
    child = subprocess.Popen(
        python_command(f"from {__name__} import main; sys.exit(main())"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",  # a vendor's library may write any bytes
        env=_environment(request.gpu),
        start_new_session=True,  # Ctrl-C reaches the parent only; the child ends with it
    )
    connection = _ChildConnection(child, progress)
    try:
        connection.send({**_to_json(request, cache), "check": policy})
        while not connection.wait(_POLL_S):
            if cancelled():
                raise CancelledError(f"{_title(request)}: cancelled")
        return connection.result(_title(request))
    finally:
        connection.close()


@dataclass
class _Outcome:
    done: dict[str, Any] | None = None
    error: str = ""


class _ChildConnection:
    """The parent's side of the pipes."""

    def __init__(self, child: subprocess.Popen[str], progress: Progress) -> None:
        self._child = child
        self._progress = progress
        self._outcome = _Outcome()
        self._stderr_lines: list[str] = []
        assert child.stdout is not None and child.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_progress, args=(child.stdout,), daemon=True),
            threading.Thread(target=self._read_stderr, args=(child.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def send(self, request: dict[str, Any]) -> None:
        """Send the request. The pipe stays open: its end tells the child that the parent ended."""
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):  # the child ended at once; result() reports why
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the child to end; False where the time is over first."""
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def result(self, title: str) -> dict[str, Any]:
        """Return the child's result; raise BackendError where it ended without one."""
        code = self._child.wait()
        for reader in self._readers:
            reader.join()
        if self._outcome.done is not None:
            return self._outcome.done
        if self._outcome.error:
            raise BackendError(self._outcome.error)
        last = " / ".join(self._stderr_lines[-_REPORTED_LINES:]) or "no output"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise BackendError(
            f"{title}: the child process {how} ({last}); the usual cause is a lack of memory: "
            "free some, or lower workspace_mib in the section engine of model.yaml"
        )

    def close(self) -> None:
        """Kill the child if it runs, and close the pipes."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        for reader in self._readers:
            reader.join()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):  # unwritten data has no reader any more
                pipe.close()

    def _read_progress(self, pipe: IO[str]) -> None:
        for line in pipe:
            try:
                message = json.loads(line)
            except ValueError:
                continue  # a vendor's library printed the line
            if not isinstance(message, dict):
                continue
            if "phase" in message:
                try:
                    self._progress(message["phase"], message["fraction"])
                except BaseException as error:  # go on reading, or the child blocks
                    self._stderr_lines.append(format_error(error))
            self._outcome.done = message.get("done", self._outcome.done)
            self._outcome.error = message.get("error", self._outcome.error)

    def _read_stderr(self, pipe: IO[str]) -> None:
        for line in pipe:
            if line.strip():
                self._stderr_lines.append(line.strip())
                del self._stderr_lines[:-_REPORTED_LINES]


def _to_json(request: EngineRequest, cache: ArtifactCache) -> dict[str, Any]:
    return {
        "model": str(request.model.folder.resolve()),
        "backend": request.backend,
        "precision": request.precision,
        "threads": request.threads,
        "gpu": 0,  # the child sees one GPU only
        "cuda_graph": request.cuda_graph,
        "int8_mode": request.int8_mode,
        "model_max_mb": request.model_max_mb,
        "cache": str(cache.folder),
        "limit_bytes": cache.limit_bytes,
    }


def _from_json(content: dict[str, Any]) -> tuple[EngineRequest, ArtifactCache]:
    request = EngineRequest(
        load_model(Path(content["model"])),
        content["backend"],
        content["precision"],
        content["threads"],
        content["gpu"],
        cuda_graph=content["cuda_graph"],
        int8_mode=content["int8_mode"],
        model_max_mb=content["model_max_mb"],
    )
    return request, ArtifactCache(Path(content["cache"]), content["limit_bytes"])


def _environment(gpu: int) -> dict[str, str]:
    """Return the child's environment: the parent's modules, and only the engine's GPU.

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
    """Run the child: read the request from standard input; return the exit code."""
    os.nice(_LOWEST_PRIORITY)
    line = sys.stdin.readline()
    if not line:
        return 1
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Output of a vendor's library must not mix with the messages to the parent.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(**message: Any) -> None:
        output.write(json.dumps(message) + "\n")
        output.flush()

    try:
        content = json.loads(line)
        request, cache = _from_json(content)
        selection = prepare(
            request, cache, lambda phase, fraction: send(phase=phase, fraction=fraction)
        )
        result = _check(selection, cache, content["check"]) if content["check"] else {}
    except EdgeInferenceError as error:
        send(error=str(error))
        return 1
    send(done=result)
    return 0


def _check(selection: Selection, cache: ArtifactCache, policy: dict[str, Any]) -> dict[str, Any]:
    assert selection.backend is not None
    with selection.backend as backend:
        checked = check_engine(
            selection, backend, golden=policy["golden"], agreement=policy["agreement"]
        )
        warnings = list(checked.warnings)
        measured = record_check(selection, checked, cache, warnings.append)
        if "baseline" in policy:
            request, _ = _from_json(policy["baseline"])
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
    """Time an engine interleaved with its baseline, unless ``measured`` holds the baseline.

    The costs stay unknown where the baseline does not run.
    """
    try:
        baseline = select_backend(request, cache)
        if measured is not None and measured.cost(configuration_of(baseline, cache)) is not None:
            return
        if baseline.backend is not None:
            with baseline.backend as other:
                time_engines(
                    "preparation", [(selection, backend), (baseline, other)], cache, report
                )
    except EdgeInferenceError as error:
        report(f"the cost of {_title(selection.request)} stays unknown: {error}")


def _end_with_parent() -> None:
    try:
        sys.stdin.read()
    finally:
        os._exit(1)  # sys.exit would not end a builder inside a library


if __name__ == "__main__":
    sys.exit(main())
