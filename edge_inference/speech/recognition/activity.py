"""Voice activity detection (VAD) with the Silero model: segments of speech in an audio stream.

The model returns a speech probability every 32 ms. Speech starts when it reaches
``start_probability`` and ends when it has stayed below ``end_probability`` for the hangover. The
hangover is most of the delay between the end of a command and its recognition.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.audio import SAMPLE_RATE, AudioChunk, SpeechSegment
from edge_inference.core.settings import setting
from edge_inference.speech.audio.chunks import ChunkCounts, ChunkSettings, Rechunker, Window
from edge_inference.speech.model_runner import ModelRunner

WINDOW = 512
WINDOW_MS = WINDOW * 1000 / SAMPLE_RATE
_WINDOW_NS = WINDOW * 1_000_000_000 // SAMPLE_RATE
_CONTEXT = 64
#: A pause has this many windows without speech. A partial segment follows it, so that "stop" does
#: not wait for the end of the hangover.
_PAUSE_WINDOWS = 2
_STATE = (2, 1, 128)


@dataclass(frozen=True)
class ActivitySettings:
    """Parameters of speech detection and of the published segments."""

    start_probability: float = setting(
        0.5, "speech starts at this probability", minimum=0.01, maximum=1.0
    )
    end_probability: float = setting(
        0.35, "speech ends below this probability", minimum=0.0, maximum=1.0
    )
    pre_roll_ms: float = setting(
        300.0,
        "audio before the start of speech that a segment includes",
        unit="ms",
        minimum=0.0,
        maximum=2000.0,
    )
    hangover_ms: float = setting(
        200.0,
        "silence after which speech ends, rounded to a multiple of 32 ms",
        unit="ms",
        minimum=32.0,
        maximum=3000.0,
    )
    min_speech_ms: float = setting(
        64.0, "shorter speech is noise and is dropped", unit="ms", minimum=0.0, maximum=1000.0
    )
    max_speech_s: float = setting(10.0, "longer speech is cut", unit="s", minimum=1.0, maximum=30.0)
    partial_period_ms: float = setting(
        300.0,
        "period of partial segments during speech, and one more at a pause; 0 for none",
        unit="ms",
        minimum=0.0,
        maximum=5000.0,
    )

    input_timeout_s: float = setting(
        1.0,
        "speech ends when no audio arrives for this long",
        unit="s",
        minimum=0.2,
        maximum=10.0,
    )

    def check(self) -> str | None:
        """Return the contradiction between settings, or None."""
        if self.end_probability > self.start_probability:
            return (
                f"end_probability: {self.end_probability:g} is above start_probability "
                f"{self.start_probability:g}; speech would end when it starts"
            )
        return None


class ActivityDetector:
    """Finds speech in one audio stream.

    ``model`` is Silero VAD (16 kHz). ``settings`` may be replaced between two calls.
    """

    def __init__(
        self,
        model: ModelRunner,
        settings: ActivitySettings | None = None,
        chunks: ChunkSettings | None = None,
    ) -> None:
        self.settings = settings or ActivitySettings()
        #: Speech probability of the last window, 0 to 1; None before the first window.
        self.probability: float | None = None
        self._model = model
        self._frame_id = ""
        #: Number of utterances that a gap has truncated.
        self.truncated_segments = 0
        self._rechunker = Rechunker(WINDOW, chunks)
        self._reset_model()

    @property
    def is_speech(self) -> bool:
        """Whether speech is in progress, including the hangover."""
        return bool(self._windows)

    @property
    def counts(self) -> ChunkCounts:
        """Counts of defects of the audio stream."""
        return self._rechunker.counts

    def reset(self) -> None:
        """Discard the stream and the current utterance; for a source that restarts."""
        self._rechunker.reset()
        self._reset_model()

    def feed(self, chunk: AudioChunk) -> list[SpeechSegment]:
        """Return the segments that a chunk completes, including partial segments.

        After a long gap the model is reset. Speech before the gap is final if silence had begun.
        Otherwise it is truncated: it is counted in ``truncated_segments`` and never final, because
        half of a command is another command. Raises InputError for an invalid chunk.
        """
        segments = []
        self._frame_id = chunk.frame_id
        for window in self._rechunker.feed(chunk):
            if window.follows_gap:
                segments += self._end_at_gap(chunk.frame_id)
                self._reset_model()
            segments += self._add_window(window, chunk.frame_id)
        return segments

    def end_on_timeout(self, without_audio_s: float) -> list[SpeechSegment]:
        """End the current utterance if no audio has arrived for ``input_timeout_s``; return it.

        The stream may continue: late audio is appended to it.
        """
        if without_audio_s < self.settings.input_timeout_s:
            return []
        return self._end_segment(self._frame_id)

    def flush(self, frame_id: str = "") -> list[SpeechSegment]:
        """End the stream: return the current utterance and reset."""
        segments = self._end_segment(frame_id)
        self.reset()
        return segments

    def _reset_model(self) -> None:
        self.probability = None
        self._state: NDArray[np.float32] = np.zeros(_STATE, np.float32)
        self._context: NDArray[np.float32] = np.zeros(_CONTEXT, np.float32)
        self._pre_roll: deque[Window] = deque()
        self._reset_segment()

    def _reset_segment(self) -> None:
        self._windows: list[Window] = []
        self._end_of_speech = 0  # index in _windows after the last window with speech
        self._speech_windows = 0
        self._since_partial = 0.0

    def _add_window(self, window: Window, frame_id: str) -> list[SpeechSegment]:
        self.probability = self._run_model(window.samples)
        if not self._windows:
            self._wait_for_speech(window)
            return []
        self._windows.append(window)
        self._since_partial += WINDOW_MS
        if self.probability >= self.settings.end_probability:
            self._end_of_speech = len(self._windows)
            self._speech_windows += 1
        silence = len(self._windows) - self._end_of_speech
        duration_s = len(self._windows) * WINDOW_MS / 1000
        if silence >= self._hangover() or duration_s >= self.settings.max_speech_s:
            return self._end_segment(frame_id)
        return self._make_partial(frame_id)

    def _hangover(self) -> int:
        """Return the hangover as a number of windows, rounded."""
        return max(1, round(self.settings.hangover_ms / WINDOW_MS))

    def _wait_for_speech(self, window: Window) -> None:
        """Keep the pre-roll until speech starts."""
        self._pre_roll.append(window)
        assert self.probability is not None
        if self.probability >= self.settings.start_probability:
            self._windows = list(self._pre_roll)
            self._pre_roll.clear()
            self._end_of_speech = len(self._windows)
            self._speech_windows = 1
            return
        while len(self._pre_roll) * WINDOW_MS > self.settings.pre_roll_ms:
            self._pre_roll.popleft()

    def _end_at_gap(self, frame_id: str) -> list[SpeechSegment]:
        silence = len(self._windows) - self._end_of_speech
        if not self._windows or self._is_noise() or 2 * silence >= self._hangover():
            return self._end_segment(frame_id)
        self.truncated_segments += 1
        segment = self._make_segment(False, frame_id)
        self._end_segment(frame_id)
        return [segment]

    def _end_segment(self, frame_id: str) -> list[SpeechSegment]:
        if not self._windows:
            return []
        segments = [] if self._is_noise() else [self._make_segment(True, frame_id)]
        # The windows after this utterance may be the pre-roll of the next one.
        self._pre_roll.extend(self._windows[self._end_of_speech :])
        while len(self._pre_roll) * WINDOW_MS > self.settings.pre_roll_ms:
            self._pre_roll.popleft()
        self._reset_segment()
        return segments

    def _make_partial(self, frame_id: str) -> list[SpeechSegment]:
        period = self.settings.partial_period_ms
        silence = len(self._windows) - self._end_of_speech
        # A pause may be the end of speech. It gives one partial segment; further ones would delay
        # the final segment.
        is_due = silence == _PAUSE_WINDOWS if silence else self._since_partial >= period
        if not period or not is_due or self._is_noise():
            return []
        self._since_partial = 0.0
        return [self._make_segment(False, frame_id)]

    def _is_noise(self) -> bool:
        return self._speech_windows * WINDOW_MS < self.settings.min_speech_ms

    def _make_segment(self, is_final: bool, frame_id: str) -> SpeechSegment:
        samples = np.concatenate([window.samples for window in self._windows])
        samples.flags.writeable = False
        return SpeechSegment(
            samples=samples,
            start_ns=self._windows[0].stamp_ns,
            stamp_ns=self._windows[self._end_of_speech - 1].stamp_ns + _WINDOW_NS,
            is_final=is_final,
            frame_id=frame_id,
        )

    def _run_model(self, samples: NDArray[np.float32]) -> float:
        inputs: dict[str, NDArray[Any]] = {
            "input": np.concatenate((self._context, samples))[None],
            "state": self._state,
            "sr": np.array(SAMPLE_RATE, np.int64),
        }
        outputs = self._model.infer(inputs)
        self._state = outputs["stateN"]
        self._context = samples[-_CONTEXT:]
        return float(outputs["output"][0, 0])
