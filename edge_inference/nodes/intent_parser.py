"""Words in, what is meant out."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.settings import setting
from edge_inference.core.voice import Intent, Transcript
from edge_inference.nodes.conversions.voice import IntentAdapter, TranscriptAdapter
from edge_inference.nodes.stage import Stage, StageSettings
from edge_inference.nodes.voice_files import find_grammar
from edge_inference.speech.understanding import Understanding, UnderstandingSettings


@dataclass(frozen=True)
class IntentParserSettings(UnderstandingSettings, StageSettings):
    """Parameters of the intent parser."""

    queue_depth: int = setting(
        10, "transcripts that wait for this stage at the most", minimum=1, maximum=100
    )
    grammar: str = setting("", "grammar file; empty for the shipped one", read_only=True)


class IntentParser(Stage[Transcript]):
    """Finds out what is meant by what was said, once it has been said to its end."""

    default_name = "intent_parser"
    default_namespace = "ai"
    settings_class = IntentParserSettings

    def open(self) -> None:
        """Read the grammar."""
        super().open()
        settings = self.parameters.current
        self._grammar = find_grammar(settings.grammar)
        self._understand(settings)
        self._intents = self.publish_on("intent", IntentAdapter())
        self.health.note("grammar", str(self._grammar.file))

    def start(self) -> None:
        """Listen to transcripts."""
        super().start()
        self.subscribe_to("transcript", TranscriptAdapter(), self._hear)

    def adopt(self, old: IntentParserSettings, new: IntentParserSettings) -> None:
        """Go on with other thresholds."""
        self._understand(new)

    def process(self, item: Transcript, settings: IntentParserSettings) -> Intent:
        """Understand one transcript."""
        return self._understanding.intent(item)

    def emit(self, output: Intent) -> None:
        """Publish what is meant."""
        self._intents.publish(output)

    def _hear(self, transcript: Transcript, by_reference: bool) -> None:
        # What has been said so far is for those who must be quick: for stop.
        if transcript.is_final:
            self.receive(transcript, by_reference)

    def _understand(self, settings: IntentParserSettings) -> None:
        self._understanding = Understanding(self._grammar, settings)
        for note in self._understanding.notes:
            self.get_logger().warning(note)
        self.health.note("left out", "; ".join(self._understanding.notes) or "nothing")
