"""Progress only grows; a build thread can be cancelled and passes on its errors."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.engines.build.build_progress import BuildProgress, PhaseTree
from edge_inference.engines.build.build_thread import run_in_thread
from edge_inference.errors import CancelledError

NAMES = st.sampled_from(["a", "b", "c"])
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), NAMES, st.none() | NAMES, st.integers(0, 4)),
        st.tuples(st.just("step"), NAMES, st.integers(0, 5)),
        st.tuples(st.just("finish"), NAMES),
    )
)


def _never() -> bool:
    return False


@given(CALLS.filter(lambda calls: not any(c[0] == "start" and c[1] == c[2] for c in calls)))
def test_fraction_only_grows_and_stays_inside(calls: list[tuple[object, ...]]) -> None:
    reports: list[BuildProgress] = []
    tree = PhaseTree(reports.append, 0.1, 0.9)
    parents: dict[object, object] = {}
    for name, *arguments in calls:
        if name == "start":
            parents[arguments[0]] = arguments[1]
            if _has_circle(parents, arguments[0]):
                return  # not a tree: TensorRT does not report this
        getattr(tree, str(name))(*arguments)
    fractions = [progress.fraction for progress in reports if progress.fraction is not None]
    assert fractions == sorted(fractions)
    assert all(0.1 <= fraction <= 0.9 for fraction in fractions)


def _has_circle(parents: dict[object, object], start: object) -> bool:
    seen, name = set(), start
    while name is not None:
        if name in seen:
            return True
        seen.add(name)
        name = parents.get(name)
    return False


def test_all_steps_add_up_to_one() -> None:
    reports: list[BuildProgress] = []
    tree = PhaseTree(reports.append, 0.0, 1.0)
    tree.start("build", None, 2)
    tree.step("build", 0)
    assert reports[-1] == BuildProgress("build", 0.5)
    tree.start("time", "build", 4)
    tree.step("time", 1)
    assert reports[-1].phase == "time"
    assert 0.5 < (reports[-1].fraction or 0.0) < 1.0
    tree.finish("time")
    tree.step("build", 1)
    assert reports[-1] == BuildProgress("build", 1.0)


def test_tiny_steps_are_not_reported() -> None:
    reports: list[BuildProgress] = []
    tree = PhaseTree(reports.append, 0.0, 1.0)
    tree.start("build", None, 100_000)
    for step in range(100_000):
        tree.step("build", step)
    assert 900 < len(reports) <= 1001


def test_unknown_phases_are_ignored() -> None:
    reports: list[BuildProgress] = []
    tree = PhaseTree(reports.append, 0.0, 1.0)
    tree.step("unknown", 3)
    tree.finish("unknown")
    assert reports == []


def test_the_thread_passes_on_result_and_progress() -> None:
    threads = []

    def hear(_progress: BuildProgress) -> None:
        threads.append(threading.current_thread())

    def work(report: object, _stop: threading.Event) -> str:
        report(BuildProgress("on it", 0.5))  # type: ignore[operator]
        return "made"

    assert run_in_thread(work, hear, _never) == "made"
    assert threads == [threading.main_thread()]


def test_the_thread_passes_on_an_error() -> None:
    def work(_report: object, _stop: threading.Event) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_in_thread(work, lambda _progress: None, _never)


def test_interrupt_stops_the_work_and_reaches_the_caller() -> None:
    ended = threading.Event()

    def work(report: object, stop: threading.Event) -> None:
        report(BuildProgress("on it", 0.5))  # type: ignore[operator]
        stop.wait()
        ended.set()

    def interrupt(_progress: BuildProgress) -> None:
        raise KeyboardInterrupt  # as Ctrl-C does on the main thread

    with pytest.raises(KeyboardInterrupt):
        run_in_thread(work, interrupt, _never)
    assert ended.is_set()


def test_work_that_cannot_be_stopped_runs_on() -> None:
    release = threading.Event()
    try:
        with pytest.raises(CancelledError):
            run_in_thread(
                lambda _report, _stop: release.wait(),
                lambda _progress: None,
                lambda: True,
                grace_s=0.0,
            )
    finally:
        release.set()


def test_cancelled_after_the_last_step() -> None:
    answers = iter([False])
    with pytest.raises(CancelledError):
        run_in_thread(lambda _r, _s: "made", lambda _progress: None, lambda: next(answers, True))


def test_a_result_after_cancelling_is_dropped() -> None:
    done = threading.Event()

    def work(_report: object, _stop: threading.Event) -> str:
        done.set()
        return "made"

    with pytest.raises(CancelledError):
        run_in_thread(work, lambda _progress: None, done.is_set)
