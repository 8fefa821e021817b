"""Texts outside the grammar in, intents out, from a small language model that writes only plans."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.settings import setting
from edge_inference.core.voice import IntentArray
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.conversions.voice import IntentArrayAdapter
from edge_inference.nodes.stage import Stage, StageSettings
from edge_inference.nodes.voice.parameter_files import (
    GrammarSettings,
    ModelPathSettings,
    load_grammar,
    load_speech_model,
)
from edge_inference.speech.language.grammar import Grammar
from edge_inference.speech.language_model.json_tokenizer import load_json_tokenizer
from edge_inference.speech.language_model.model import LanguageModelSettings, PlanGenerator
from edge_inference.speech.language_model.prompt import read_prompt, select_examples


@dataclass(frozen=True)
class LanguageModelNodeSettings(
    LanguageModelSettings, GrammarSettings, ModelPathSettings, StageSettings
):
    """Parameters of the language model."""

    model: str = setting(
        "",
        "model folder of the language model: a name on the model path, or a path to it",
        read_only=True,
    )
    threads: int = setting(
        1, "number of threads of the model", minimum=1, maximum=64, read_only=True
    )


class LanguageModel(Stage[IntentArray]):
    """Finds the intents of texts that the intent parser does not understand.

    Without its model it still answers, and says what is missing, so that the speaker gets a reply.
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
        """Open the model and process its prompt; if the model is not available, report that."""
        super().open()
        settings = self.parameters.current
        grammar = load_grammar(settings.grammar)
        self._intents = self.make_publisher("intent", IntentArrayAdapter())
        try:
            self._open_model(settings)
            self._model = self._make_generator(grammar, settings)
            self._missing = ""
        except EdgeInferenceError as error:
            self.close()
            self._missing = f"the language model {settings.model!r} is not available: {error}"
            self.get_logger().warning(self._missing)
        self.health.set_warning(self._missing)
        self.health.note("model", "none" if self._missing else settings.model)

    def start(self) -> None:
        """Subscribe to intents that are unknown."""
        super().start()
        self.subscribe_to("intent_unknown", IntentArrayAdapter(), self.receive)

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
        """Refuse a grammar that is not readable; the old one stays."""
        if settings.grammar != self.parameters.current.grammar:
            load_grammar(settings.grammar)

    def apply_settings(
        self, old: LanguageModelNodeSettings, new: LanguageModelNodeSettings
    ) -> None:
        """Use other limits, or another grammar; for that the prompt is processed again."""
        if self._model is None:
            return
        if (new.grammar, new.inferred_slots) != (old.grammar, old.inferred_slots):
            self._model = self._make_generator(load_grammar(new.grammar), new)
        self._model.settings = new

    def process(self, item: IntentArray, settings: LanguageModelNodeSettings) -> IntentArray:
        """Find the intents of one text."""
        if self._model is None:
            missing = f"the language model {settings.model!r} is not available"
            return replace(item, problem=f"{item.problem}; {missing}")
        try:
            return self._model.parse(item)
        except BaseException as error:
            # The speaker gets an answer; /diagnostics shows the failure.
            self.report_exception(error)
            return replace(item, problem=f"{item.problem}; the language model failed")

    def emit(self, output: IntentArray) -> None:
        """Publish the intents."""
        self._intents.publish(output)

    def _open_model(self, settings: LanguageModelNodeSettings) -> None:
        model = load_speech_model(settings.model, settings.model_path, "language_model")
        self._prompt, self._examples = read_prompt(model)
        self._tokens = load_json_tokenizer(model.path("tokenizer"))
        self._backend = OrtBackend(model.path("decoder"), threads=settings.threads)
        self._backend.open()

    def _make_generator(
        self, grammar: Grammar, settings: LanguageModelNodeSettings
    ) -> PlanGenerator:
        assert self._backend is not None, "the model is open"
        examples = partial(select_examples, grammar=grammar, own=self._examples)
        return PlanGenerator(self._backend, self._tokens, grammar, self._prompt, examples, settings)
