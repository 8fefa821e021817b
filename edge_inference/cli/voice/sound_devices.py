"""The sound devices of this machine: what there is, whether one can be used, and playing."""

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

#: The player begins so much later than the sound, since chunks do not come evenly.
_LEAD_S = 0.15
#: More than about a second behind, the player leaves chunks out.
_WAITING = 32
_NONE = (
    "no device that {} on this machine: plug one in, or give a container or virtual machine "
    "access to the sound system (/dev/snd, or PulseAudio's socket); sound files need none"
)


@dataclass(frozen=True)
class InputDevice:
    """A device that records; ``is_default``: what ``--source device`` means."""

    number: int
    name: str
    channels: int
    is_default: bool = False

    def __str__(self) -> str:
        default = ", the default" if self.is_default else ""
        plural = "s" if self.channels != 1 else ""
        return f"device:{self.number}  {self.name} ({self.channels} channel{plural}{default})"


def input_devices() -> tuple[InputDevice, ...]:
    """Return the devices that record; SourceError where there is no package to ask."""
    sounddevice = _import_sounddevice()
    try:
        default = int(sounddevice.default.device[0])
        found = [
            InputDevice(number, str(each["name"]), int(each["max_input_channels"]))
            for number, each in enumerate(sounddevice.query_devices())
            if each["max_input_channels"] > 0
        ]
    except sounddevice.PortAudioError as error:
        raise SourceError(f"PortAudio does not tell what devices there are: {error}") from error
    return tuple(
        InputDevice(each.number, each.name, each.channels, each.number == default) for each in found
    )


def list_inputs(as_json: bool) -> list[str]:
    """Return a line for each device that records; raises SourceError where there is none."""
    known = input_devices()
    if not known:
        raise SourceError(_NONE.format("records"))
    return [json.dumps(asdict(each)) if as_json else str(each) for each in known]


def check_input(name: str) -> None:
    """Raise SourceError, with what there is, for a device that does not record.

    ``name`` is a number, a name or a part of one; empty for the default.
    """
    known = input_devices()
    if not known:
        raise SourceError(_NONE.format("records"))
    sounddevice = _import_sounddevice()
    device: Any = int(name) if name.isdecimal() else name or None
    try:
        sounddevice.query_devices(device, "input")
    except (ValueError, sounddevice.PortAudioError) as error:
        several = "Multiple" in str(error)
        what = "fits several devices" if several else "no such device records"
        names = ", ".join(f"device:{each.number} ({each.name})" for each in known)
        wanted = f"device:{name}" if name else "device"
        raise SourceError(f"{wanted}: {what}; there are: {names}") from error


class Player:
    """Plays chunks on the default output, in a thread of its own; ``tell`` hears what fails."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """Raise SourceError where nothing can be played."""
        self._sounddevice = _import_sounddevice()
        try:
            self._sounddevice.query_devices(None, "output")
        except (ValueError, self._sounddevice.PortAudioError) as error:
            raise SourceError("--play: " + _NONE.format("plays")) from error
        self._tell = tell
        self._waiting: queue.Queue[AudioChunk] = queue.Queue(_WAITING)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="player", daemon=True)
        self._thread.start()

    def play(self, chunk: AudioChunk) -> None:
        """Play a chunk behind those before; leaves it out where the device does not keep up."""
        if self._closing.is_set():
            return
        try:
            self._waiting.put_nowait(chunk)
        except queue.Full:
            self._tell("--play: the output device does not keep up; some sound was left out")

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
                    stream = self._opened(rate)
                stream.write(np.ascontiguousarray(chunk.samples).reshape(-1, 1))
        except BaseException as error:
            self._closing.set()
            self._tell(f"--play: the output device does not play: {error}; the run goes on")
        finally:
            if stream is not None:
                stream.close()

    def _opened(self, rate: int) -> Any:
        stream = self._sounddevice.OutputStream(
            channels=1, samplerate=rate, dtype="float32", latency="high"
        )
        stream.start()
        stream.write(np.zeros((round(_LEAD_S * rate), 1), np.float32))
        return stream


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package without PortAudio
        raise SourceError(
            f"sound devices need the package sounddevice and PortAudio ({error}); install them "
            "with: pip install sounddevice, apt install libportaudio2"
        ) from error
    return sounddevice
