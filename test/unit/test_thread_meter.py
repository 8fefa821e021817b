"""The CPU time of threads, from files as the kernel writes them, and of this process."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

from edge_inference.observe.profiling.thread_meter import ThreadMeter

MS = 1_000_000


def write(root: Path, tid: int, ran_ms: float, waited_ms: float, comm: str = "worker") -> None:
    folder = root / "7" / "task" / str(tid)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schedstat").write_text(f"{round(ran_ms * MS)} {round(waited_ms * MS)} 12\n")
    (folder / "comm").write_text(f"{comm}\n")


def times(meter: ThreadMeter) -> dict[str, tuple[float, float]]:
    return {each.name: (each.cpu_ms, each.run_queue_ms) for each in meter.times()}


def test_only_the_time_of_the_window_counts(tmp_path: Path) -> None:
    meter = ThreadMeter(7, tmp_path)
    write(tmp_path, 7, 500, 100, "main")
    write(tmp_path, 8, 40, 0, "idle")
    assert meter.sample()
    write(tmp_path, 7, 520, 105, "main")
    write(tmp_path, 9, 3, 1, "later")  # a thread that started in the window counts whole
    meter.sample({9: "a longer name than comm"})
    assert times(meter) == {"main": (20.0, 5.0), "a longer name than comm": (3.0, 1.0)}


def test_the_busiest_thread_comes_first(tmp_path: Path) -> None:
    meter = ThreadMeter(7, tmp_path)
    meter.sample()
    for tid, ran in ((1, 5), (2, 9), (3, 7)):
        write(tmp_path, tid, ran, 0, str(ran))
    meter.sample()
    assert [each.name for each in meter.times()] == ["9", "7", "5"]


def test_a_thread_that_ends_keeps_its_time(tmp_path: Path) -> None:
    meter = ThreadMeter(7, tmp_path)
    meter.sample()
    write(tmp_path, 8, 30, 2)
    meter.sample()
    shutil.rmtree(tmp_path / "7" / "task" / "8")
    meter.sample()
    assert times(meter) == {"worker": (30.0, 2.0)}


def test_a_number_that_is_used_again_never_counts_below_zero(tmp_path: Path) -> None:
    meter = ThreadMeter(7, tmp_path)
    write(tmp_path, 8, 900, 50, "old")
    meter.sample()
    write(tmp_path, 8, 4, 1, "new")
    meter.sample()
    assert [(each.cpu_ms, each.run_queue_ms) for each in meter.times()] == [(4.0, 1.0)]


def test_a_process_that_is_not_visible_has_no_times(tmp_path: Path) -> None:
    meter = ThreadMeter(7, tmp_path)
    assert not meter.sample()
    assert meter.times() == []


def test_a_kernel_without_the_counters_has_no_times(tmp_path: Path) -> None:
    write(tmp_path, 8, 1, 1)
    (tmp_path / "7" / "task" / "8" / "schedstat").unlink()
    assert not ThreadMeter(7, tmp_path).sample()


def test_the_memory_of_a_process(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "statm").write_text("9000 512 300 1 0 800 0\n")
    expected_mib = 512 * os.sysconf("SC_PAGE_SIZE") / 2**20
    assert ThreadMeter(7, tmp_path).resident_mib() == expected_mib
    assert ThreadMeter(8, tmp_path).resident_mib() is None


def test_a_busy_thread_of_this_process() -> None:
    meter = ThreadMeter(os.getpid())
    meter.sample()
    used_ms: list[float] = []
    read = threading.Event()

    def work() -> None:
        begin_s = time.thread_time()
        while time.thread_time() - begin_s < 0.05:
            pass
        used_ms.append((time.thread_time() - begin_s) * 1e3)
        read.wait()

    thread = threading.Thread(target=work)
    thread.start()
    while not used_ms:
        thread.join(0.01)
    assert thread.native_id is not None
    meter.sample({thread.native_id: "the busy one"})
    read.set()
    thread.join()
    cpu_ms, _ = times(meter)["the busy one"]
    # The counter starts before the thread's own clock; nothing else runs in it.
    assert used_ms[0] - 5 <= cpu_ms <= used_ms[0] + 30
