"""A recognizer with a split decoder on the TensorRT backend: names, shapes and types fit."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from double_control import Double
from edge_inference.backends.ort import OrtBackend
from edge_inference.errors import ModelError
from edge_inference.speech.recognition.command_mode import CommandMode
from edge_inference.speech.recognition.phrase_graph import PhraseGraph
from edge_inference.speech.recognition.recognizer import Recognizer
from edge_inference.speech.recognition.speech_model import find_speech_model
from edge_inference.speech.recognition.tokenizer import load_tokenizer
from shared import speech_graph_of
from shipped_speech import person
from trt_on_double import make_backend

GRAPHS = ("encoder", "decoder", "decoder_with_past")
PHRASES = ["go forward ten meters", "go forward two meters", "go back ten meters"]


def test_the_transcripts_equal_those_on_the_cpu(tmp_path: Path, double: Double) -> None:
    try:
        model = find_speech_model("moonshine_tiny")
    except ModelError as error:
        pytest.skip(str(error))
    with ExitStack() as opened:
        engines = []
        for role in GRAPHS:
            file = Path(shutil.copy(speech_graph_of(model, role), tmp_path))
            with OrtBackend(file) as on_processor:
                profiles = {
                    spec.name: [
                        [axis or length for axis in spec.shape] for length in (1, 1, 200_000)
                    ]
                    for spec in on_processor.inputs
                }
            engine = make_backend(file, header={"profiles": profiles})
            engines.append(opened.enter_context(engine))
        encoder, decoder, with_past = engines
        tokenizer = load_tokenizer(model.path("tokenizer"))
        recognizer = Recognizer(encoder, decoder, tokenizer, decoder_with_past=with_past)
        assert recognizer.transcribe(person()).text.lower().startswith("go forward ten meters")
        mode = CommandMode(recognizer, PhraseGraph(PHRASES, tokenizer))
        assert mode.recognize(person()).text == PHRASES[0]
