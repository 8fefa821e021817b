"""When somebody speaks: Silero's voice activity detector, and what is made of its answers.

Every 32 ms the model gives a probability of speech. Speech starts where it reaches
``start_probability`` and ends once it has stayed below ``end_probability`` for the hangover, which
is most of the delay between the end of a command and its recognition.
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
#: So many windows without speech are a pause: "stop" need not wait for the end of the hangover.
_PAUSE = 2
_STATE = (2, 1, 128)


@dataclass(frozen=True)
class ActivitySettings:
    """When speech starts and ends, and what is handed on of it."""

    start_probability: float = setting(
        0.5, "speech starts at this probability", minimum=0.01, maximum=1.0
    )
    end_probability: float = setting(
        0.35, "speech is over below this probability", minimum=0.0, maximum=1.0
    )
    pre_roll_ms: float = setting(
        300.0, "sound before the start that is handed on", unit="ms", minimum=0.0, maximum=2000.0
    )
    hangover_ms: float = setting(
        200.0,
        "silence after which speech is over, to the nearest 32 ms",
        unit="ms",
        minimum=32.0,
        maximum=3000.0,
    )
    min_speech_ms: float = setting(
        64.0, "shorter speech is a noise and left out", unit="ms", minimum=0.0, maximum=1000.0
    )
    max_speech_s: float = setting(10.0, "longer speech is cut", unit="s", minimum=1.0, maximum=30.0)
    partial_period_ms: float = setting(
        300.0,
        "period of partial segments while speech goes on, and one at a pause; 0 for none",
        unit="ms",
        minimum=0.0,
        maximum=5000.0,
    )

    input_timeout_s: float = setting(
        1.0,
        "speech is over when no sound at all comes for so long",
        unit="s",
        minimum=0.2,
        maximum=10.0,
    )

    def check(self) -> str | None:
        """Say why the settings contradict each other."""
        if self.end_probability > self.start_probability:
            return (
                f"end_probability: {self.end_probability:g} is above start_probability "
                f"{self.start_probability:g}; speech would end as it starts"
            )
        return None


class ActivityDetector:
    """Finds speech in one stream of sound.

    ``model`` is Silero VAD (16 kHz). ``settings`` may be replaced between two calls.
    """

    def __init__(
        self,
        model: ModelRunner,
        settings: ActivitySettings | None = None,
        chunks: ChunkSettings | None = None,
    ) -> None:
        self.settings = settings or ActivitySettings()
        #: Of the last window, from 0 to 1; None before the first.
        self.probability: float | None = None
        self._model = model
        self._frame_id = ""
        #: How often a gap has cut somebody short.
        self.truncated_segments = 0
        self._rechunker = Rechunker(WINDOW, chunks)
        self._forget()

    @property
    def is_speech(self) -> bool:
        """Tell whether somebody is speaking, the hangover included."""
        return bool(self._spoken)

    @property
    def counts(self) -> ChunkCounts:
        """What was wrong with the sound so far."""
        return self._rechunker.counts

    def reset(self) -> None:
        """Forget the stream and what was being said; for a source that starts again."""
        self._rechunker.reset()
        self._forget()

    def feed(self, chunk: AudioChunk) -> list[SpeechSegment]:
        """Return the segments that a chunk completes, partial ones among them.

        Behind a long gap the model starts afresh. Speech before it has ended if silence had
        begun; else it is cut, counted in ``cut`` and never final: half of a command is another
        command. Raises InputError for a chunk that is no sound.
        """
        segments = []
        self._frame_id = chunk.frame_id
        for window in self._rechunker.feed(chunk):
            if window.follows_gap:
                segments += self._break_off(chunk.frame_id)
                self._forget()
            segments += self._take(window, chunk.frame_id)
        return segments

    def end_on_timeout(self, without_sound_s: float) -> list[SpeechSegment]:
        """Return what was being said, once no sound has come for too long.

        The stream may go on: sound that is only late is joined to what was before.
        """
        if without_sound_s < self.settings.input_timeout_s:
            return []
        return self._end(self._frame_id)

    def flush(self, frame_id: str = "") -> list[SpeechSegment]:
        """End the stream: return what was being said, and forget the rest."""
        segments = self._end(frame_id)
        self.reset()
        return segments

    def _forget(self) -> None:
        self.probability = None
        self._state: NDArray[np.float32] = np.zeros(_STATE, np.float32)
        self._context: NDArray[np.float32] = np.zeros(_CONTEXT, np.float32)
        self._before: deque[Window] = deque()
        self._listen_again()

    def _listen_again(self) -> None:
        self._spoken: list[Window] = []
        self._last_spoken = 0  # place in _spoken after the last window with speech
        self._with_speech = 0
        self._since_partial = 0.0

    def _take(self, window: Window, frame_id: str) -> list[SpeechSegment]:
        self.probability = self._run(window.samples)
        if not self._spoken:
            self._wait(window)
            return []
        self._spoken.append(window)
        self._since_partial += WINDOW_MS
        if self.probability >= self.settings.end_probability:
            self._last_spoken = len(self._spoken)
            self._with_speech += 1
        silence = len(self._spoken) - self._last_spoken
        spoken_s = len(self._spoken) * WINDOW_MS / 1000
        if silence >= self._hangover() or spoken_s >= self.settings.max_speech_s:
            return self._end(frame_id)
        return self._partial(frame_id)

    def _hangover(self) -> int:
        """Return the hangover in windows, to the nearest one."""
        return max(1, round(self.settings.hangover_ms / WINDOW_MS))

    def _wait(self, window: Window) -> None:
        """Keep the pre-roll until speech starts."""
        self._before.append(window)
        assert self.probability is not None
        if self.probability >= self.settings.start_probability:
            self._spoken = list(self._before)
            self._before.clear()
            self._last_spoken = len(self._spoken)
            self._with_speech = 1
            return
        while len(self._before) * WINDOW_MS > self.settings.pre_roll_ms:
            self._before.popleft()

    def _break_off(self, frame_id: str) -> list[SpeechSegment]:
        silence = len(self._spoken) - self._last_spoken
        if not self._spoken or self._is_noise() or 2 * silence >= self._hangover():
            return self._end(frame_id)
        self.truncated_segments += 1
        segment = self._segment(False, frame_id)
        self._end(frame_id)
        return [segment]

    def _end(self, frame_id: str) -> list[SpeechSegment]:
        if not self._spoken:
            return []
        segments = [] if self._is_noise() else [self._segment(True, frame_id)]
        # What followed the speech may come before the next.
        self._before.extend(self._spoken[self._last_spoken :])
        while len(self._before) * WINDOW_MS > self.settings.pre_roll_ms:
            self._before.popleft()
        self._listen_again()
        return segments

    def _partial(self, frame_id: str) -> list[SpeechSegment]:
        period = self.settings.partial_period_ms
        silence = len(self._spoken) - self._last_spoken
        # A pause may be the end: one look at it, and then nothing that would delay the final one.
        is_due = silence == _PAUSE if silence else self._since_partial >= period
        if not period or not is_due or self._is_noise():
            return []
        self._since_partial = 0.0
        return [self._segment(False, frame_id)]

    def _is_noise(self) -> bool:
        return self._with_speech * WINDOW_MS < self.settings.min_speech_ms

    def _segment(self, is_final: bool, frame_id: str) -> SpeechSegment:
        samples = np.concatenate([window.samples for window in self._spoken])
        samples.flags.writeable = False
        return SpeechSegment(
            samples=samples,
            start_ns=self._spoken[0].stamp_ns,
            stamp_ns=self._spoken[self._last_spoken - 1].stamp_ns + _WINDOW_NS,
            is_final=is_final,
            frame_id=frame_id,
        )

    def _run(self, samples: NDArray[np.float32]) -> float:
        inputs: dict[str, NDArray[Any]] = {
            "input": np.concatenate((self._context, samples))[None],
            "state": self._state,
            "sr": np.array(SAMPLE_RATE, np.int64),
        }
        outputs = self._model.infer(inputs)
        self._state = outputs["stateN"]
        self._context = samples[-_CONTEXT:]
        return float(outputs["output"][0, 0])
