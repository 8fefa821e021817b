"""What was said, by phrases of the grammar, by free writing, or by both in turn."""

from __future__ import annotations

from typing import NamedTuple

from edge_inference.core.audio import SpeechSegment
from edge_inference.speech.command_mode import CommandMode
from edge_inference.speech.recogniser import Recogniser

COMMAND, FREE, BOTH = MODES = ("command", "free", "both")


class Heard(NamedTuple):
    """A text and how sure it is (0 to 1); ``mode`` is that in which it was heard.

    An empty text has a ``problem``.
    """

    text: str
    confidence: float
    mode: str
    problem: str


def hear(
    segment: SpeechSegment,
    mode: str,
    recogniser: Recogniser,
    command_mode: CommandMode,
    *,
    is_asked: bool,
) -> Heard:
    """Return what was said in a segment.

    In mode ``both`` what is none of the phrases is written down, once it is over. ``is_asked``
    tells that an answer is waited for. Raises what :meth:`Recogniser.listen` raises.
    """
    if mode != FREE:
        command = command_mode.recognise(
            segment.samples, is_final=segment.is_final, is_asked=is_asked
        )
        if mode == COMMAND or command.text or not segment.is_final:
            return Heard(command.text, command.confidence, COMMAND, command.problem)
    text, confidence, _ = recogniser.free(segment.samples)
    return Heard(text, confidence, FREE, "" if text else "no words in what was said")
