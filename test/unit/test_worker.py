"""A worker continues after any exception of its work, or of the report of it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge_inference.core.runtime import worker as worker_module
from edge_inference.core.runtime.worker import Worker, call_each, format_error

DEADLINE_S = 60.0
FAILURES = [RuntimeError("a bug"), SystemExit("the end"), KeyboardInterrupt(), GeneratorExit()]


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "RETRY_S", 0.0)


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize("report_fails", [False, True])
def test_work_is_repeated_after_any_exception(
    failure: BaseException, report_fails: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    reported: list[BaseException] = []
    done = threading.Event()

    def work(worker: Worker) -> None:
        if len(reported) < 3:
            raise failure
        done.set()
        worker.wait(DEADLINE_S)

    def failed(error: BaseException) -> None:
        reported.append(error)
        if report_fails:
            raise SystemExit("the report fails")

    worker = Worker("worker", work, failed)
    assert done.wait(DEADLINE_S)
    worker.end()
    assert reported == [failure] * 3
    assert capfd.readouterr().err.count("SystemExit: the report fails") == (
        3 if report_fails else 0
    )


def test_finished_work_is_not_repeated() -> None:
    calls: list[Worker] = []
    worker = Worker("worker", calls.append, lambda error: None)
    worker.end()
    worker.end()
    assert calls in ([worker], [])  # the end may come before the beginning


def test_a_worker_ends_while_its_work_keeps_failing() -> None:
    failed = threading.Event()

    def work(worker: Worker) -> None:
        raise SystemExit

    worker = Worker("worker", work, lambda error: failed.set())
    assert failed.wait(DEADLINE_S)
    worker.end()


def test_failing_work_can_end_itself() -> None:
    calls: list[int] = []
    reported = threading.Event()

    def work(worker: Worker) -> None:
        calls.append(1)
        worker.end()
        raise RuntimeError("given up")

    worker = Worker("worker", work, lambda error: reported.set())
    assert reported.wait(DEADLINE_S)
    worker.end()
    assert calls == [1]


def test_each_action_is_attempted() -> None:
    done: list[str] = []

    def fail() -> None:
        raise SystemExit

    call_each(fail, lambda: done.append("one"), fail, lambda: done.append("two"))
    assert done == ["one", "two"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("a bug"), "RuntimeError: a bug"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyError(), "KeyError"),
    ],
)
def test_format_error(error: BaseException, text: str) -> None:
    assert format_error(error) == text


def test_format_error_of_an_exception_whose_str_fails() -> None:
    assert "UnprintableError" in format_error(UnprintableError())


@pytest.mark.parametrize("name", ["inference", "speech_recognition"])
def test_the_kernel_knows_the_name_of_the_thread(name: str) -> None:
    found: list[str] = []
    done = threading.Event()

    def work(worker: Worker) -> None:
        comm = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
        found.append(comm.read_text().strip())
        done.set()

    worker = Worker(name, work, lambda error: None)
    assert done.wait(DEADLINE_S)
    worker.end()
    assert found == [name[:15]]
