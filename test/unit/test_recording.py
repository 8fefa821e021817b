"""Recordings of a machine's tree: captured, read back, refused where damaged, played by time."""

from __future__ import annotations

import errno
import gzip
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.errors import ConfigError, InputError
from edge_inference.platforms.capture import Captured, record
from edge_inference.platforms.recorded_files import is_recorded, recorded_paths
from edge_inference.platforms.recording import (
    FORMAT,
    Content,
    Head,
    Look,
    Unreadable,
    head_line,
    look_line,
    read_recording,
)
from edge_inference.platforms.replay import RecordedTree
from edge_inference.platforms.tree import MachineTree, Tree
from fake_tree import FakeTree

ZONE = "sys/class/thermal/thermal_zone0"
HEAD = Head("a board", "6.1.0", "a note", False)


class Time:
    """A clock that only waiting moves; what is due happens on the way."""

    def __init__(self) -> None:
        self.now_ns = 10_000_000_000
        self.events: dict[float, Callable[[], None]] = {}
        self.ends_after_s = float("inf")

    def clock(self) -> int:
        return self.now_ns

    def wait(self, seconds: float) -> bool:
        self.now_ns += round(seconds * 1e9)
        elapsed_s = self.now_ns / 1e9 - 10
        for moment in [moment for moment in self.events if moment <= elapsed_s]:
            self.events.pop(moment)()
        return elapsed_s >= self.ends_after_s


@pytest.fixture
def time() -> Time:
    return Time()


def recorded(
    tree: Tree, file: Path, time: Time, duration_s: float = 0.0, head: Head = HEAD, host: str = ""
) -> Captured:
    return record(
        tree,
        file,
        head,
        duration_s=duration_s,
        period_s=0.5,
        wait=time.wait,
        clock=time.clock,
        host_name=host,
        blocks_after_s=0.2,
    )


def written(file: Path, *looks: tuple[float, dict[str, Content | None]]) -> Path:
    lines = [head_line(HEAD), *(look_line(Look(moment, files)) for moment, files in looks)]
    file.write_text("\n".join(lines) + "\n")
    return file


def as_read(tree: Tree, path: str) -> bytes | int:
    try:
        return tree.read(path)
    except OSError as error:
        assert error.errno is not None
        return error.errno


def test_an_empty_machine_is_recorded(tmp_path: Path, time: Time) -> None:
    captured = recorded(FakeTree({}), tmp_path / "r.jsonl", time)
    assert captured == Captured(looks=1, files=0, failing=0, duration_s=0.0)
    tree = RecordedTree(tmp_path / "r.jsonl")
    assert tree.list("sys") == []
    assert as_read(tree, "sys/anything") == errno.ENOENT


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_bytes_and_errors_come_back_as_they_were(name: str, tmp_path: Path, time: Time) -> None:
    files: dict[str, bytes | int] = {
        f"{ZONE}/type": b"tj-thermal\n",
        f"{ZONE}/temp": errno.EAGAIN,
        "proc/device-tree/compatible": b"nvidia,p3767-0000\0nvidia,tegra234\0",
        "sys/class/powercap/intel-rapl:0/energy_uj": errno.EACCES,
        "sys/class/hwmon/hwmon0/in1_label": b"\xff\xfe\x00odd",
        "sys/class/hwmon/hwmon0/in1_input": b"",
        "sys/class/hwmon/hwmon1/in1_input": errno.ENODEV,
    }
    source = FakeTree(files)
    captured = recorded(source, tmp_path / name, time)
    assert (captured.files, captured.failing) == (7, 3)
    tree = RecordedTree(tmp_path / name)
    assert {path: as_read(tree, path) for path in files} == files
    for folder in ("sys", "sys/class", ZONE, "sys/class/hwmon", "nowhere"):
        assert tree.list(folder) == source.list(folder)
    assert as_read(tree, ZONE) == errno.EISDIR
    assert tree.head == HEAD


def test_a_real_folder_is_recorded(tmp_path: Path, time: Time) -> None:
    zone = tmp_path / "root" / ZONE
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("51000\n")
    (zone / "serial_number").write_text("1425019\n")
    (zone / "trip_point_0_temp").mkdir()
    recorded(MachineTree(tmp_path / "root"), tmp_path / "r.jsonl", time)
    tree = RecordedTree(tmp_path / "r.jsonl")
    assert tree.read(f"{ZONE}/temp") == b"51000\n"
    assert tree.list(ZONE) == ["temp", "type"]


def test_only_changes_are_written_after_the_first_look(tmp_path: Path, time: Time) -> None:
    tree = FakeTree({f"{ZONE}/type": b"tj\n", f"{ZONE}/temp": b"1\n", f"{ZONE}/mode": b"on\n"})
    time.events = {
        0.5: lambda: tree.files.update({f"{ZONE}/temp": errno.EAGAIN}),
        1.5: lambda: tree.files.pop(f"{ZONE}/mode") and None,
    }
    captured = recorded(tree, tmp_path / "r.jsonl", time, duration_s=1.6)
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    looks = [json.loads(line) for line in lines[1:]]
    assert [look["t"] for look in looks] == [0, 0.5, 1.0, 1.5, 1.6]
    assert [look["files"] for look in looks[1:]] == [
        {f"{ZONE}/temp": {"errno": "EAGAIN"}},
        {},
        {f"{ZONE}/mode": None},
        {},
    ]
    assert captured.looks == 5


def test_an_early_end_leaves_a_sound_recording(tmp_path: Path, time: Time) -> None:
    time.ends_after_s = 1.0
    captured = recorded(FakeTree({f"{ZONE}/temp": b"1\n"}), tmp_path / "r.jsonl", time, 3600)
    assert captured.duration_s == 1.0
    assert read_recording(tmp_path / "r.jsonl").duration_s == 1.0


def test_a_file_that_blocks_is_recorded_as_such_and_does_so_again(
    tmp_path: Path, time: Time
) -> None:
    zone = tmp_path / "root" / ZONE
    zone.mkdir(parents=True)
    os.mkfifo(zone / "temp")
    (zone / "type").write_text("stuck\n")

    def answer() -> None:
        """Open the pipe's other end, which lets the reading thread go on."""
        with (zone / "temp").open("wb") as pipe:
            pipe.write(b"42000\n")

    time.events = {1.0: answer}
    captured = recorded(MachineTree(tmp_path / "root"), tmp_path / "r.jsonl", time, duration_s=0.5)
    assert (captured.files, captured.failing) == (2, 1)
    (look, _) = read_recording(tmp_path / "r.jsonl").looks
    assert look.files == {f"{ZONE}/temp": Unreadable(None), f"{ZONE}/type": b"stuck\n"}
    time.wait(0.5)

    tree = RecordedTree(tmp_path / "r.jsonl")
    tree.close()  # what has blocked until then ends with an error of its own
    assert as_read(tree, f"{ZONE}/temp") == errno.ECANCELED
    assert tree.read(f"{ZONE}/type") == b"stuck\n"


def test_a_blocked_read_goes_on_when_the_recording_does(tmp_path: Path) -> None:
    file = written(
        tmp_path / "r.jsonl", (0, {"a": Unreadable(None)}), (1, {"a": b"1"}), (2, {"a": None})
    )
    moments = iter([0, 0, 0, 1_000_000_000])
    assert RecordedTree(file, clock=lambda: next(moments)).read("a") == b"1"


def test_an_existing_file_is_kept(tmp_path: Path, time: Time) -> None:
    (tmp_path / "r.jsonl").write_text("precious")
    with pytest.raises(ConfigError, match="is there already"):
        recorded(FakeTree({}), tmp_path / "r.jsonl", time)
    assert (tmp_path / "r.jsonl").read_text() == "precious"
    with pytest.raises(ConfigError, match="cannot be written"):
        recorded(FakeTree({}), tmp_path / "no folder" / "r.jsonl", time)


PRIVATE = {
    "a4:53:85:0a:bc:de": b"battery of a4:53:85:0a:bc:de\n",
    "6f9619ff-8b86-d011-b42d-00cf4fc964ff": b"6f9619ff-8b86-d011-b42d-00cf4fc964ff\n",
    "1424720055555": b"Serial Number: 1424720055555, Serial\t: 1424720055555\n",
}


@pytest.mark.parametrize("secret", PRIVATE)
def test_what_is_private_is_not_in_a_recording(secret: str, tmp_path: Path, time: Time) -> None:
    folder = "sys/class/power_supply/hid-" + (secret if ":" in secret else "0")
    files: dict[str, bytes | int] = {f"{folder}/status": PRIVATE[secret]}
    head = Head(note=f"measured on {PRIVATE[secret].decode()}")
    recorded(FakeTree(files), tmp_path / "r.jsonl", time, head=head)
    text = (tmp_path / "r.jsonl").read_text()
    assert secret not in text
    assert "status" in text


def test_the_same_address_stays_the_same(tmp_path: Path, time: Time) -> None:
    first, second = "a4:53:85:0a:bc:de", "a4:53:85:0a:bc:df"
    files: dict[str, bytes | int] = {
        f"sys/class/power_supply/hid-{address}/{name}": address.encode()
        for address in (first, second)
        for name in ("status", "type")
    }
    recorded(FakeTree(files), tmp_path / "r.jsonl", time)
    tree = RecordedTree(tmp_path / "r.jsonl")
    supplies = tree.list("sys/class/power_supply")
    assert supplies == ["hid-00:00:00:00:00:01", "hid-00:00:00:00:00:02"]
    for supply in supplies:
        assert tree.read(f"sys/class/power_supply/{supply}/type").decode() == supply[4:]


def test_the_host_is_not_named_and_what_sounds_like_it_stays(tmp_path: Path, time: Time) -> None:
    files: dict[str, bytes | int] = {
        "etc/nvpmodel.conf": b"# of nvidia, for nvidia-agx\n",
        "proc/device-tree/compatible": b"nvidia,tegra234\0",
    }
    head = Head("NVIDIA Jetson", "6.1.0", "taken on nvidia in the lab")
    recorded(FakeTree(files), tmp_path / "r.jsonl", time, head=head, host="nvidia")
    tree = RecordedTree(tmp_path / "r.jsonl")
    assert tree.head.note == "taken on removed in the lab"
    assert tree.read("etc/nvpmodel.conf") == b"# of removed, for nvidia-agx\n"
    assert tree.read("proc/device-tree/compatible") == b"nvidia,tegra234\0"


def test_of_long_files_only_what_matters_is_kept(tmp_path: Path, time: Time) -> None:
    files: dict[str, bytes | int] = {
        "proc/stat": b"cpu  1 2 3\ncpu0 1 2 3\nintr 0 0 0\nctxt 5\n",
        "proc/meminfo": b"MemTotal: 8 kB\nBuffers: 1 kB\nSwapFree: 0 kB\n",
    }
    recorded(FakeTree(files), tmp_path / "r.jsonl", time)
    tree = RecordedTree(tmp_path / "r.jsonl")
    assert tree.read("proc/stat") == b"cpu  1 2 3\ncpu0 1 2 3\n"
    assert tree.read("proc/meminfo") == b"MemTotal: 8 kB\nSwapFree: 0 kB\n"


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
    assert is_recorded(path) is expected
    assert list(recorded_paths(FakeTree({path: b""}))) == ([path] if expected else [])


def test_a_folder_that_cannot_be_listed_costs_its_own_files_only(
    tmp_path: Path, time: Time
) -> None:
    class Broken(FakeTree):
        def list(self, path: str) -> list[str]:
            if path == "sys/class/hwmon":
                raise OSError(errno.EIO, "input/output error", path)
            return super().list(path)

    recorded(
        Broken({"sys/class/hwmon/hwmon0/name": b"x", "proc/stat": b"cpu 1\n"}), tmp_path / "r", time
    )
    assert RecordedTree(tmp_path / "r").list("") == ["proc"]


def test_time_plays(tmp_path: Path, time: Time) -> None:
    file = written(
        tmp_path / "r.jsonl",
        (0, {"d/a": b"0", "d/b": b"0"}),
        (1, {"d/a": Unreadable(errno.EAGAIN)}),
        (2, {"d/a": b"2", "d/b": None}),
    )
    tree = RecordedTree(file, clock=time.clock)
    seen = []
    for _ in range(6):
        seen.append((as_read(tree, "d/a"), tree.list("d"), tree.has_ended))
        time.wait(0.5)
    eagain = errno.EAGAIN
    assert seen == [
        (b"0", ["a", "b"], False),
        (b"0", ["a", "b"], False),
        (eagain, ["a", "b"], False),
        (eagain, ["a", "b"], False),
        (b"2", ["a"], True),
        (b"2", ["a"], True),
    ]


@pytest.mark.parametrize(
    ("speed", "loop", "expected"),
    [
        (1, False, [0, 0, 1, 2, 2, 2, 2]),
        (2, False, [0, 1, 2, 2, 2, 2, 2]),
        (0.5, False, [0, 0, 0, 0, 1, 1, 2]),
        (1, True, [0, 0, 1, 0, 0, 1, 0]),
        (2, True, [0, 1, 0, 0, 1, 0, 0]),
    ],
)
def test_speed_and_loop(
    speed: float, loop: bool, expected: list[int], tmp_path: Path, time: Time
) -> None:
    looks = [(float(t), {"a": str(t).encode()}) for t in (0, 1)]
    file = written(tmp_path / "r.jsonl", *looks, (1.5, {"a": b"2"}))
    tree = RecordedTree(file, clock=time.clock, speed=speed, loop=loop)
    seen = []
    for _ in expected:
        seen.append(int(tree.read("a")))
        time.wait(0.5)
    assert seen == expected
    assert tree.has_ended is not loop


def test_a_single_look_lasts_for_ever(tmp_path: Path, time: Time) -> None:
    tree = RecordedTree(written(tmp_path / "r.jsonl", (0, {"a": b"1"})), time.clock, loop=True)
    time.wait(1000)
    assert tree.read("a") == b"1"
    assert tree.has_ended


def test_a_clock_that_goes_back_does_no_harm(tmp_path: Path, time: Time) -> None:
    file = written(tmp_path / "r.jsonl", (0, {"a": b"0"}), (1, {"a": b"1"}))
    tree = RecordedTree(file, time.clock)
    time.wait(-3600)
    assert tree.read("a") == b"0"


SOUND = [head_line(HEAD), '{"t": 0, "files": {"a": {"text": "1"}}}', '{"t": 1, "files": {}}']


@pytest.mark.parametrize(
    ("number", "line", "words"),
    [
        (1, "", "line 1: is no JSON"),
        (1, "[]", "line 1: expected a JSON object, got list"),
        (1, "{}", "line 1: expected a recording in format"),
        (1, json.dumps({"format": "edge-inference-platform/2"}), "got 'edge-inference-platform/2'"),
        (1, json.dumps({"format": FORMAT, "board": 3}), "line 1: expected board to be a str"),
        (2, '{"t": 0}', "line 2: expected files"),
        (2, '{"t": 0.5, "files": {}}', "line 2: expected the first look at t = 0"),
        (2, '{"t": NaN, "files": {}}', "line 2: expected t"),
        (2, '{"t": 0, "files": {"a": "1"}}', "line 2, 'a': expected null or one of text"),
        (2, '{"t": 0, "files": {"a\\nb": 1}}', "line 2, 'a\\nb': expected"),
        (2, '{"t": 0, "files": {"a": {"errno": "EWHAT"}}}', "line 2, 'a': expected null or one of"),
        (2, '{"t": 0, "files": {"a": {"base64": "?"}}}', "line 2, 'a': is no base64"),
        (2, '{"t": 0, "files": {"a": {"text": "1", "errno": "EIO"}}}', "line 2, 'a': expected"),
        (3, '{"t": -1, "files": {}}', "line 3: expected t"),
        (3, '{"t": 1, "files": {"a": {"te', "line 3: is no JSON (the file ends there: it is cut"),
        (3, "[" * 100_000, "line 3: is no JSON"),
    ],
)
def test_damage_is_told_with_its_line(number: int, line: str, words: str, tmp_path: Path) -> None:
    lines = [*SOUND]
    lines[number - 1] = line
    file = tmp_path / "r.jsonl"
    file.write_text("\n".join(lines) + ("\n" if number < 3 else ""))
    with pytest.raises(InputError) as refusal:
        RecordedTree(file)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_time_does_not_go_back(tmp_path: Path) -> None:
    file = written(tmp_path / "r.jsonl", (0, {}), (2, {}), (1, {}))
    with pytest.raises(InputError, match="line 4: t goes back from 2 to 1"):
        RecordedTree(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (SOUND[0].encode() + b"\n", "without a look"),
        (b"\xff\xfe\x00", "line 1: is no UTF-8"),
    ],
)
def test_what_is_no_recording(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=words):
        RecordedTree(file)


def test_a_file_that_is_not_there_and_packed_ones_that_are_damaged(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl: cannot be read"):
        RecordedTree(tmp_path / "none.jsonl")
    packed = gzip.compress(("\n".join(SOUND) + "\n").encode())
    file = tmp_path / "r.jsonl.gz"
    for content in (b"no gzip", packed[:-12], packed[:20] + b"\0" * 20, packed[:3]):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"line \d+: cannot be unpacked"):
            RecordedTree(file)
    file.write_bytes(packed)
    assert RecordedTree(file).read("a") == b"1"


contents = st.one_of(
    st.binary(max_size=40), st.sampled_from([11, 13, 19, None]).map(Unreadable), st.none()
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), contents))
def test_any_content_survives_writing(files: dict[str, Content | None]) -> None:
    line = look_line(Look(0.0, files))
    assert "\n" not in line
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write(f"{head_line(HEAD)}\n{line}\n")
        file.flush()
        (look,) = read_recording(Path(file.name)).looks
    assert look.files == files


@given(
    st.integers(0, 200),
    st.integers(0, 30),
    st.binary(max_size=12),
    st.sampled_from(["r.jsonl", "r.jsonl.gz"]),
)
def test_damage_of_any_kind_is_told(at: int, length: int, patch: bytes, name: str) -> None:
    content = ("\n".join(SOUND) + "\n").encode()
    content = gzip.compress(content, mtime=0) if name.endswith(".gz") else content
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content[:at] + patch + content[at + length :])
        try:
            read_recording(file)
        except InputError as refusal:
            assert str(refusal).startswith(str(file))
            assert "\n" not in str(refusal)
