"""The plans that a model may write, and nothing else: an acceptor, character by character.

A plan is the intents and slots of a grammar in a fixed form::

    move direction=forward distance=2 meters; turn direction=left
    none

Values are those of the grammar, numbers are within its bounds, and slots stand together as in one
of its phrases. ``for_text`` narrows that down to the values that a text says. The answers to a
question of the robot are left out: only a person gives them.
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

#: What is written where no plan is meant.
NONE = "none"
_NEXT = "; "
_RESERVED = re.compile(r"[;=\n]|^\s|\s$|^$")


class _Form:
    """One way to write a step: what fills its slots, in their order.

    ``kinds`` are those of the slots that are not fixed.
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

    def write(self, reading: PhraseReading) -> str | None:
        """Return the text of a step; None where it is not of this form."""
        if (self.intent, {each.slot for each in self.fillers}) != (
            reading.intent,
            set(reading.slots),
        ):
            return None
        said = [each.write(reading.slots[each.slot]) for each in self.fillers]
        if None in said:
            return None
        slots = (f" {each.slot}={text}" for each, text in zip(self.fillers, said, strict=True))
        return self.intent + "".join(slots)

    def read(self, text: str) -> PhraseReading | None:
        """Return what a step means, or None where it is not of this form."""
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        said = tuple(zip(self.fillers, found.groups(), strict=True))
        if not all(filler.is_whole(part) for filler, part in said):
            return None
        return PhraseReading(self.intent, {filler.slot: filler.read(part) for filler, part in said})


@dataclass(frozen=True)
class _Place:
    """How far a plan is written: which step, in which form, which piece, and what of it.

    ``form`` is -1 behind a step, where ``text`` is what there is of the separator.
    """

    step: int
    form: int
    atom: int
    text: str


#: Where a plan can be that has been written so far.
State = frozenset[_Place]


class PlanSchema:
    """The plans of up to ``max_steps`` steps with the intents of a grammar."""

    def __init__(
        self, grammar: Grammar, max_steps: int = 4, without: Collection[str] = (YES, NO)
    ) -> None:
        if max_steps < 1:
            raise ValueError(f"max_steps: expected at least 1, got {max_steps}")
        self._most_steps = max_steps
        self._take(_forms(grammar, without))

    def for_text(self, words: Sequence[str], inferred: Collection[str]) -> PlanSchema:
        """Return the schema of the plans whose values a text says.

        Slots named in ``inferred`` keep all their values.
        """
        narrowed = PlanSchema.__new__(PlanSchema)
        narrowed._most_steps = self._most_steps
        narrowed._take(
            tuple(found for form in self._forms if (found := _narrowed(form, words, inferred)))
        )
        return narrowed

    def _take(self, forms: tuple[_Form, ...]) -> None:
        self._forms = forms
        self._none = len(self._forms)
        self._atoms = [form.atoms for form in self._forms] + [(FixedTexts.fixed(NONE),)]
        self.start: State = self._begun(0)
        #: Every character that a plan can have.
        self.alphabet = _alphabet(self._atoms)

    def after(self, state: State, text: str) -> State | None:
        """Return the state after some more text, or None where no plan goes on so."""
        for character in text:
            places: set[_Place] = set()
            for place in state:
                self._follow(place, character, places)
            if not places:
                return None
            state = frozenset(places)
        return state

    def is_complete(self, state: State) -> bool:
        """Tell whether what has been written is a whole plan."""
        return any(place.form == -1 and not place.text for place in state)

    def forced(self, state: State) -> str:
        """Return what must follow, as far as there is only one way to go on."""
        text = ""
        while not self.is_complete(state):
            ways = [
                (character, after)
                for character in self.alphabet
                if (after := self.after(state, character)) is not None
            ]
            if len(ways) != 1:
                break
            text += ways[0][0]
            state = ways[0][1]
        return text

    def parse(self, text: str) -> tuple[PhraseReading, ...] | None:
        """Return what every step of a plan means, nothing for ``none``; None for no plan."""
        if text == NONE:
            return ()
        steps = text.split(_NEXT)
        if len(steps) > self._most_steps:
            return None
        found = []
        for step in steps:
            reading = next(filter(None, (form.read(step) for form in self._forms)), None)
            if reading is None:
                return None
            found.append(reading)
        return tuple(found)

    def write(self, readings: Sequence[PhraseReading]) -> str | None:
        """Return the text of a plan, ``none`` for no step; None where it cannot be written."""
        steps = [
            next(filter(None, (form.write(each) for form in self._forms)), None)
            for each in readings
        ]
        if len(steps) > self._most_steps or None in steps:
            return None
        return _NEXT.join(filter(None, steps)) or NONE

    def _begun(self, step: int) -> State:
        forms = range(len(self._forms) + (step == 0))
        return frozenset(_Place(step, form, 0, "") for form in forms)

    def _follow(self, place: _Place, character: str, places: set[_Place]) -> None:
        text = place.text + character
        if place.form == -1:
            is_last = place.step + 1 >= self._most_steps
            if text == _NEXT:
                places |= self._begun(place.step + 1)
            elif _NEXT.startswith(text) and not is_last:
                places.add(_Place(place.step, -1, 0, text))
            return
        atoms = self._atoms[place.form]
        atom = atoms[place.atom]
        if atom.is_whole(text):
            if place.atom + 1 < len(atoms):
                places.add(_Place(place.step, place.form, place.atom + 1, ""))
            else:
                # Nothing comes after none: it counts as the last step.
                step = self._most_steps if place.form == self._none else place.step
                places.add(_Place(step, -1, 0, ""))
        if atom.begins(text):
            places.add(_Place(place.step, place.form, place.atom, text))


def _forms(grammar: Grammar, without: Collection[str]) -> tuple[_Form, ...]:
    found: dict[tuple[object, ...], _Form] = {}
    for template in grammar.templates():
        intent = template.phrase.intent
        if intent in without or intent == NONE or _RESERVED.search(intent):
            continue
        form = _form(grammar, template)
        if form:
            found.setdefault((intent, form.pattern.pattern), form)
    return tuple(found.values())


def _form(grammar: Grammar, template: Template) -> _Form | None:
    """Return how an intent is written with the slots of one phrase; None where it cannot be."""
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
    # Two phrases with the same slots in another order mean the same.
    fillers.sort(key=lambda atom: isinstance(atom, NumberText))
    return _written(template.phrase.intent, kinds, fillers)


def _narrowed(form: _Form, words: Sequence[str], inferred: Collection[str]) -> _Form | None:
    fillers: list[Atom] = []
    for filler in form.fillers:
        if filler.slot not in inferred and filler.slot in form.kinds:
            said = find_values(filler.slot, form.kinds[filler.slot], words)
            values = {text: slot for text, slot in said.items() if not _RESERVED.search(text)}
            filler = FixedTexts(filler.slot, values)
        fillers.append(filler)
    return _written(form.intent, form.kinds, fillers)


def _written(intent: str, kinds: Mapping[str, SlotKind], fillers: Sequence[Atom]) -> _Form | None:
    return _Form(intent, kinds, fillers) if all(each.exists for each in fillers) else None


def _alphabet(forms: list[tuple[Atom, ...]]) -> tuple[str, ...]:
    found = set(_NEXT)
    for atoms in forms:
        for atom in atoms:
            found |= atom.characters()
    return tuple(sorted(found))
