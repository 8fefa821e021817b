"""Transcripts in, intents out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edge_inference.backends.base import Backend
from edge_inference.composition.reception import Reception
from edge_inference.core.settings import setting
from edge_inference.core.voice import IntentArray, Transcript
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.conversions.voice import IntentArrayAdapter, TranscriptAdapter
from edge_inference.nodes.stage import Stage, StageSettings
from edge_inference.nodes.voice.parameter_files import (
    GrammarSettings,
    ModelPathSettings,
    load_grammar,
    load_speech_model,
    open_backend,
)
from edge_inference.speech.language.affirmation import is_affirmation
from edge_inference.speech.language.template_matching import TextEmbedder
from edge_inference.speech.language.understanding import (
    UNKNOWN,
    Understanding,
    UnderstandingSettings,
)
from edge_inference.speech.language_model.json_tokenizer import load_json_tokenizer
from edge_inference.speech.language_model.sentence_embedding import SentenceEmbedding


@dataclass(frozen=True)
class IntentParserSettings(
    UnderstandingSettings, GrammarSettings, ModelPathSettings, StageSettings
):
    """Parameters of the intent parser."""

    queue_depth: int = setting(10, "maximum number of waiting transcripts", minimum=1, maximum=100)
    embedding_model: str = setting(
        "",
        "model folder of sentence embeddings, which find phrases of similar meaning; the planner "
        "asks whether such a phrase is meant; empty for none",
        read_only=True,
    )
    language_model: str = setting(
        "",
        "if set, the node language_model finds the intent of texts that match no phrase",
        read_only=True,
    )


class IntentParser(Stage[Transcript]):
    """Finds the intents of each final transcript."""

    default_name = "intent_parser"
    default_namespace = "ai"
    settings_class = IntentParserSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._encoder: Backend | None = None
        self._embed: TextEmbedder | None = None

    def open(self) -> None:
        """Read the grammar; open the model of the embeddings if one is named."""
        super().open()
        settings = self.parameters.current
        self._grammar = load_grammar(settings.grammar)
        self._missing = self._open_embedding(settings) if settings.embedding_model else ""
        self.health.set_warning(self._missing)
        self._make_understanding(settings)
        self._intents = self.make_publisher("intent", IntentArrayAdapter())
        self._unknown = self.make_publisher("intent_unknown", IntentArrayAdapter())
        self.health.note("grammar", str(self._grammar.file))

    def start(self) -> None:
        """Subscribe to transcripts."""
        super().start()
        self.subscribe_to("transcript", TranscriptAdapter(), self._on_transcript)

    def close(self) -> None:
        """Free the model of the embeddings."""
        self._embed = None
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None

    def accept(self, settings: IntentParserSettings) -> None:
        """Refuse a grammar that is not readable; the old one stays."""
        if settings.grammar != self.parameters.current.grammar:
            load_grammar(settings.grammar)

    def apply_settings(self, old: IntentParserSettings, new: IntentParserSettings) -> None:
        """Use another grammar or other thresholds."""
        if new.grammar != old.grammar:
            self._grammar = load_grammar(new.grammar)
            self.health.note("grammar", str(self._grammar.file))
        self._make_understanding(new)

    def process(self, item: Transcript, settings: IntentParserSettings) -> IntentArray:
        """Find the intents of one transcript."""
        return self._understanding.parse(item)

    def emit(self, output: IntentArray) -> None:
        """Publish the intents; for an unknown text exactly one of two nodes answers."""
        is_known = output.source != UNKNOWN or is_affirmation(output.text)  # the planner answers
        if is_known or not self.active_settings.language_model:
            self._intents.publish(output)
        elif self._unknown.has_subscribers():
            self._unknown.publish(output)
        else:
            problem = f"{output.problem}; the language model is not running"
            self._intents.publish(replace(output, problem=problem))

    def _on_transcript(self, transcript: Transcript, reception: Reception) -> None:
        # Partial transcripts are for nodes that must react quickly, to a stop.
        if transcript.is_final:
            self.receive(transcript, reception)

    def _open_embedding(self, settings: IntentParserSettings) -> str:
        """Open the model of the embeddings; return what is missing: the grammar works without."""
        try:
            model = load_speech_model(settings.embedding_model, settings.model_path, "embedding")
            tokens = load_json_tokenizer(model.path("tokenizer"))
            self._encoder = open_backend(model, "encoder")
            self._embed = SentenceEmbedding(self._encoder, tokens)
            self._embed(["stop"])
        except EdgeInferenceError as error:
            self.close()
            return f"the embedding model {settings.embedding_model!r} is not available: {error}"
        return ""

    def _make_understanding(self, settings: IntentParserSettings) -> None:
        self._understanding = Understanding(self._grammar, settings, self._embed)
        notes = [note for note in (*self._understanding.notes, self._missing) if note]
        for note in notes:
            self.get_logger().warning(note)
        self.health.note("left out", "; ".join(notes) or "nothing")
