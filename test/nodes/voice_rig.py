"""The voice pipeline in a rig, and speech for it that a busy machine hears alike."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_inference.composition.bus import Publisher
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.core.audio import AudioChunk
from edge_inference.errors import ModelError
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.audio import AudioChunkAdapter
from edge_inference.nodes.voice.parameter_files import load_speech_model
from rig import Rig, wait_for

ROOT = Path(__file__).parents[2]
# A person who says "go forward ten meters".
PERSON = ROOT / "models/moonshine_tiny/golden" / "go_forward_ten_meters.wav"
WORDS = "go forward ten meters"
RATE = 16_000
_PIECE = RATE // 10
# A busy machine's pauses are no end of the sound, and what it has seen is soon some seconds old.
PATIENCE = {"voice_activity": "input_timeout_s:=10.0", "scene_reporter": "max_age_s:=600.0"}


def models_or_skip() -> None:
    for name, task in (("silero_vad", "activity"), ("moonshine_tiny", "recognition")):
        try:
            load_speech_model(name, "", task).verify_files()
        except ModelError as error:
            pytest.skip(str(error))


def load_pipeline_in(
    rig: Rig, name: str, arguments: dict[str, str], *given: str, of: str = ""
) -> dict[str, Any]:
    """Load a pipeline's components in their order; ``of`` them one gets further ROS arguments."""
    loaded = {}
    for each in load_pipeline(name).components(arguments):
        more = [*each.node_arguments(), *(given if each.name == of else ())]
        patience = PATIENCE.get(each.name)
        more += ["--ros-args", "-p", patience] if patience else []
        component = rig.call(
            lambda each=each, more=more: rig.container.load(each.plugin, more, True)
        )
        assert not component.failure, component.node.health.status(0).message
        assert each.name not in loaded
        loaded[each.name] = component.node
    return loaded


def samples_of(file: Path) -> NDArray[np.float32]:
    """Read a recording of 16 kHz and one channel."""
    with wave.open(str(file)) as stream:
        assert (stream.getframerate(), stream.getnchannels()) == (RATE, 1)
        data = np.frombuffer(stream.readframes(stream.getnframes()), "<i2")
    return (data / np.float32(32768)).astype(np.float32)


def pieces(samples: NDArray[np.float32], start_ns: int) -> list[AudioChunk]:
    """Cut sound, and a second of silence behind it, into tenths of a second."""
    padded = np.concatenate((samples, np.zeros(RATE, np.float32)))
    return [
        AudioChunk(
            padded[first : first + _PIECE], RATE, start_ns + number * 100_000_000, number, "ear"
        )
        for number, first in enumerate(range(0, len(padded), _PIECE))
    ]


class Speaker:
    """Gives the pipeline sound as fast as it works on it, not as fast as it sounds.

    So nothing is lost for want of time, however busy the machine is.
    """

    def __init__(self, rig: Rig) -> None:
        self._node = node = rig.container.node
        self._sound = rig.call(lambda: Publisher(node, AudioChunkAdapter(), "/ai/audio", RELIABLE))
        self._segments, self._timings = rig.tap("/ai/speech"), rig.tap("/ai/stage_timing")
        self._sent = 0

    def say(self, samples: NDArray[np.float32]) -> int:
        """Send sound that has just been heard, and return in how many pieces."""
        length_ns = (len(samples) + RATE) * 1_000_000_000 // RATE
        chunks = pieces(samples, self._node.get_clock().now().nanoseconds - length_ns)
        for chunk in chunks:
            self._sound.publish(chunk)
            self._sent += 1
            wait_for(self._is_worked_on, "the sound worked on")
        return len(chunks)

    def _is_worked_on(self) -> bool:
        """Every chunk and every segment leaves one record, also one that was dropped."""
        done = [timing.stage for timing in list(self._timings)]
        if done.count("voice_activity") < self._sent:
            return False
        return done.count("speech_recognition") >= len(self._segments)
