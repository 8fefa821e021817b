"""Audio devices, with a double for the package sounddevice."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import numpy as np
import pytest

from edge_inference.cli.command_line import run
from edge_inference.cli.voice.audio_devices import Player, check_input, input_devices, list_inputs
from edge_inference.core.audio import AudioChunk
from edge_inference.errors import SourceError

DEADLINE_S = 10.0
MICROPHONES = [
    {"name": "HDMI", "max_input_channels": 0, "max_output_channels": 2},
    {"name": "USB mic", "max_input_channels": 1, "max_output_channels": 0},
    {"name": "USB camera", "max_input_channels": 2, "max_output_channels": 0},
]


class PortAudioError(Exception):
    """As sounddevice has it."""


class Stream:
    """Keeps what it is to play."""

    def __init__(self, system: SoundSystem, rate: int) -> None:
        self._system = system
        self.rate = rate
        self.written: list[Any] = []
        self.is_closed = False

    def start(self) -> None:
        """Do nothing."""

    def write(self, samples: Any) -> None:
        if self._system.fault:
            raise PortAudioError(self._system.fault)
        self.written.append(samples)
        if len(self.written) == self._system.enough:
            self._system.has_enough.set()

    def close(self) -> None:
        self.is_closed = True


class SoundSystem:
    """The part of sounddevice that is used."""

    PortAudioError = PortAudioError

    def __init__(self, *devices: dict[str, Any]) -> None:
        self.devices = devices
        self.default = type("Default", (), {"device": (1, 0)})
        self.streams: list[Stream] = []
        self.fault = ""
        self.enough = 0
        self.has_enough = threading.Event()

    def query_devices(self, device: Any = None, kind: str = "") -> Any:
        if not kind:
            return self.devices
        fitting = [
            each
            for number, each in enumerate(self.devices)
            if each[f"max_{kind}_channels"]
            and (device is None or device == number or str(device) in each["name"])
        ]
        if not fitting:
            raise PortAudioError("Error querying device -1")
        if len(fitting) > 1 and device is not None:
            raise ValueError(f"Multiple {kind} devices found for {device!r}")
        return fitting[0]

    def OutputStream(self, **options: Any) -> Stream:
        self.streams.append(Stream(self, options["samplerate"]))
        return self.streams[-1]


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> SoundSystem:
    found = SoundSystem(*MICROPHONES)
    monkeypatch.setitem(sys.modules, "sounddevice", found)
    return found


def chunk(value: float, rate: int = 16_000) -> AudioChunk:
    return AudioChunk(np.full(512, value, np.float32), rate, 0)


def test_without_the_package_the_error_tells_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    for use in (input_devices, lambda: check_input(""), lambda: Player(print)):
        with pytest.raises(SourceError, match="pip install sounddevice"):
            use()


def test_without_any_device_the_error_says_so(system: SoundSystem) -> None:
    system.devices = ()
    for use in (lambda: check_input(""), lambda: list_inputs(False)):
        with pytest.raises(SourceError, match="no device that records"):
            use()
    with pytest.raises(SourceError, match="no device that plays"):
        Player(print)


def test_input_devices_are_listed(system: SoundSystem, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "voice", "--list-devices"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "device:1  USB mic (1 channel, the default)",
        "device:2  USB camera (2 channels)",
    ]
    first, second = map(json.loads, list_inputs(as_json=True))
    assert first == {"number": 1, "name": "USB mic", "channels": 1, "is_default": True}
    assert not second["is_default"]


@pytest.mark.parametrize("name", ["", "1", "USB mic", "camera"])
def test_an_input_device_is_accepted(system: SoundSystem, name: str) -> None:
    check_input(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("0", "device:0: no such input device; expected one of device:1"),
        ("7", "no such input device"),
        (
            "webcam",
            r"no such input device; expected one of device:1 \(USB mic\), device:2 \(USB cam",
        ),
        ("USB", "device:USB: matches several devices"),
    ],
)
def test_another_device_is_refused_with_a_list(system: SoundSystem, name: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        check_input(name)


@pytest.mark.parametrize("option", ["--play", "--expect"])
def test_options_for_files_are_refused_for_devices(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", "voice", "--source", "device", option]) == 2
    errors = capsys.readouterr().err
    assert option in errors
    assert errors.count("\n") == 1


def test_chunks_are_played_in_their_order_and_at_their_rate(system: SoundSystem) -> None:
    system.enough = 2  # with the lead before the chunk
    player = Player(pytest.fail)
    for number, rate in enumerate((16_000, 44_100)):
        system.has_enough.clear()
        player.play(chunk(0.1 * (number + 1), rate))
        assert system.has_enough.wait(DEADLINE_S)
    player.close()
    first, second = system.streams
    assert (first.rate, second.rate) == (16_000, 44_100)
    assert not first.written[0].any()
    assert (first.written[1] == np.float32(0.1)).all()
    assert (second.written[1] == np.float32(0.2)).all()
    assert first.is_closed
    assert second.is_closed


def test_a_device_failure_is_reported_once(system: SoundSystem) -> None:
    system.fault = "Device unavailable"
    reports: list[str] = []
    has_told = threading.Event()

    def tell(text: str) -> None:
        reports.append(text)
        has_told.set()

    player = Player(tell)
    player.play(chunk(0.1))
    assert has_told.wait(DEADLINE_S)
    for _ in range(100):
        player.play(chunk(0.1))
    player.close()
    assert len(reports) == 1
    assert "Device unavailable; the run continues" in reports[0]
