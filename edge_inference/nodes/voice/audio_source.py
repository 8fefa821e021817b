"""Publishes audio from a file, a folder of files or a device."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from edge_inference.core.audio import AudioChunk
from edge_inference.core.runtime.worker import Worker, format_error
from edge_inference.core.settings import setting
from edge_inference.errors import SourceError
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.audio import AudioChunkAdapter
from edge_inference.nodes.voice.audio_reader import AudioReader, DeviceMonitor, RealTimePacer
from edge_inference.speech.audio.audio_input import AudioBlock
from edge_inference.speech.audio.sample_clock import SampleClock
from edge_inference.speech.audio.sources import is_device, open_audio_input

_RETRY_S = 1.0


@dataclass(frozen=True)
class AudioSourceSettings:
    """Parameters of the audio source."""

    source: str = setting(
        "device",
        "audio file, folder of audio files, device (the default input) or device:<name or number>",
    )
    pause_s: float = setting(
        1.0,
        "silence after each file, so that the end of the speech is detected",
        unit="s",
        minimum=0.0,
        maximum=600.0,
    )
    loop: bool = setting(False, "true starts again at the end of the source")
    frame_id: str = setting("microphone", "frame_id in the header of every chunk")


class AudioSource(Component):
    """Reads audio in a thread of its own, files in real time.

    A device that disappears is opened again every second. The stamp of a chunk is the moment of
    its first sample; the chunk is published at the moment of its last one. A change of ``source``
    takes effect at once.
    """

    default_name = "audio_source"
    default_namespace = "ai"
    settings_class = AudioSourceSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        #: Set when the last chunk has been published.
        self.finished = threading.Event()
        self._worker: Worker | None = None
        self._reader = AudioReader(self._source, self.health)
        # Held while the end of the source is decided, so that a change of it is not missed.
        self._end_lock = threading.Lock()

    def accept(self, settings: AudioSourceSettings) -> None:
        """Refuse files that are not available; a device may appear later."""
        if settings.source != self.parameters.current.source and not is_device(settings.source):
            open_audio_input(settings.source).close()

    def on_change(self, settings: AudioSourceSettings) -> None:
        """Start again if the old source has ended."""
        with self._end_lock:
            is_over = self._worker is not None and self.finished.is_set()
        if is_over and self._reader.is_outdated:
            self.stop()
            self.start()

    def open(self) -> None:
        """Open the source, so that a wrong name fails now."""
        self._chunks = self.make_publisher("audio", AudioChunkAdapter())
        self._reader.open()

    def start(self) -> None:
        """Start reading."""
        self.finished.clear()
        self.health.set_fault("")
        self._sequence, self._is_failing = 0, False
        self._worker = self.make_worker(self._run)

    def stop(self) -> None:
        """Stop reading; the next activation starts from the beginning."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()
        self.close()

    def close(self) -> None:
        """Close the source."""
        self._reader.close()

    def _source(self) -> tuple[str, float]:
        settings = self.parameters.current
        return settings.source, settings.pause_s

    def _run(self, worker: Worker) -> None:
        try:
            self._publish_all(worker)
        except BaseException as error:
            if self._is_failing:  # the second time without a chunk in between
                self.health.set_fault(format_error(error))
                self.finished.set()
            self._is_failing = True
            if not self._reader.is_file:
                self._close_and_wait(worker)
            elif self.finished.is_set():
                worker.end()
            raise
        self.finished.set()

    def _publish_all(self, worker: Worker) -> None:
        clock, pacer, in_pass = SampleClock(), RealTimePacer(), 0
        monitor = DeviceMonitor(self.health, self.get_logger())
        while not worker.is_ending:
            if self._reader.close_if_outdated():
                self._sequence += 1  # so that subscribers see the gap
            try:
                audio_input, block = self._reader.read()
            except SourceError as error:
                if self._reader.is_file:
                    self.report_error(error, "source")  # and read the next file
                    continue
                monitor.add_error(error)
                self._close_and_wait(worker)
                continue
            if block is None:
                self.close()
                if self._is_over(in_pass):
                    return
                in_pass = 0
                continue
            if audio_input.is_live:
                monitor.add_block(block, audio_input.origin)
            else:
                pacer.wait(block, worker)
            if not worker.is_ending:
                self._publish(block, clock)
                in_pass += 1

    def _is_over(self, in_pass: int) -> bool:
        """Tell whether no block follows the last one."""
        with self._end_lock:
            if not self._reader.is_outdated and not (self.parameters.current.loop and in_pass):
                self.finished.set()
        return self.finished.is_set()

    def _publish(self, block: AudioBlock, clock: SampleClock) -> None:
        if block.follows_gap:
            self.health.count_dropped("overflow")
            self._sequence += 1  # so that subscribers see the gap
        stamp_ns = clock.stamp_ns(len(block.samples), block.sample_rate, self.now_ns())
        frame_id = self.parameters.current.frame_id
        self._chunks.publish(
            AudioChunk(block.samples, block.sample_rate, stamp_ns, self._sequence, frame_id)
        )
        self._sequence += 1
        self.health.count_processed()
        if self._is_failing:
            self._is_failing = False
            self.finished.clear()
            self.health.set_fault("")

    def _close_and_wait(self, worker: Worker) -> None:
        """Close a device that failed, and wait before it is opened again."""
        self._sequence += 1
        self.close()
        worker.wait(_RETRY_S)
