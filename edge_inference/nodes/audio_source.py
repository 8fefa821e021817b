"""Publishes sound from a file, a folder of files or a device."""

from __future__ import annotations

import threading
import time
import traceback
from dataclasses import dataclass
from typing import Any

from edge_inference.core.audio import AudioChunk
from edge_inference.core.settings import setting
from edge_inference.errors import SourceError
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.audio import AudioChunkAdapter
from edge_inference.speech.sample_clock import SampleClock
from edge_inference.speech.sound import Piece, Sound, open_sound

_RETRY_S = 1.0


@dataclass(frozen=True)
class AudioSourceSettings:
    """Parameters of the audio source."""

    source: str = setting(
        "device",
        "sound file, folder of sound files, device (the default input) or device:<name or number>",
        read_only=True,
    )
    pause_s: float = setting(
        1.0,
        "silence after each file, in which a speaker is heard to have ended",
        unit="s",
        minimum=0.0,
        maximum=600.0,
        read_only=True,
    )
    loop: bool = setting(False, "start over at the end")
    frame_id: str = setting("microphone", "frame_id in the header of every chunk")


class AudioSource(Component):
    """Reads sound in its own thread, files as slowly as they sound.

    A device that disappears is tried again every second. A chunk is stamped with
    the moment of its first sample, and comes when its last one would have been heard.
    """

    default_name = "audio_source"
    default_namespace = "ai"
    settings_class = AudioSourceSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        #: Set when the last chunk has been published.
        self.finished = threading.Event()
        self._stopping = threading.Event()
        self._reader: threading.Thread | None = None
        self._sound: Sound | None = None

    def open(self) -> None:
        """Open the source, so that a wrong name is told at once."""
        self._chunks = self.publish_on("audio", AudioChunkAdapter())
        self._sound = self._open_sound()
        self.health.note("source", self.parameters.current.source)

    def start(self) -> None:
        """Start reading."""
        self._stopping.clear()
        self.finished.clear()
        self._sequence = 0
        self._reader = threading.Thread(target=self._run, name=self.get_name(), daemon=True)
        self._reader.start()

    def stop(self) -> None:
        """Stop reading; a next activation starts over."""
        self._stopping.set()
        if self._reader is not None:
            self._reader.join()
            self._reader = None
        self.close()

    def close(self) -> None:
        """Give the source back."""
        if self._sound is not None:
            self._sound.close()
            self._sound = None

    def _open_sound(self) -> Sound:
        settings = self.parameters.current
        return open_sound(settings.source, settings.pause_s)

    def _run(self) -> None:
        try:
            self._publish_all()
        except Exception as error:
            # Nobody waits for this thread; what ends it must be on show.
            self.get_logger().error(traceback.format_exc())
            self.refuse(SourceError(f"{type(error).__name__}: {error}"), "source", lost=False)
        self.finished.set()

    def _publish_all(self) -> None:
        clock, due, in_pass = SampleClock(), time.monotonic(), 0
        while not self._stopping.is_set():
            try:
                sound, piece = self._read()
            except SourceError as error:
                self.refuse(error, "source")
                self._let_go_of_a_device()
                continue
            if piece is None:
                self.close()
                if not self.parameters.current.loop or not in_pass:
                    return
                in_pass = 0
                continue
            if not sound.is_live:
                due = self._wait_until_heard(piece, due)
            if not self._stopping.is_set():
                self._publish(piece, clock)
                in_pass += 1

    def _read(self) -> tuple[Sound, Piece | None]:
        if self._sound is None:
            self._sound = self._open_sound()
        return self._sound, self._sound.read()

    def _publish(self, piece: Piece, clock: SampleClock) -> None:
        if piece.lost:
            self.health.dropped("overflow")
            self._sequence += 1  # so that those who listen see the gap
        stamp_ns = clock.stamp_ns(len(piece.samples), piece.sample_rate, self.now_ns())
        frame_id = self.parameters.current.frame_id
        self._chunks.publish(
            AudioChunk(piece.samples, piece.sample_rate, stamp_ns, self._sequence, frame_id)
        )
        self._sequence += 1
        self.health.processed()

    def _let_go_of_a_device(self) -> None:
        """Let go of a device that failed, and wait before it is opened again."""
        if self._sound is None or self._sound.is_live:
            self.close()
            self._stopping.wait(_RETRY_S)

    def _wait_until_heard(self, piece: Piece, due: float) -> float:
        """Wait until the piece's last sample would have been heard; return that moment."""
        length_s = len(piece.samples) / piece.sample_rate
        # After a pause of the whole process the rest does not hurry.
        due = max(due + length_s, time.monotonic() - length_s)
        self._stopping.wait(max(0.0, due - time.monotonic()))
        return due
