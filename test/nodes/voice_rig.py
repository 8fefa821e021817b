"""The voice pipeline in a rig, and a source of speech that does not depend on machine load."""

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
# A recording of a person who says "go forward ten meters".
PERSON = ROOT / "models/moonshine_tiny/golden" / "go_forward_ten_meters.wav"
WORDS = "go forward ten meters"
RATE = 16_000
_PIECE = RATE // 10
# On a busy machine audio may pause, and detections may be some seconds old.
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
    """Load the components of a pipeline; the one called ``of`` gets additional ROS arguments."""
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


def split_into_chunks(samples: NDArray[np.float32], start_ns: int) -> list[AudioChunk]:
    """Cut audio with a second of silence after it into chunks of 0.1 s."""
    padded = np.concatenate((samples, np.zeros(RATE, np.float32)))
    return [
        AudioChunk(
            padded[first : first + _PIECE],
            RATE,
            start_ns + number * 100_000_000,
            number,
            "microphone",
        )
        for number, first in enumerate(range(0, len(padded), _PIECE))
    ]


class Speaker:
    """Publishes audio as fast as the pipeline processes it, not in real time.

    So no chunk is lost on a busy machine.
    """

    def __init__(self, rig: Rig) -> None:
        self._node = node = rig.container.node
        self._sound = rig.call(lambda: Publisher(node, AudioChunkAdapter(), "/ai/audio", RELIABLE))
        self._segments, self._timings = rig.tap("/ai/speech"), rig.tap("/ai/stage_timing")
        self._sent = 0

    def say(self, samples: NDArray[np.float32]) -> int:
        """Publish audio that ends now; return the number of chunks."""
        length_ns = (len(samples) + RATE) * 1_000_000_000 // RATE
        chunks = split_into_chunks(samples, self._node.get_clock().now().nanoseconds - length_ns)
        for chunk in chunks:
            self._sound.publish(chunk)
            self._sent += 1
            wait_for(self._is_worked_on, "the sound worked on")
        return len(chunks)

    def _is_worked_on(self) -> bool:
        """Every chunk and every segment has one timing message, a dropped one too."""
        done = [timing.stage for timing in list(self._timings)]
        if done.count("voice_activity") < self._sent:
            return False
        return done.count("speech_recognition") >= len(self._segments)
