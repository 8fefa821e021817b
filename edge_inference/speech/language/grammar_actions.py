"""Checks a grammar by the table of actions: each intent has an action that reads its slots."""

from __future__ import annotations

from collections.abc import Iterator

from edge_inference.core.settings import suggestion
from edge_inference.core.voice import NO, YES
from edge_inference.errors import ConfigError, PluginError
from edge_inference.speech.actions.action import Action
from edge_inference.speech.actions.slots import ActionSlot, NumberSlot
from edge_inference.speech.actions.table import ACTIONS
from edge_inference.speech.language.grammar import Grammar, Phrase
from edge_inference.speech.language.phrase import find_placeholders
from edge_inference.speech.language.slot_kinds import NumberKind, SlotKind


def check_actions(grammar: Grammar) -> None:
    """Raise ConfigError, with file and line, for a phrase that no action can carry out.

    Its intent must be an action or an answer (confirm, deny), and the action must have each of its
    slots, of the same kind, in the same unit and with the same words.
    """
    intents = [name for name, action in ACTIONS.rows().items() if action.plan]
    for phrase in grammar.definitions:
        problem = _phrase_problem(grammar, phrase, [*intents, YES, NO])
        if problem:
            raise ConfigError(
                f"{grammar.file}, line {phrase.line}, intents.{phrase.intent}: {problem}"
            )


def _phrase_problem(grammar: Grammar, phrase: Phrase, intents: list[str]) -> str:
    slots: tuple[ActionSlot, ...] = ()
    if phrase.intent not in (YES, NO):
        action = _find(phrase.intent)
        if isinstance(action, str):
            return action
        if action.plan is None:
            known = suggestion(phrase.intent, intents)
            return f"{phrase.intent} is an action without an intent{known}"
        slots = action.slots
    return next(_slot_problems(grammar, phrase, {slot.name: slot for slot in slots}), "")


def _find(intent: str) -> Action | str:
    """Return the action of an intent, or why there is none."""
    try:
        return ACTIONS.get(intent)
    except PluginError as error:
        return f"no action carries out this intent: {error}"


def _slot_problems(grammar: Grammar, phrase: Phrase, slots: dict[str, ActionSlot]) -> Iterator[str]:
    for placeholder in find_placeholders(phrase.elements):
        slot = slots.get(placeholder.slot)
        if slot is None:
            yield _unread_problem(phrase, placeholder.slot, slots)
        else:
            yield from _kind_problems(slot, grammar.kinds[placeholder.kind])
    for name, fixed in phrase.fixed.items():
        slot = slots.get(name)
        if slot is None:
            yield _unread_problem(phrase, name, slots)
        elif isinstance(slot, NumberSlot):
            yield f"the slot {name!r} is a number, so it must be a placeholder"
        elif slot.values and fixed.value not in slot.values:
            yield _word_problem(name, str(fixed.value), slot.values)


def _unread_problem(phrase: Phrase, name: str, slots: dict[str, ActionSlot]) -> str:
    return f"the action {phrase.intent} reads no slot {name!r}{suggestion(name, slots)}"


def _kind_problems(slot: ActionSlot, kind: SlotKind) -> Iterator[str]:
    if isinstance(slot, NumberSlot):
        if not isinstance(kind, NumberKind):
            yield f"the slot {slot.name!r} is a number, got the words of {kind.name!r}"
        elif (unit := kind.unit.si if kind.unit else "") != slot.unit:
            expected = f"in {slot.unit}" if slot.unit else "without a unit"
            yield (
                f"the slot {slot.name!r} is {expected}, got {kind.name!r} "
                f"{f'in {unit}' if unit else 'without a unit'}"
            )
    elif isinstance(kind, NumberKind):
        yield f"the slot {slot.name!r} is a word, got the number {kind.name!r}"
    elif slot.values:
        unknown = [value for value in kind.values if value not in slot.values]
        if unknown:
            yield _word_problem(slot.name, unknown[0], slot.values)


def _word_problem(name: str, value: str, known: tuple[str, ...]) -> str:
    return f"the slot {name!r} has the values {', '.join(known)}, got {value!r}"
