"""Texts outside the grammar in, intents out: by a small language model that only writes plans."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.settings import setting
from edge_inference.core.voice import Intent
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.conversions.voice import IntentAdapter
from edge_inference.nodes.stage import Stage, StageSettings
from edge_inference.nodes.voice.speech_models import find_speech
from edge_inference.nodes.voice.voice_files import find_grammar
from edge_inference.speech.language.grammar import Grammar
from edge_inference.speech.language_model.json_tokenizer import load_json_tokenizer
from edge_inference.speech.language_model.model import LanguageModelSettings, PlanGenerator
from edge_inference.speech.language_model.prompt import read_prompt, select_examples


@dataclass(frozen=True)
class LanguageModelNodeSettings(LanguageModelSettings, StageSettings):
    """Parameters of the language model."""

    model: str = setting(
        "",
        "model folder of the language model: a name on the model path, or a path to it",
        read_only=True,
    )
    model_path: str = setting(
        "",
        "folders to look in before $EDGE_INFERENCE_MODELS and the shipped ones, colon-separated",
        read_only=True,
    )
    grammar: str = setting("", "grammar file; empty for the shipped one")
    threads: int = setting(
        1, "threads that the model computes with", minimum=1, maximum=64, read_only=True
    )


class LanguageModel(Stage[Intent]):
    """Finds out what is meant by what the intent parser did not understand.

    Without its model it still answers, and says what is missing: who spoke must not wait in vain.
    """

    default_name = "language_model"
    default_namespace = "ai"
    settings_class = LanguageModelNodeSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._backend: OrtBackend | None = None
        self._model: PlanGenerator | None = None
        self._missing = ""

    def open(self) -> None:
        """Open the model and let it read its prompt; where it cannot be had, say so."""
        super().open()
        settings = self.parameters.current
        grammar = find_grammar(settings.grammar)
        self._intents = self.make_publisher("intent", IntentAdapter())
        try:
            self._open_model(settings)
            self._model = self._made(grammar, settings)
            self._missing = ""
        except EdgeInferenceError as error:
            self.close()
            self._missing = f"the language model {settings.model!r} is not there: {error}"
            self.get_logger().warning(self._missing)
        self.health.set_warning(self._missing)
        self.health.note("model", "none" if self._missing else settings.model)

    def start(self) -> None:
        """Listen to what was not understood."""
        super().start()
        self.subscribe_to("intent_unknown", IntentAdapter(), self.receive)

    def close(self) -> None:
        """Free the model."""
        self._model = None
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def model_name(self) -> str:
        """Return the model in use."""
        return self.parameters.current.model if self._model else ""

    def accept(self, settings: LanguageModelNodeSettings) -> None:
        """Refuse a grammar that cannot be read; the old one stays."""
        if settings.grammar != self.parameters.current.grammar:
            find_grammar(settings.grammar)

    def apply_settings(
        self, old: LanguageModelNodeSettings, new: LanguageModelNodeSettings
    ) -> None:
        """Go on with other limits, or another grammar, for which the prompt is read again."""
        if self._model is None:
            return
        if (new.grammar, new.inferred_slots) != (old.grammar, old.inferred_slots):
            self._model = self._made(find_grammar(new.grammar), new)
        self._model.settings = new

    def process(self, item: Intent, settings: LanguageModelNodeSettings) -> Intent:
        """Understand one text."""
        if self._model is None:
            missing = f"the language model {settings.model!r} is not there"
            return replace(item, problem=f"{item.problem}; {missing}")
        try:
            return self._model.parse(item)
        except BaseException as error:
            # Who spoke gets an answer, whatever it is; the fault is on show.
            self.report_exception(error)
            return replace(item, problem=f"{item.problem}; the language model failed")

    def emit(self, output: Intent) -> None:
        """Publish what is meant."""
        self._intents.publish(output)

    def _open_model(self, settings: LanguageModelNodeSettings) -> None:
        model = find_speech(settings.model, settings.model_path, "language_model")
        self._prompt, self._examples = read_prompt(model)
        self._tokens = load_json_tokenizer(model.path("tokenizer"))
        self._backend = OrtBackend(model.path("decoder"), threads=settings.threads)
        self._backend.open()

    def _made(self, grammar: Grammar, settings: LanguageModelNodeSettings) -> PlanGenerator:
        assert self._backend is not None, "the model is open"
        examples = partial(select_examples, grammar=grammar, own=self._examples)
        return PlanGenerator(self._backend, self._tokens, grammar, self._prompt, examples, settings)
