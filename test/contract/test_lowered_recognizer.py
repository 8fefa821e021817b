"""The shipped recognizer, lowered to standard operators and split, gives the same transcripts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.audio import SAMPLE_RATE
from edge_inference.optimize.onnx_lowering.ort_file import read_ort_model
from edge_inference.optimize.onnx_lowering.standard_ops import lower_to_standard_ops
from edge_inference.speech.audio.resample import Resampler
from edge_inference.speech.recognition.command_mode import CommandMode
from edge_inference.speech.recognition.phrase_graph import PhraseGraph
from edge_inference.speech.recognition.recognizer import Recognizer
from edge_inference.speech.recognition.speech_model import SpeechModel
from edge_inference.speech.recognition.tokenizer import load_tokenizer
from shared import speech_graph_of
from shipped_speech import model_or_skip, open_recognizer, person, recording, words

GRAPHS = ("encoder", "decoder", "decoder_with_past")
PHRASES = [f"go {way} {far} meters" for way in ("forward", "back") for far in ("two", "ten")]
SPOKEN_S = 9


@pytest.fixture(scope="module")
def model() -> SpeechModel:
    return model_or_skip("moonshine_tiny")


@pytest.fixture(scope="module")
def graphs(model: SpeechModel) -> dict[str, Path]:
    return {role: speech_graph_of(model, role) for role in GRAPHS}


@pytest.fixture(scope="module")
def public(model: SpeechModel, graphs: dict[str, Path]) -> Iterator[Recognizer]:
    with ExitStack() as opened:
        encoder, decoder, with_past = (
            opened.enter_context(OrtBackend(graphs[role])) for role in GRAPHS
        )
        tokenizer = load_tokenizer(model.path("tokenizer"))
        yield Recognizer(encoder, decoder, tokenizer, decoder_with_past=with_past)


def beckett() -> np.ndarray:
    samples, rate = recording("beckett.wav")
    return Resampler(rate).feed(samples) if rate != SAMPLE_RATE else samples


@pytest.mark.parametrize("role", GRAPHS)
def test_every_operator_is_a_standard_operator(graphs: dict[str, Path], role: str) -> None:
    graph = onnx.load(graphs[role])
    onnx.checker.check_model(graph, full_check=True)
    assert [entry.domain for entry in graph.opset_import] == [""]
    assert graph.opset_import[0].version >= 17
    kinds = {node.op_type for node in graph.graph.node}
    assert kinds.isdisjoint({"If", "Loop", "NonZero", "DequantizeLinear", "MatMulInteger"})
    assert {entry.data_type for entry in graph.graph.initializer} <= {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.INT64,
        onnx.TensorProto.BOOL,
    }
    names = [entry.name for entry in graph.graph.input]
    assert not any("mask" in name or name == "use_cache_branch" for name in names)


def test_the_encoder_without_a_mask_computes_the_same(
    model: SpeechModel, graphs: dict[str, Path]
) -> None:
    """Only lowering the operators may change numbers: integers are no longer rounded."""
    rewritten = read_ort_model(model.path("encoder"))
    lower_to_standard_ops(rewritten)
    before = onnxruntime.InferenceSession(rewritten.SerializeToString())
    samples = person()[None]
    mask = np.ones(samples.shape, np.int64)
    (wanted,) = before.run(None, {"input_values": samples, "attention_mask": mask})
    with OrtBackend(graphs["encoder"]) as encoder:
        found = encoder.infer({"input_values": samples})["last_hidden_state"]
    assert found == pytest.approx(wanted, abs=1e-3)


def test_the_transcripts_of_people_are_equal(public: Recognizer) -> None:
    shipped = open_recognizer()
    for samples in (person(), beckett()[: SPOKEN_S * SAMPLE_RATE]):
        text = public.transcribe(samples).text
        assert len(words(text)) >= 4
        assert text == shipped.transcribe(samples).text


def test_command_mode_follows_several_hypotheses(public: Recognizer) -> None:
    mode = CommandMode(public, PhraseGraph(PHRASES, public.tokenizer))
    assert mode.recognize(person()).text == "go forward ten meters"
