"""Round trips of audio, speech, intents and plans, and invalid messages."""

from __future__ import annotations

import dataclasses
import math
from array import array

import numpy as np
import pytest
from edge_inference.msg import (
    ActionPlan,
    ActionStep,
    AudioChunk,
    Intent,
    IntentArray,
    IntentSlot,
    SpeechSegment,
    Transcript,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from edge_inference.core import audio, voice
from edge_inference.errors import InputError
from edge_inference.nodes.conversions.audio import AudioChunkAdapter, SpeechSegmentAdapter
from edge_inference.nodes.conversions.voice import (
    ActionPlanAdapter,
    IntentArrayAdapter,
    TranscriptAdapter,
)

STAMP = 1_700_000_000_000_000_123
SOUNDS = st_numpy.arrays(
    np.float32, st.integers(0, 600), elements=st.floats(-1, 1, width=32, allow_nan=False)
)


def through(adapter, item):
    """Serialise and deserialise with the generated code."""
    return adapter.from_bytes(adapter.to_bytes(item))


@given(SOUNDS, st.integers(1, 192_000), st.integers(0, 2**32 - 1))
def test_audio_round_trip(samples: np.ndarray, rate: int, sequence: int) -> None:
    chunk = audio.AudioChunk(samples, rate, STAMP, sequence, "microphone")
    back = through(AudioChunkAdapter(), chunk)
    assert np.array_equal(back.samples, samples) and back.samples.dtype == np.float32
    assert not back.samples.flags.writeable
    assert (back.sample_rate, back.stamp_ns) == (rate, STAMP)
    assert (back.sequence, back.frame_id) == (sequence, "microphone")


def test_a_sequence_number_wraps() -> None:
    chunk = audio.AudioChunk(np.zeros(1, np.float32), 16_000, 0, 2**32 + 5)
    assert through(AudioChunkAdapter(), chunk).sequence == 5


def test_a_segment_survives() -> None:
    samples = np.linspace(-1, 1, 700, dtype=np.float32)
    segment = audio.SpeechSegment(samples, STAMP, STAMP + 5, is_final=False, frame_id="microphone")
    back = through(SpeechSegmentAdapter(), segment)
    assert np.array_equal(back.samples, samples)
    assert (back.start_ns, back.stamp_ns, back.is_final, back.frame_id) == (
        STAMP,
        STAMP + 5,
        False,
        "microphone",
    )


def test_a_transcript_survives() -> None:
    item = voice.Transcript("geh vor", 0.5, "command", STAMP, False, "de", "why", "microphone")
    assert through(TranscriptAdapter(), item) == item


def test_an_empty_mode_means_free() -> None:
    assert TranscriptAdapter().from_message(Transcript(text="stop")).mode == "free"


def test_several_intents_survive() -> None:
    slots = {
        "distance": voice.IntentSlot("distance", -2.5, "m"),
        "count": voice.IntentSlot("count", 0.0),
        "place": voice.IntentSlot("place", "kitchen"),
    }
    intents = (voice.Intent("move", slots), voice.Intent("move"), voice.Intent("stop"))
    item = voice.IntentArray(intents, 0.25, "go", "fuzzy", STAMP, True, "but", "microphone")
    assert through(IntentArrayAdapter(), item) == item


def test_a_plan_survives_without_its_facts() -> None:
    steps = (
        voice.ActionStep("move", distance_m=-1.0, speed_mps=0.5),
        voice.ActionStep("turn", angle_rad=0.0, rate_radps=0.25),
        voice.ActionStep("go_to", target="kitchen"),
        voice.ActionStep("stop"),
        voice.ActionStep(
            "look", values=(voice.IntentSlot("times", 3.0), voice.IntentSlot("side", "left"))
        ),
    )
    item = voice.ActionPlan("move", steps, STAMP, facts={"a": "b"}, frame_id="microphone")
    assert through(ActionPlanAdapter(), item) == dataclasses.replace(item, facts={})
    refused = voice.ActionPlan("fly", (), STAMP, True, "I cannot fly.")
    assert through(ActionPlanAdapter(), refused) == refused


@pytest.mark.parametrize(
    ("adapter", "message", "words"),
    [
        (
            AudioChunkAdapter(),
            AudioChunk(samples=[0.0]),
            "sample_rate: expected samples per second",
        ),
        (AudioChunkAdapter(), AudioChunk(sample_rate=8000, samples=[math.nan]), "within -1..1"),
        (AudioChunkAdapter(), AudioChunk(sample_rate=8000, samples=[3e4]), "divide 16-bit"),
        (
            AudioChunkAdapter(),
            AudioChunk(sample_rate=2**32 - 1, samples=array("f", bytes(4 * 5_760_001))),
            "expected at most 5760000",
        ),
        (
            SpeechSegmentAdapter(),
            SpeechSegment(sample_rate=16000, samples=array("f", bytes(4 * 960_001))),
            "expected at most 960000, got 960001",
        ),
        (SpeechSegmentAdapter(), SpeechSegment(sample_rate=8000), "expected 16000, got 8000"),
        (SpeechSegmentAdapter(), SpeechSegment(sample_rate=16000, samples=[-2.0]), "-1..1"),
        (TranscriptAdapter(), Transcript(mode="x"), "mode: expected command or free, got 'x'"),
        (TranscriptAdapter(), Transcript(mode="free", confidence=1.5), "from 0 to 1, got 1.5"),
        (TranscriptAdapter(), Transcript(mode="free", confidence=math.nan), "got nan"),
        (IntentArrayAdapter(), IntentArray(confidence=-1.0), "IntentArray: confidence"),
        (IntentArrayAdapter(), IntentArray(intents=[Intent()]), "Intent: name: expected the name"),
        (
            IntentArrayAdapter(),
            IntentArray(
                intents=[Intent(name="go", slots=[IntentSlot(name="far", value=math.inf)])]
            ),
            "'far': expected a text or a number",
        ),
        (
            IntentArrayAdapter(),
            IntentArray(
                intents=[Intent(name="go", slots=[IntentSlot(name="far"), IntentSlot(name="far")])]
            ),
            "each slot once, got far, far",
        ),
        (
            IntentArrayAdapter(),
            IntentArray(source="oracle"),
            "source: expected one of grammar, fuzzy, embedding, language_model, unknown, "
            "got 'oracle'",
        ),
        (IntentArrayAdapter(), IntentArray(), "source: .* got ''"),
        (
            ActionPlanAdapter(),
            ActionPlan(
                steps=[
                    ActionStep(
                        action="look",
                        values=[IntentSlot(name="a", text="b"), IntentSlot(name="a", text="b")],
                    )
                ]
            ),
            "ActionStep look: expected each slot once",
        ),
        (ActionPlanAdapter(), ActionPlan(steps=[ActionStep(action="fly")]), "got 'fly'"),
        (
            ActionPlanAdapter(),
            ActionPlan(steps=[ActionStep(action="move", distance_m=math.inf)]),
            "move: distance_m: expected a number, or NaN",
        ),
        (
            ActionPlanAdapter(),
            ActionPlan(steps=[ActionStep(action="turn", rate_radps=-1.0)]),
            "turn: rate_radps: expected a magnitude",
        ),
        (
            ActionPlanAdapter(),
            ActionPlan(intent="go", is_refused=True, steps=[ActionStep(action="stop")]),
            "no steps in a refused plan, got 1",
        ),
    ],
)
def test_invalid_messages_are_refused(adapter, message, words: str) -> None:
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        adapter.from_message(message)


def test_a_segment_that_ends_before_it_starts() -> None:
    message = SpeechSegment(sample_rate=16_000)
    message.start.sec = 5
    with pytest.raises(InputError, match="after start"):
        SpeechSegmentAdapter().from_message(message)


def many(count: int) -> tuple[voice.IntentSlot, ...]:
    return tuple(voice.IntentSlot(f"value {number}", 1.0) for number in range(count))


@pytest.mark.parametrize(
    ("adapter", "make", "most"),
    [
        (
            ActionPlanAdapter(),
            lambda n: voice.ActionPlan("", (voice.ActionStep("move", values=many(n)),), STAMP),
            20,
        ),
        (
            ActionPlanAdapter(),
            lambda n: voice.ActionPlan("", (voice.ActionStep("move"),) * n, STAMP),
            100,
        ),
        (
            IntentArrayAdapter(),
            lambda n: voice.IntentArray((voice.Intent("stop"),) * n, 1.0, "", "grammar", STAMP),
            100,
        ),
        (
            IntentArrayAdapter(),
            lambda n: voice.IntentArray(
                (voice.Intent("move", {slot.name: slot for slot in many(n)}),),
                1.0,
                "",
                "grammar",
                STAMP,
            ),
            50,
        ),
    ],
    ids=["values", "steps", "intents", "slots"],
)
def test_a_longer_list_is_refused(adapter, make, most: int) -> None:
    item = make(most)
    assert through(adapter, item) == item
    with pytest.raises(InputError, match=f"expected at most {most} elements, got {most + 1}"):
        adapter.from_bytes(adapter.to_bytes(make(most + 1)))
