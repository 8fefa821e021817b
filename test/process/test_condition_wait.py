"""With ROS 2 from wheels the environment mends a wait of Fast DDS: scripts/condition_wait.cpp."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

# A date before 1970 is what the wait without an end overflows to; "signalled" comes later.
PROGRAM = """
import ctypes, errno, threading

class Time(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]

library = ctypes.CDLL(None)
mutex, condition = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
signalled = False

def signal():
    global signalled
    library.pthread_mutex_lock(mutex)
    signalled = True
    library.pthread_cond_signal(condition)
    library.pthread_mutex_unlock(mutex)

library.pthread_mutex_lock(mutex)
threading.Thread(target=signal).start()
answer = library.pthread_cond_timedwait(condition, mutex, ctypes.byref(Time(-5, -5)))
library.pthread_mutex_unlock(mutex)
print(errno.errorcode.get(answer, answer), signalled)
answer = library.pthread_cond_timedwait(condition, mutex, ctypes.byref(Time(5, 5)))
print(errno.errorcode.get(answer, answer))
"""


@pytest.mark.skipif(
    not importlib.util.find_spec("ros_wheels_bootstrapper"), reason="ROS 2 is not from wheels"
)
def test_a_wait_until_a_date_that_overflowed_waits() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["0 True", "ETIMEDOUT"]
