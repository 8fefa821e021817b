"""The audio devices of this machine: listing, checking an input, and playback."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge_inference.core.audio import AudioChunk
from edge_inference.errors import SourceError

#: Playback is delayed by this, because chunks do not arrive evenly.
_LEAD_S = 0.15
#: About a second; if more chunks wait, the player drops new ones.
_MAX_WAITING_CHUNKS = 32
_NO_DEVICE = (
    "no device that {} on this machine: plug one in, or give a container or virtual machine "
    "access to the sound system (/dev/snd, or PulseAudio's socket); audio files need none"
)


@dataclass(frozen=True)
class InputDevice:
    """An input device; ``is_default``: ``--source device`` opens it."""

    number: int
    name: str
    channels: int
    is_default: bool = False

    def __str__(self) -> str:
        default = ", the default" if self.is_default else ""
        plural = "s" if self.channels != 1 else ""
        return f"device:{self.number}  {self.name} ({self.channels} channel{plural}{default})"


def input_devices() -> tuple[InputDevice, ...]:
    """Return the input devices; SourceError without the package sounddevice."""
    sounddevice = _import_sounddevice()
    try:
        default = int(sounddevice.default.device[0])
        found = [
            InputDevice(number, str(each["name"]), int(each["max_input_channels"]))
            for number, each in enumerate(sounddevice.query_devices())
            if each["max_input_channels"] > 0
        ]
    except sounddevice.PortAudioError as error:
        raise SourceError(f"PortAudio does not list the devices: {error}") from error
    return tuple(
        InputDevice(each.number, each.name, each.channels, each.number == default) for each in found
    )


def list_inputs(as_json: bool) -> list[str]:
    """Return a line for each input device; SourceError if there is none."""
    known = input_devices()
    if not known:
        raise SourceError(_NO_DEVICE.format("records"))
    return [json.dumps(asdict(each)) if as_json else str(each) for each in known]


def check_input(name: str) -> None:
    """Raise SourceError, with a list of the input devices, if ``name`` is none of them.

    ``name`` is a number, a name or a part of one; empty for the default.
    """
    known = input_devices()
    if not known:
        raise SourceError(_NO_DEVICE.format("records"))
    sounddevice = _import_sounddevice()
    device: Any = int(name) if name.isdecimal() else name or None
    try:
        sounddevice.query_devices(device, "input")
    except (ValueError, sounddevice.PortAudioError) as error:
        several = "Multiple" in str(error)
        problem = "matches several devices" if several else "no such input device"
        names = ", ".join(f"device:{each.number} ({each.name})" for each in known)
        requested = f"device:{name}" if name else "device"
        raise SourceError(f"{requested}: {problem}; expected one of {names}") from error


class Player:
    """Plays chunks on the default output in its own thread; calls ``report`` with problems."""

    def __init__(self, report: Callable[[str], None]) -> None:
        """Raise SourceError if there is no output device."""
        self._sounddevice = _import_sounddevice()
        try:
            self._sounddevice.query_devices(None, "output")
        except (ValueError, self._sounddevice.PortAudioError) as error:
            raise SourceError("--play: " + _NO_DEVICE.format("plays")) from error
        self._report = report
        self._waiting: queue.Queue[AudioChunk] = queue.Queue(_MAX_WAITING_CHUNKS)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="player", daemon=True)
        self._thread.start()

    def play(self, chunk: AudioChunk) -> None:
        """Queue a chunk; drop it if the device does not keep up."""
        if self._closing.is_set():
            return
        try:
            self._waiting.put_nowait(chunk)
        except queue.Full:
            self._report("--play: the output device does not keep up; some audio was dropped")

    def close(self) -> None:
        """Stop playing."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        stream, rate = None, 0
        try:
            while not self._closing.is_set():
                try:
                    chunk = self._waiting.get(timeout=_LEAD_S)
                except queue.Empty:
                    continue
                if stream is None or rate != chunk.sample_rate:
                    if stream is not None:
                        stream.close()
                    rate = chunk.sample_rate
                    stream = self._open_stream(rate)
                stream.write(np.ascontiguousarray(chunk.samples).reshape(-1, 1))
        except BaseException as error:
            self._closing.set()
            self._report(f"--play: the output device fails: {error}; the run continues without it")
        finally:
            if stream is not None:
                stream.close()

    def _open_stream(self, rate: int) -> Any:
        stream = self._sounddevice.OutputStream(
            channels=1, samplerate=rate, dtype="float32", latency="high"
        )
        stream.start()
        stream.write(np.zeros((round(_LEAD_S * rate), 1), np.float32))
        return stream


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio is missing
        raise SourceError(
            f"audio devices need the package sounddevice and PortAudio ({error}); install them "
            "with: pip install sounddevice, apt install libportaudio2"
        ) from error
    return sounddevice
