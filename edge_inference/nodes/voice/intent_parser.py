"""Words in, what is meant out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edge_inference.backends.base import Backend
from edge_inference.core.settings import setting
from edge_inference.core.voice import Intent, Transcript
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.conversions.voice import IntentAdapter, TranscriptAdapter
from edge_inference.nodes.stage import Stage, StageSettings
from edge_inference.nodes.voice.speech_models import find_speech, open_role
from edge_inference.nodes.voice.voice_files import find_grammar
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
class IntentParserSettings(UnderstandingSettings, StageSettings):
    """Parameters of the intent parser."""

    queue_depth: int = setting(
        10, "transcripts that wait for this stage at the most", minimum=1, maximum=100
    )
    grammar: str = setting("", "grammar file; empty for the shipped one")
    embedding_model: str = setting(
        "",
        "model folder of sentence embeddings, by which what is near in meaning is asked about; "
        "empty for none",
        read_only=True,
    )
    model_path: str = setting(
        "",
        "folders to look in before $EDGE_INFERENCE_MODELS and the shipped ones, colon-separated",
        read_only=True,
    )
    language_model: str = setting(
        "", "set: what is not understood is left to the node language_model", read_only=True
    )


class IntentParser(Stage[Transcript]):
    """Finds out what is meant by what was said, once it has been said to its end."""

    default_name = "intent_parser"
    default_namespace = "ai"
    settings_class = IntentParserSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._encoder: Backend | None = None
        self._embed: TextEmbedder | None = None

    def open(self) -> None:
        """Read the grammar, and open the embeddings where some are named."""
        super().open()
        settings = self.parameters.current
        self._grammar = find_grammar(settings.grammar)
        self._missing = self._open_embedding(settings) if settings.embedding_model else ""
        self.health.set_warning(self._missing)
        self._understand(settings)
        self._intents = self.make_publisher("intent", IntentAdapter())
        self._unknown = self.make_publisher("intent_unknown", IntentAdapter())
        self.health.note("grammar", str(self._grammar.file))

    def start(self) -> None:
        """Listen to transcripts."""
        super().start()
        self.subscribe_to("transcript", TranscriptAdapter(), self._hear)

    def close(self) -> None:
        """Free the embeddings."""
        self._embed = None
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None

    def accept(self, settings: IntentParserSettings) -> None:
        """Refuse a grammar that cannot be read; the old one stays."""
        if settings.grammar != self.parameters.current.grammar:
            find_grammar(settings.grammar)

    def apply_settings(self, old: IntentParserSettings, new: IntentParserSettings) -> None:
        """Go on with another grammar or other thresholds."""
        if new.grammar != old.grammar:
            self._grammar = find_grammar(new.grammar)
            self.health.note("grammar", str(self._grammar.file))
        self._understand(new)

    def process(self, item: Transcript, settings: IntentParserSettings) -> Intent:
        """Understand one transcript."""
        return self._understanding.parse(item)

    def emit(self, output: Intent) -> None:
        """Publish what is meant; exactly one of two nodes answers what is unknown."""
        is_known = output.source != UNKNOWN or is_affirmation(output.text)  # to the planner
        if is_known or not self.active_settings.language_model:
            self._intents.publish(output)
        elif self._unknown.has_subscribers():
            self._unknown.publish(output)
        else:
            problem = f"{output.problem}; the language model is not running"
            self._intents.publish(replace(output, problem=problem))

    def _hear(self, transcript: Transcript, by_reference: bool) -> None:
        # What has been said so far is for those who must be quick: for stop.
        if transcript.is_final:
            self.receive(transcript, by_reference)

    def _open_embedding(self, settings: IntentParserSettings) -> str:
        """Open the embeddings; return what is missing. Without them the grammar still serves."""
        try:
            model = find_speech(settings.embedding_model, settings.model_path, "embedding")
            tokens = load_json_tokenizer(model.path("tokenizer"))
            self._encoder = open_role(model, "encoder")
            self._embed = SentenceEmbedding(self._encoder, tokens)
            self._embed(["stop"])
        except EdgeInferenceError as error:
            self.close()
            return f"the embedding model {settings.embedding_model!r} is not there: {error}"
        return ""

    def _understand(self, settings: IntentParserSettings) -> None:
        self._understanding = Understanding(self._grammar, settings, self._embed)
        notes = [note for note in (*self._understanding.notes, self._missing) if note]
        for note in notes:
            self.get_logger().warning(note)
        self.health.note("left out", "; ".join(notes) or "nothing")
