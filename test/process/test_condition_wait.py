"""With ROS 2 from wheels the environment fixes a wait of Fast DDS: scripts/condition_wait.cpp."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

# A wait without a limit overflows to a date before 1970; "signaled" changes after the wait begins.
PROGRAM = """
import ctypes, errno, threading

class Time(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]

library = ctypes.CDLL(None)
mutex, condition = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
signaled = False

def signal():
    global signaled
    library.pthread_mutex_lock(mutex)
    signaled = True
    library.pthread_cond_signal(condition)
    library.pthread_mutex_unlock(mutex)

library.pthread_mutex_lock(mutex)
threading.Thread(target=signal).start()
answer = library.pthread_cond_timedwait(condition, mutex, ctypes.byref(Time(-5, -5)))
library.pthread_mutex_unlock(mutex)
print(errno.errorcode.get(answer, answer), signaled)
answer = library.pthread_cond_timedwait(condition, mutex, ctypes.byref(Time(5, 5)))
print(errno.errorcode.get(answer, answer))
"""


@pytest.mark.skipif(
    not importlib.util.find_spec("ros_wheels_bootstrapper"), reason="ROS 2 is not from wheels"
)
def test_a_wait_until_an_overflowed_date_waits() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["0 True", "ETIMEDOUT"]
