"""A fake tokenizer and a fake language model with scripted outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

END = "<end>"
#: A special token, the end token, pieces of plans as in a real tokenizer, and all characters.
PIECES = (
    "<start>",
    END,
    "none",
    "move",
    " direction",
    "=forward",
    "forward",
    " forward",
    " distance",
    "meters",
    " meters",
    "turn",
    " turn",
    "st",
    "stop",
    "; stop",
    "éö",
    *"abcdefghijklmnopqrstuvwxyz0123456789 .;=_-\n?",
)


class Spec(NamedTuple):
    name: str
    shape: tuple[int | None, ...]


class Pieces:
    """Splits a text into the longest pieces."""

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        found = [0] if add_special_tokens else []
        while text:
            piece = max((p for p in PIECES[2:] if text.startswith(p)), key=len)
            found.append(PIECES.index(piece))
            text = text[len(piece) :]
        return found

    def token_id(self, token: str) -> int | None:
        return PIECES.index(token) if token in PIECES else None

    def token_texts(self) -> list[str | None]:
        return [None, None, *PIECES[2:]]


class Decoder:
    """Scores tokens by those so far, which it stores in its key-value cache."""

    def __init__(self, answer: Callable[[str], NDArray[np.float32]]) -> None:
        self.inputs = (
            Spec("input_ids", (None, None)),
            Spec("attention_mask", (None, None)),
            Spec("position_ids", (None, None)),
            Spec("past_key_values.0.key", (None, 1, None, 1)),
            Spec("past_key_values.0.value", (None, 1, None, 1)),
        )
        self.runs = 0
        self._answer = answer

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        assert set(inputs) == {spec.name for spec in self.inputs}
        self.runs += 1
        ids, past = inputs["input_ids"], inputs["past_key_values.0.key"]
        seen = np.concatenate((past[0, 0, :, 0], ids[0]))
        assert inputs["attention_mask"].shape == (1, len(seen))
        assert inputs["position_ids"].tolist() == [list(range(past.shape[2], len(seen)))]
        text = "".join(PIECES[int(number)] for number in seen)
        present = seen[None, None, :, None].astype(np.float32)
        return {
            "logits": self._answer(text)[None, None],
            "present.0.key": present,
            "present.0.value": present,
        }


def saying(plan: str, sure: float = 20.0) -> Decoder:
    """Make a decoder that generates a plan after the last question mark."""

    def answer(text: str) -> NDArray[np.float32]:
        scores = np.zeros(len(PIECES), np.float32)
        said = text.rpartition("?")[2]
        rest = plan[len(said) :] if plan.startswith(said) else ""
        fitting = [p for p in PIECES[2:] if rest.startswith(p)]
        wanted = max(fitting, key=len) if fitting else END
        scores[PIECES.index(wanted)] = sure
        return scores

    return Decoder(answer)
