"""The log of a recipe: what each step measured, and why it was kept or rolled back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from edge_inference.core.disk import describe_write_error
from edge_inference.errors import CacheError

JSON_FILE, TEXT_FILE = "decisions.jsonl", "decisions.md"

STARTED = "started"
KEPT, ROLLED_BACK, NOT_FASTER = "kept", "rolled back", "not faster"
SKIPPED, FAILED, STOPPED, CHOSEN = "skipped", "failed", "stopped", "chosen"
DEFERRED = "judged with the next step"


@dataclass(frozen=True)
class RecipeDecision:
    """One line of the log.

    ``step`` counts from 1; it is 0 for what concerns the whole recipe. ``outcome`` is one of the
    constants of this module, ``reason`` a sentence, ``figures`` what was measured.
    ``was_stored`` tells that an earlier run had finished the step.
    """

    step: int
    title: str
    outcome: str
    reason: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    was_stored: bool = False

    def describe(self) -> str:
        """Return the decision as text."""
        stored = " (finished by an earlier run)" if self.was_stored else ""
        number = f"{self.step}. " if self.step else ""
        return f"{number}{self.title}: {self.outcome}{stored}. {self.reason}".strip()


class RecipeLog:
    """Writes the decisions of one run into a folder, each at once; a new run begins anew."""

    def __init__(self, folder: Path, title: str) -> None:
        """Make the files. Raises CacheError where they cannot be written."""
        self.decisions: list[RecipeDecision] = []
        self._folder = folder
        try:
            self._json: TextIO = (folder / JSON_FILE).open("w", encoding="utf-8")
            self._text: TextIO = (folder / TEXT_FILE).open("w", encoding="utf-8")
        except OSError as error:
            raise self._error(error) from error
        self._write(self._text, f"# {title}\n\n")

    def __enter__(self) -> RecipeLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in (self._json, self._text):
            stream.close()

    def start(self, step: int, title: str) -> None:
        """Write that a step begins; this is in the JSON lines only."""
        self._write_json(RecipeDecision(step, title, STARTED))

    def add(self, decision: RecipeDecision) -> None:
        """Write a decision. Raises CacheError for a full disk."""
        self.decisions.append(decision)
        self._write_json(decision)
        self._write(self._text, f"- {decision.describe()}\n")

    def _write_json(self, decision: RecipeDecision) -> None:
        self._write(self._json, json.dumps(asdict(decision), allow_nan=False) + "\n")

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> CacheError:
        return CacheError(
            f"{self._folder}: the log of decisions cannot be written "
            f"({describe_write_error(error)}); name another folder with --work"
        )
