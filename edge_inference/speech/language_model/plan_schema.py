"""The schema of plans: an acceptor for generated text, character by character.

A plan is a sequence of intents and slots of a grammar in a fixed form::

    move direction=forward distance=2 meters; turn direction=left
    none

Values come from the grammar, numbers are within its bounds, and a step has the slots of one of its
phrases. ``for_text`` restricts the values to those in a text. Answers to a question of the robot
are excluded: only a person answers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.voice import NO, YES, IntentSlot
from edge_inference.speech.language.grammar import Grammar, PhraseReading, Template
from edge_inference.speech.language.slot_kinds import SlotKind, WordKind
from edge_inference.speech.language_model.plan_atoms import (
    Atom,
    FixedTexts,
    NumberText,
    find_values,
)

#: The text for no plan.
NONE = "none"
_NEXT = "; "
_RESERVED = re.compile(r"[;=\n]|^\s|\s$|^$")


class _Form:
    """One form of a step: the fillers of its slots, in order.

    ``kinds`` are the kinds of the slots that are not fixed.
    """

    def __init__(self, intent: str, kinds: Mapping[str, SlotKind], fillers: Sequence[Atom]) -> None:
        self.intent = intent
        self.kinds = kinds
        self.fillers = tuple(fillers)
        atoms: list[Atom] = []
        for number, filler in enumerate(fillers):
            atoms += [FixedTexts.fixed(f"{'' if number else intent} {filler.slot}="), filler]
        self.atoms = tuple(atoms) or (FixedTexts.fixed(intent),)
        slots = "".join(f" {re.escape(each.slot)}=({each.pattern()})" for each in fillers)
        self.pattern = re.compile(re.escape(intent) + slots)

    def format(self, reading: PhraseReading) -> str | None:
        """Return the text of a step; None if it does not have this form."""
        if (self.intent, {each.slot for each in self.fillers}) != (
            reading.intent,
            set(reading.slots),
        ):
            return None
        said = [each.format(reading.slots[each.slot]) for each in self.fillers]
        if None in said:
            return None
        slots = (f" {each.slot}={text}" for each, text in zip(self.fillers, said, strict=True))
        return self.intent + "".join(slots)

    def parse(self, text: str) -> PhraseReading | None:
        """Return the meaning of a step, or None if it does not have this form."""
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        said = tuple(zip(self.fillers, found.groups(), strict=True))
        if not all(filler.is_complete(part) for filler, part in said):
            return None
        return PhraseReading(
            self.intent, {filler.slot: filler.parse(part) for filler, part in said}
        )


@dataclass(frozen=True)
class _Position:
    """A position in a plan: the step, its form, the element of the form, and its text so far.

    ``form`` is -1 after a step, where ``text`` is the part of the separator so far.
    """

    step: int
    form: int
    atom: int
    text: str


#: The possible positions in a plan after some text.
SchemaState = frozenset[_Position]


class PlanSchema:
    """The plans of up to ``max_steps`` steps with the intents of a grammar."""

    def __init__(
        self, grammar: Grammar, max_steps: int = 4, excluded: Collection[str] = (YES, NO)
    ) -> None:
        if max_steps < 1:
            raise ValueError(f"max_steps: expected at least 1, got {max_steps}")
        self._max_steps = max_steps
        self._set_forms(_step_forms(grammar, excluded))

    def for_text(self, words: Sequence[str], inferred: Collection[str]) -> PlanSchema:
        """Return the schema restricted to the values in a text.

        Slots named in ``inferred`` keep all their values.
        """
        restricted = PlanSchema.__new__(PlanSchema)
        restricted._max_steps = self._max_steps
        restricted._set_forms(
            tuple(
                found
                for form in self._step_forms
                if (found := _restrict_form(form, words, inferred))
            )
        )
        return restricted

    def _set_forms(self, forms: tuple[_Form, ...]) -> None:
        self._step_forms = forms
        self._none = len(self._step_forms)
        self._atoms = [form.atoms for form in self._step_forms] + [(FixedTexts.fixed(NONE),)]
        self.start: SchemaState = self._start_step(0)
        #: All characters of plans.
        self.alphabet = _alphabet(self._atoms)

    def advance(self, state: SchemaState, text: str) -> SchemaState | None:
        """Return the state after more text, or None if no plan continues with it."""
        for character in text:
            positions: set[_Position] = set()
            for position in state:
                self._advance_position(position, character, positions)
            if not positions:
                return None
            state = frozenset(positions)
        return state

    def is_complete(self, state: SchemaState) -> bool:
        """Tell whether the text so far is a complete plan."""
        return any(position.form == -1 and not position.text for position in state)

    def forced_text(self, state: SchemaState) -> str:
        """Return the text that must follow, as far as there is no alternative."""
        text = ""
        while not self.is_complete(state):
            options = [
                (character, advance)
                for character in self.alphabet
                if (advance := self.advance(state, character)) is not None
            ]
            if len(options) != 1:
                break
            text += options[0][0]
            state = options[0][1]
        return text

    def parse(self, text: str) -> tuple[PhraseReading, ...] | None:
        """Return the meaning of every step; empty for ``none``; None for an invalid plan."""
        if text == NONE:
            return ()
        steps = text.split(_NEXT)
        if len(steps) > self._max_steps:
            return None
        found = []
        for step in steps:
            reading = next(filter(None, (form.parse(step) for form in self._step_forms)), None)
            if reading is None:
                return None
            found.append(reading)
        return tuple(found)

    def format(self, readings: Sequence[PhraseReading]) -> str | None:
        """Return the text of a plan, ``none`` for no step; None if the schema has no such plan."""
        steps = [
            next(filter(None, (form.format(each) for form in self._step_forms)), None)
            for each in readings
        ]
        if len(steps) > self._max_steps or None in steps:
            return None
        return _NEXT.join(filter(None, steps)) or NONE

    def _start_step(self, step: int) -> SchemaState:
        forms = range(len(self._step_forms) + (step == 0))
        return frozenset(_Position(step, form, 0, "") for form in forms)

    def _advance_position(
        self, position: _Position, character: str, positions: set[_Position]
    ) -> None:
        text = position.text + character
        if position.form == -1:
            is_last = position.step + 1 >= self._max_steps
            if text == _NEXT:
                positions |= self._start_step(position.step + 1)
            elif _NEXT.startswith(text) and not is_last:
                positions.add(_Position(position.step, -1, 0, text))
            return
        atoms = self._atoms[position.form]
        atom = atoms[position.atom]
        if atom.is_complete(text):
            if position.atom + 1 < len(atoms):
                positions.add(_Position(position.step, position.form, position.atom + 1, ""))
            else:
                # Nothing follows "none": it counts as the last step.
                step = self._max_steps if position.form == self._none else position.step
                positions.add(_Position(step, -1, 0, ""))
        if atom.is_prefix(text):
            positions.add(_Position(position.step, position.form, position.atom, text))


def _step_forms(grammar: Grammar, excluded: Collection[str]) -> tuple[_Form, ...]:
    found: dict[tuple[object, ...], _Form] = {}
    for template in grammar.templates():
        intent = template.phrase.intent
        if intent in excluded or intent == NONE or _RESERVED.search(intent):
            continue
        form = _make_step_form(grammar, template)
        if form:
            found.setdefault((intent, form.pattern.pattern), form)
    return tuple(found.values())


def _make_step_form(grammar: Grammar, template: Template) -> _Form | None:
    """Return the form of an intent with the slots of one phrase; None if it has no form."""
    fillers: list[Atom] = [
        FixedTexts(slot.name, {str(slot.value): slot}) for slot in template.phrase.fixed.values()
    ]
    kinds = {
        placeholder.slot: grammar.kinds[placeholder.kind] for placeholder in template.placeholders
    }
    for slot, kind in kinds.items():
        if isinstance(kind, WordKind):
            values = {v: IntentSlot(slot, v) for v in kind.values if not _RESERVED.search(v)}
            fillers.append(FixedTexts(slot, values))
        else:
            fillers.append(NumberText(slot, kind))
    # Two phrases with the same slots in another order have the same meaning.
    fillers.sort(key=lambda atom: isinstance(atom, NumberText))
    return _make_form(template.phrase.intent, kinds, fillers)


def _restrict_form(form: _Form, words: Sequence[str], inferred: Collection[str]) -> _Form | None:
    fillers: list[Atom] = []
    for filler in form.fillers:
        if filler.slot not in inferred and filler.slot in form.kinds:
            said = find_values(filler.slot, form.kinds[filler.slot], words)
            values = {text: slot for text, slot in said.items() if not _RESERVED.search(text)}
            filler = FixedTexts(filler.slot, values)
        fillers.append(filler)
    return _make_form(form.intent, form.kinds, fillers)


def _make_form(intent: str, kinds: Mapping[str, SlotKind], fillers: Sequence[Atom]) -> _Form | None:
    return _Form(intent, kinds, fillers) if all(each.exists for each in fillers) else None


def _alphabet(forms: list[tuple[Atom, ...]]) -> tuple[str, ...]:
    found = set(_NEXT)
    for atoms in forms:
        for atom in atoms:
            found |= atom.characters()
    return tuple(sorted(found))
