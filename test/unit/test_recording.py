"""Recordings of a machine's files: capture and equal replay."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge_inference.cli.platform.record import RecordOptions, record_platform
from edge_inference.errors import ConfigError
from edge_inference.platforms.recording import recording
from edge_inference.platforms.recording.capture import CaptureSummary
from edge_inference.platforms.recording.recording import (
    RecordingHeader,
    UnreadableFile,
    read_recording,
)
from edge_inference.platforms.recording.replay import RecordedFiles
from edge_inference.platforms.system_files import HostFiles
from fake_system_files import FakeSystemFiles
from recording_bench import HEAD, SCOPE, ZONE, ManualTime, read_or_errno, record_files


@pytest.fixture
def time() -> ManualTime:
    return ManualTime()


def test_an_empty_machine_is_recorded(tmp_path: Path, time: ManualTime) -> None:
    captured = record_files(FakeSystemFiles({}), tmp_path / "r.jsonl", time)
    assert captured == CaptureSummary(samples=1, files=0, failing=0, duration_s=0.0)
    files = RecordedFiles(tmp_path / "r.jsonl")
    assert files.list("sys") == []
    assert read_or_errno(files, "sys/anything") == errno.ENOENT


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_bytes_and_errors_are_replayed(name: str, tmp_path: Path, time: ManualTime) -> None:
    contents: dict[str, bytes | int] = {
        f"{ZONE}/type": b"tj-thermal\n",
        f"{ZONE}/temp": errno.EAGAIN,
        "proc/device-tree/compatible": b"nvidia,p3767-0000\0nvidia,tegra234\0",
        "sys/class/powercap/intel-rapl:0/energy_uj": errno.EACCES,
        "sys/class/hwmon/hwmon0/in1_label": b"\xff\xfe\x00odd",
        "sys/class/hwmon/hwmon0/in1_input": b"",
        "sys/class/hwmon/hwmon1/in1_input": errno.ENODEV,
    }
    source = FakeSystemFiles(contents)
    captured = record_files(source, tmp_path / name, time)
    assert (captured.files, captured.failing) == (7, 3)
    files = RecordedFiles(tmp_path / name)
    assert {path: read_or_errno(files, path) for path in contents} == contents
    for folder in ("sys", "sys/class", ZONE, "sys/class/hwmon", "nowhere"):
        assert files.list(folder) == source.list(folder)
    assert read_or_errno(files, ZONE) == errno.EISDIR
    assert files.header == HEAD


def test_recording_of_a_real_folder(tmp_path: Path, time: ManualTime) -> None:
    zone = tmp_path / "root" / ZONE
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("51000\n")
    (zone / "serial_number").write_text("1425019\n")
    (zone / "trip_point_0_temp").mkdir()
    record_files(HostFiles(tmp_path / "root"), tmp_path / "r.jsonl", time)
    files = RecordedFiles(tmp_path / "r.jsonl")
    assert files.read(f"{ZONE}/temp") == b"51000\n"
    assert files.list(ZONE) == ["temp", "type"]


def test_only_changes_are_written_after_the_first_sample(tmp_path: Path, time: ManualTime) -> None:
    files = FakeSystemFiles(
        {f"{ZONE}/type": b"tj\n", f"{ZONE}/temp": b"1\n", f"{ZONE}/mode": b"on\n"}
    )
    time.events = {
        0.5: lambda: files.contents.update({f"{ZONE}/temp": errno.EAGAIN}),
        1.5: lambda: files.contents.pop(f"{ZONE}/mode") and None,
    }
    captured = record_files(files, tmp_path / "r.jsonl", time, duration_s=1.6)
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    samples = [json.loads(line) for line in lines[1:]]
    assert [sample["t"] for sample in samples] == [0, 0.5, 1.0, 1.5, 1.6]
    assert [sample["files"] for sample in samples[1:]] == [
        {f"{ZONE}/temp": {"errno": "EAGAIN"}},
        {},
        {f"{ZONE}/mode": None},
        {},
    ]
    assert captured.samples == 5


def test_early_stop_leaves_a_valid_recording(tmp_path: Path, time: ManualTime) -> None:
    time.ends_after_s = 1.0
    captured = record_files(
        FakeSystemFiles({f"{ZONE}/temp": b"1\n"}), tmp_path / "r.jsonl", time, 3600
    )
    assert captured.duration_s == 1.0
    assert read_recording(tmp_path / "r.jsonl").duration_s == 1.0


def test_blocked_file_is_recorded_and_replayed(tmp_path: Path, time: ManualTime) -> None:
    zone = tmp_path / "root" / ZONE
    zone.mkdir(parents=True)
    os.mkfifo(zone / "temp")
    (zone / "type").write_text("stuck\n")

    def answer() -> None:
        """Open the other end of the pipe, which unblocks the reading thread."""
        with (zone / "temp").open("wb") as pipe:
            pipe.write(b"42000\n")

    time.events = {1.0: answer}
    captured = record_files(
        HostFiles(tmp_path / "root"), tmp_path / "r.jsonl", time, duration_s=0.5
    )
    assert (captured.files, captured.failing) == (2, 1)
    (sample, _) = read_recording(tmp_path / "r.jsonl").samples
    assert sample.files == {f"{ZONE}/temp": UnreadableFile(None), f"{ZONE}/type": b"stuck\n"}
    time.wait(0.5)

    files = RecordedFiles(tmp_path / "r.jsonl")
    files.close()  # the blocked read ends with an error
    assert read_or_errno(files, f"{ZONE}/temp") == errno.ECANCELED
    assert files.read(f"{ZONE}/type") == b"stuck\n"


def test_an_existing_file_is_kept(tmp_path: Path, time: ManualTime) -> None:
    (tmp_path / "r.jsonl").write_text("precious")
    with pytest.raises(ConfigError, match="it exists"):
        record_files(FakeSystemFiles({}), tmp_path / "r.jsonl", time)
    assert (tmp_path / "r.jsonl").read_text() == "precious"
    with pytest.raises(ConfigError, match="cannot be written"):
        record_files(FakeSystemFiles({}), tmp_path / "no folder" / "r.jsonl", time)


PRIVATE = {
    "a4:53:85:0a:bc:de": b"battery of a4:53:85:0a:bc:de\n",
    "6f9619ff-8b86-d011-b42d-00cf4fc964ff": b"6f9619ff-8b86-d011-b42d-00cf4fc964ff\n",
    "1424720055555": b"Serial Number: 1424720055555, Serial\t: 1424720055555\n",
}


@pytest.mark.parametrize("secret", PRIVATE)
def test_private_data_is_removed(secret: str, tmp_path: Path, time: ManualTime) -> None:
    folder = "sys/class/power_supply/hid-" + (secret if ":" in secret else "0")
    contents: dict[str, bytes | int] = {f"{folder}/status": PRIVATE[secret]}
    header = RecordingHeader(note=f"measured on {PRIVATE[secret].decode()}")
    record_files(FakeSystemFiles(contents), tmp_path / "r.jsonl", time, header=header)
    text = (tmp_path / "r.jsonl").read_text()
    assert secret not in text
    assert "status" in text


def test_a_serial_number_is_removed_whatever_declares_its_file(
    tmp_path: Path, time: ManualTime
) -> None:
    scope = replace(SCOPE, patterns=("run/bms/*", "run/bms/*/x"))
    contents: dict[str, bytes | int] = {
        "run/bms/serial_number": b"142472005\n",
        "run/bms/host": b"robot7, a4:53:85:0a:bc:de\n",
        "run/bms/robot7/x": b"1\n",
    }
    record_files(FakeSystemFiles(contents), tmp_path / "r", time, host="robot7", scope=scope)
    files = RecordedFiles(tmp_path / "r")
    assert files.read("run/bms/serial_number") == b"removed"
    assert files.list("run/bms") == ["host", "removed", "serial_number"]
    assert files.read("run/bms/host") == b"removed, 00:00:00:00:00:01\n"


def test_equal_addresses_get_equal_replacements(tmp_path: Path, time: ManualTime) -> None:
    first, second = "a4:53:85:0a:bc:de", "a4:53:85:0a:bc:df"
    contents: dict[str, bytes | int] = {
        f"sys/class/power_supply/hid-{address}/{name}": address.encode()
        for address in (first, second)
        for name in ("status", "type")
    }
    record_files(FakeSystemFiles(contents), tmp_path / "r.jsonl", time)
    files = RecordedFiles(tmp_path / "r.jsonl")
    supplies = files.list("sys/class/power_supply")
    assert supplies == ["hid-00:00:00:00:00:01", "hid-00:00:00:00:00:02"]
    for supply in supplies:
        assert files.read(f"sys/class/power_supply/{supply}/type").decode() == supply[4:]


def test_only_the_host_name_itself_is_removed(tmp_path: Path, time: ManualTime) -> None:
    contents: dict[str, bytes | int] = {
        "etc/nvpmodel.conf": b"# of nvidia, for nvidia-agx\n",
        "proc/device-tree/compatible": b"nvidia,tegra234\0",
    }
    header = RecordingHeader("NVIDIA Jetson", "6.1.0", "taken on nvidia in the lab")
    record_files(
        FakeSystemFiles(contents), tmp_path / "r.jsonl", time, header=header, host="nvidia"
    )
    files = RecordedFiles(tmp_path / "r.jsonl")
    assert files.header.note == "taken on removed in the lab"
    assert files.read("etc/nvpmodel.conf") == b"# of removed, for nvidia-agx\n"
    assert files.read("proc/device-tree/compatible") == b"nvidia,tegra234\0"


def test_only_needed_lines_of_long_files_are_kept(tmp_path: Path, time: ManualTime) -> None:
    contents: dict[str, bytes | int] = {
        "proc/stat": b"cpu  1 2 3\ncpu0 1 2 3\nintr 0 0 0\nctxt 5\n",
        "proc/meminfo": b"MemTotal: 8 kB\nBuffers: 1 kB\nSwapFree: 0 kB\n",
    }
    record_files(FakeSystemFiles(contents), tmp_path / "r.jsonl", time)
    files = RecordedFiles(tmp_path / "r.jsonl")
    assert files.read("proc/stat") == b"cpu  1 2 3\ncpu0 1 2 3\n"
    assert files.read("proc/meminfo") == b"MemTotal: 8 kB\nSwapFree: 0 kB\n"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", False),
        ("sys/class/thermal/thermal_zone12/temp", True),
        ("sys/class/thermal/thermal_zone12/deeper/temp", False),
        ("sys/class/power_supply/BAT0/serial_number", False),
        ("sys/class/dmi/id/product_serial", False),
        ("sys/class/dmi/id/product_uuid", False),
        ("proc/device-tree/serial-number", False),
        ("sys/class/net/eth0/address", False),
        ("proc/sys/kernel/hostname", False),
        ("sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr4_input", True),
        ("etc/nvpmodel.conf", True),
    ],
)
def test_which_files_are_recorded(path: str, expected: bool) -> None:
    assert SCOPE.includes(path) is expected
    assert list(SCOPE.find_paths(FakeSystemFiles({path: b""}))) == ([path] if expected else [])


def test_unlistable_folder_skips_only_its_files(tmp_path: Path, time: ManualTime) -> None:
    class Broken(FakeSystemFiles):
        def list(self, path: str) -> list[str]:
            if path == "sys/class/hwmon":
                raise OSError(errno.EIO, "input/output error", path)
            return super().list(path)

    record_files(
        Broken({"sys/class/hwmon/hwmon0/name": b"x", "proc/stat": b"cpu 1\n"}), tmp_path / "r", time
    )
    assert RecordedFiles(tmp_path / "r").list("") == ["proc"]


BOUNDS = {
    "samples": ("_MAX_SAMPLES", 4, 4),
    "changes": ("_MAX_CHANGES", 5, 4),  # two in the first sample, then one in each
    "bytes": ("_MAX_FILE_BYTES", 700, None),
    "bytes packed": ("_MAX_PACKED_BYTES", 1900, None),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_recording_stops_at_the_limits_of_the_format(
    name: str, tmp_path: Path, time: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    constant, bound, samples = BOUNDS[name]
    monkeypatch.setattr(recording, constant, bound)
    file = tmp_path / ("r.jsonl.gz" if "packed" in name else "r.jsonl")
    files = FakeSystemFiles({f"{ZONE}/type": b"tj\n", f"{ZONE}/temp": b"0\n"})

    def get_warmer() -> None:
        files.contents[f"{ZONE}/temp"] = os.urandom(20).hex().encode() + b"\n"

    time.events = {moment / 2: get_warmer for moment in range(1, 100)}
    captured = record_files(files, file, time, duration_s=60.0)
    read = read_recording(file)
    assert captured.is_full
    assert captured.samples == len(read.samples)
    assert captured.duration_s == read.duration_s
    assert samples is None or captured.samples == samples
    assert 1 <= captured.samples < 100


def test_complete_recording_is_not_full(tmp_path: Path, time: ManualTime) -> None:
    assert not record_files(FakeSystemFiles({}), tmp_path / "r.jsonl", time, duration_s=2.0).is_full


def test_too_large_first_sample_is_refused(
    tmp_path: Path, time: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "_MAX_LINE_BYTES", 300)
    files = FakeSystemFiles({f"{ZONE}/type": b"x" * 400})
    with pytest.raises(ConfigError, match="first sample is too large"):
        record_files(files, tmp_path / "r.jsonl", time)


def test_stop_at_the_limits_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recording, "_MAX_SAMPLES", 2)
    (tmp_path / "sys").mkdir()
    file = tmp_path / "r.jsonl"
    order = RecordOptions(str(file), str(tmp_path), duration_s=600.0, period_s=0.05)
    assert record_platform(order, as_json=True) == 0
    shown = capsys.readouterr()
    (said,) = [line for line in shown.err.splitlines() if line.startswith("edge-inference: ")]
    assert "at most 2 samples" in said and "--period" in said
    assert json.loads(shown.out.splitlines()[-1])["is_full"] is True
    assert len(read_recording(file).samples) == 2
