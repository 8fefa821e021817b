"""Publishes sound from a file, a folder of files or a device."""

from __future__ import annotations

import threading
import time
from typing import Any

from edge_inference.core.audio import AudioChunk
from edge_inference.core.runtime.worker import Worker, format_error
from edge_inference.errors import SourceError
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.audio import AudioChunkAdapter
from edge_inference.nodes.voice.audio_source_settings import AudioSourceSettings
from edge_inference.nodes.voice.device_watch import DeviceWatch
from edge_inference.speech.audio.audio_input import AudioBlock, AudioInput
from edge_inference.speech.audio.sample_clock import SampleClock
from edge_inference.speech.audio.sources import is_device, open_audio_input

_RETRY_S = 1.0


class AudioSource(Component):
    """Reads sound in its own thread, files as slowly as they sound.

    A device that disappears is tried again every second. A chunk is stamped with
    the moment of its first sample, and comes when its last one would have been heard.
    Another ``source`` takes over at once.
    """

    default_name = "audio_source"
    default_namespace = "ai"
    settings_class = AudioSourceSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        #: Set when the last chunk has been published.
        self.finished = threading.Event()
        self._reader: Worker | None = None
        self._sound: AudioInput | None = None
        self._opened: tuple[str, float] | None = None
        # Between the end of the last file and the start of another source.
        self._ending = threading.Lock()

    def accept(self, settings: AudioSourceSettings) -> None:
        """Refuse a source that is not there; a device may come later."""
        if settings.source != self.parameters.current.source and not is_device(settings.source):
            open_audio_input(settings.source).close()

    def on_change(self, settings: AudioSourceSettings) -> None:
        """Begin anew if the old source has come to its end."""
        with self._ending:
            is_over = self._reader is not None and self.finished.is_set()
        if is_over and self._is_changed():
            self.stop()
            self.start()

    def open(self) -> None:
        """Open the source, so that a wrong name is told at once."""
        self._chunks = self.make_publisher("audio", AudioChunkAdapter())
        self._open_sound()

    def start(self) -> None:
        """Start reading."""
        self.finished.clear()
        self.health.set_fault("")
        self._sequence, self._is_failing = 0, False
        self._reader = self.make_worker(self._run)

    def stop(self) -> None:
        """Stop reading; a next activation starts over."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.end()
        self.close()

    def close(self) -> None:
        """Give the source back."""
        sound, self._sound = self._sound, None
        if sound is not None:
            sound.close()

    def _open_sound(self) -> AudioInput:
        settings = self.parameters.current
        self.close()
        self._opened = settings.source, settings.pause_s
        self._sound = open_audio_input(*self._opened)
        self.health.note("source", settings.source)
        return self._sound

    def _is_changed(self) -> bool:
        settings = self.parameters.current
        return self._opened != (settings.source, settings.pause_s)

    def _run(self, worker: Worker) -> None:
        try:
            self._publish_all(worker)
        except BaseException as error:
            if self._is_failing:  # again, without a chunk in between
                self.health.set_fault(format_error(error))
                self.finished.set()
            self._is_failing = True
            if self._sound is None or self._sound.is_live:
                self._let_go(worker)
            elif self.finished.is_set():
                worker.end()
            raise
        self.finished.set()

    def _publish_all(self, worker: Worker) -> None:
        clock, due, in_pass = SampleClock(), time.monotonic(), 0
        watch = DeviceWatch(self.health, self.get_logger())
        while not worker.is_ending:
            try:
                sound, piece = self._read()
            except SourceError as error:
                if self._sound is not None and not self._sound.is_live:
                    self.report_error(error, "source")  # and on with the next file
                    continue
                watch.lost(error)
                self._let_go(worker)
                continue
            if piece is None:
                self.close()
                if self._is_over(in_pass):
                    return
                in_pass = 0
                continue
            if sound.is_live:
                watch.heard(piece, sound.origin)
            else:
                due = self._wait_until_heard(piece, due, worker)
            if not worker.is_ending:
                self._publish(piece, clock)
                in_pass += 1

    def _read(self) -> tuple[AudioInput, AudioBlock | None]:
        sound = self._sound
        if self._is_changed():
            self._sequence += 1  # so that those who listen see that it does not go on
            sound = None
        sound = sound or self._open_sound()
        return sound, sound.read()

    def _is_over(self, in_pass: int) -> bool:
        """Tell whether nothing comes behind the last piece."""
        with self._ending:
            if not self._is_changed() and not (self.parameters.current.loop and in_pass):
                self.finished.set()
        return self.finished.is_set()

    def _publish(self, piece: AudioBlock, clock: SampleClock) -> None:
        if piece.follows_gap:
            self.health.count_dropped("overflow")
            self._sequence += 1  # so that those who listen see the gap
        stamp_ns = clock.stamp_ns(len(piece.samples), piece.sample_rate, self.now_ns())
        frame_id = self.parameters.current.frame_id
        self._chunks.publish(
            AudioChunk(piece.samples, piece.sample_rate, stamp_ns, self._sequence, frame_id)
        )
        self._sequence += 1
        self.health.count_processed()
        if self._is_failing:
            self._is_failing = False
            self.finished.clear()
            self.health.set_fault("")

    def _let_go(self, worker: Worker) -> None:
        """Let go of a device that failed, and wait before it is opened again."""
        self._sequence += 1
        self.close()
        worker.wait(_RETRY_S)

    def _wait_until_heard(self, piece: AudioBlock, due: float, worker: Worker) -> float:
        """Wait until the piece's last sample would have been heard; return that moment."""
        length_s = len(piece.samples) / piece.sample_rate
        # After a pause of the whole process the rest does not hurry.
        due = max(due + length_s, time.monotonic() - length_s)
        worker.wait(due - time.monotonic())
        return due
