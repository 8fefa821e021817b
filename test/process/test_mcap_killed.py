"""A process that is killed while it records leaves a file whose messages can be recovered."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_inference.errors import ConfigError
from edge_inference.observe.recording.mcap_recovery import read_contents, recover
from mcap_judges import needs_mcap, read_by_index

ROOT = Path(__file__).parents[2]
DEADLINE_S = 300.0
#: Records numbered messages of 100 bytes for ever.
WRITER = """
import itertools, sys, time
from pathlib import Path
from edge_inference.observe.recording.mcap_recorder import McapRecorder
from edge_inference.observe.recording.ros_schemas import RosSchema

recorder = McapRecorder(Path(sys.argv[1]), print)
schema = RosSchema("std_msgs/msg/String", "string data")
add = recorder.add_topic("/numbers", lambda: schema, lambda number: b"%0100d" % number)
for number in itertools.count():
    add(number)
    time.sleep(0.0002)
"""


def recorded(file: Path) -> int:
    try:
        return read_contents(file).counts.total()
    except ConfigError:  # the file has not begun
        return 0


@needs_mcap
@pytest.mark.parametrize("count", [1, 2000, 8000])
def test_killed_in_mid_write(tmp_path: Path, count: int) -> None:
    broken, fixed = tmp_path / "broken.mcap", tmp_path / "fixed.mcap"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(broken)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        end_s = time.monotonic() + DEADLINE_S
        while (found := recorded(broken)) < count:
            assert process.poll() is None
            assert time.monotonic() < end_s, "no messages in the file"
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    with pytest.raises(Exception):  # noqa: B017 - it depends on where the file ends
        read_by_index(broken)
    contents = recover(broken, fixed)
    assert not contents.is_finished
    assert contents.counts["/numbers"] >= found >= count
    numbers = [int(message.data) for _, _, message in read_by_index(fixed)]
    assert numbers == list(range(contents.counts["/numbers"]))
    assert read_contents(fixed).is_finished
