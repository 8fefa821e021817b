"""What a thread has used: CPU, run queue, page faults; and the id of the steady clock."""

from __future__ import annotations

import mmap
import resource
import threading
import time
from pathlib import Path

import pytest

from edge_inference.core.runtime.capture_stamps import STAMP_ZERO
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.thread_times import ThreadTimes, ThreadUse, clock_id


def spin(cpu_s: float) -> None:
    end = time.thread_time() + cpu_s
    while time.thread_time() < end:
        pass


def test_the_cpu_time_is_that_of_the_thread() -> None:
    with ThreadTimes() as times:
        before = times.read()
        spin(0.05)
        other = threading.Thread(target=spin, args=(0.05,))
        other.start()
        other.join()
        after = times.read()
    cpu_s = (after.cpu_ns - before.cpu_ns) / 1e9
    assert 0.05 <= cpu_s < 0.1
    assert after.at_ns - before.at_ns + 100_000 >= after.cpu_ns - before.cpu_ns


def test_page_faults_are_counted() -> None:
    pages = 300
    with ThreadTimes() as times:
        before = times.read()
        with mmap.mmap(-1, pages * resource.getpagesize()) as memory:
            if hasattr(mmap, "MADV_NOHUGEPAGE"):
                memory.madvise(mmap.MADV_NOHUGEPAGE)
            for page in range(pages):
                memory[page * resource.getpagesize()] = 1
        faults = times.read().page_faults - before.page_faults
    assert pages <= faults < 10 * pages


def test_the_run_queue_is_the_second_number(tmp_path: Path) -> None:
    file = tmp_path / "schedstat"
    file.write_text("1 2500000 3\n")
    with ThreadTimes(file) as times:
        before = times.read()
        file.write_text("2 7000000 4\n")
        after = times.read()
        file.write_text("3 9000000 5\n")
        assert times.run_queue_ms_since(after) == 2.0
        assert times.run_queue_ms_since(after._replace(run_queue_ns=None)) is None
        file.write_text("")
        assert times.run_queue_ms_since(after) is None
    assert before.run_queue_ns == 2_500_000
    assert after.run_queue_ms_since(before) == 4.5
    unknown = after._replace(run_queue_ns=None)
    assert after.run_queue_ms_since(unknown) is None
    assert unknown.run_queue_ms_since(after) is None


@pytest.mark.parametrize("content", [None, "", "1", "x y z"])
def test_without_statistics_the_run_queue_is_unknown(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "schedstat"
    if content is not None:
        file.write_text(content)
    with ThreadTimes(file) as times:
        use = times.read()
        assert use.run_queue_ns is None
        assert use.run_queue_ms_since(use) is None
        assert use.cpu_ns > 0


def test_the_record_of_an_item_that_was_processed_at_once() -> None:
    work = ThreadUse(5_000_000, 40, 1_000_000, 3), ThreadUse(9_000_000, 2_000_040, 2_500_000, 10)
    stamp_ns = 1_000_000_000
    record = StageTiming.at_once(
        "executor", "/ai/executor", (stamp_ns, "map"), stamp_ns + 7_000_000, work, 0.5, 2
    )
    assert record == StageTiming(
        "executor",
        "/ai/executor",
        queue_ms=0.0,
        process_ms=4.0,
        age_ms=7.0,
        stamp_ns=stamp_ns,
        frame_id="map",
        ended_ns=9_000_000,
        clock_id=clock_id(),
        publish_ms=0.0,
        receive_ms=0.5,
        lost=2,
        cpu_ms=2.0,
        run_queue_ms=1.5,
        page_faults=7,
    )
    assert StageTiming.at_once("", "", (0, ""), stamp_ns, work).clock_fault == STAMP_ZERO


def test_each_thread_reads_its_own_file() -> None:
    """Of a thread that has waited for a core, another one knows nothing."""
    with ThreadTimes() as times:
        is_known = times.read().run_queue_ns is not None
    if not is_known:
        pytest.skip("this kernel has no statistics of its scheduler")
    found: list[tuple[ThreadUse, int]] = []

    def read() -> None:
        with ThreadTimes() as times:
            text = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text()
            found.append((times.read(), int(text.split()[1])))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    (use, expected) = found[0]
    assert use.run_queue_ns is not None
    assert use.run_queue_ns >= expected


def test_the_file_is_closed() -> None:
    open_before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(50):
        with ThreadTimes() as times:
            times.read()
    assert len([*Path("/proc/self/fd").iterdir()]) <= open_before + 2


def test_the_clock_id_is_that_of_the_boot(tmp_path: Path) -> None:
    boot, other, offsets = (tmp_path / name for name in ("boot", "other", "offsets"))
    boot.write_text("a")
    other.write_text("b")
    missing = tmp_path / "missing"
    assert clock_id(boot, missing) == clock_id(boot, missing) != clock_id(other, missing)
    offsets.write_text("monotonic 100 0")
    assert clock_id(boot, offsets) != clock_id(boot, missing)
    assert clock_id(missing, missing) == 0
    assert 0 < clock_id() < 2**32
