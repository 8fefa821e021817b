"""English sentences about the scene, and the spoken names of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_inference.core.yaml_file import load_yaml
from edge_inference.speech.planning.scene import (
    SceneSettings,
    SceneView,
    SeenObjects,
    count_by_side,
)

_NUMBERS = (
    *("no", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
#: Longest spoken list.
_MAX_NAMED = 12
_SIDES = {"left": "on the left", "ahead": "ahead", "right": "on the right"}


@dataclass(frozen=True)
class SceneNames:
    """``by_label`` maps labels to spoken names; ``plurals`` are the irregular ones."""

    by_label: Mapping[str, str] = field(default_factory=dict)
    plurals: Mapping[str, str] = field(default_factory=dict)

    def spoken_name(self, label: str) -> str:
        """Return the spoken name of a label, or of an object in the grammar."""
        words = label.replace("_", " ")
        return self.by_label.get(words, words)

    def with_count(self, name: str, count: int) -> str:
        """Return a counted name: a cup, two people."""
        plural = self.plurals.get(name) or _plural(name)
        if count != 1:
            return f"{_number(count)} {plural}"
        if plural == name and name.endswith("s"):  # scissors
            return name
        return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def read_names(file: Path) -> SceneNames:
    """Read a file with the optional sections ``names`` and ``plurals``.

    Raises ConfigError with file, line and key.
    """
    top = load_yaml(file)
    top.require_known("names", "plurals")
    by_label: dict[str, str] = {}
    names = top.section("names") if "names" in top else {}
    for name, labels in names.items():
        if not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
            raise top.section("names").error(name, f"expected a list of labels, got {labels!r}")
        for label in labels:
            before = by_label.setdefault(label, name)
            if before != name:
                raise top.section("names").error(
                    name, f"the label {label!r} is called {before!r} already; keep one"
                )
    plurals = top.section("plurals") if "plurals" in top else {}
    for name, plural in plurals.items():
        if not isinstance(plural, str):
            raise top.section("plurals").error(name, f"expected a word, got {plural!r}")
    return SceneNames(by_label, dict(plurals))


def format_answer(
    view: SceneView, target: str, names: SceneNames, settings: SceneSettings, topic: str
) -> str:
    """Return the answer to a question about the scene, or about a ``target``.

    ``topic`` is the topic from which results should arrive.
    """
    if view.last_age_s is None:
        return f"I cannot see: no detections arrive on {topic}."
    if not view.image_count:
        return f"I have seen no image for {_seconds(view.last_age_s)}."
    name = names.spoken_name(target)
    if target and view.known_names is not None and name not in view.known_names:
        return f"I do not know what {names.with_count(name, 1)} looks like."
    if view.image_count < settings.min_images:
        images = f"{_number(view.image_count)} image{'s' if view.image_count > 1 else ''}"
        return f"I have seen only {images} in the last {_seconds(settings.max_age_s)}."
    if not target:
        if not view.seen:
            return "I see nothing that I know."
        named, rest = view.seen[:_MAX_NAMED], len(view.seen) - _MAX_NAMED
        words = [names.with_count(each.name, len(each)) for each in named]
        others = [f"{_number(rest)} other thing{'s' if rest > 1 else ''}"] if rest > 0 else []
        found = _join_names(words + others)
        return f"This looks like {found}." if view.is_classification else f"I see {found}."
    seen = next((each for each in view.seen if each.name == name), None)
    if view.is_classification:
        looks = "looks" if seen is not None else "does not look"
        return f"This {looks} like {names.with_count(name, 1)}."
    return f"I see no {name}." if seen is None else _where(seen, names)


def _where(seen: SeenObjects, names: SceneNames) -> str:
    what = names.with_count(seen.name, len(seen))
    sides = count_by_side(seen)
    if not sides:
        return f"I see {what}."
    if len(sides) == 1:
        side = _SIDES[next(iter(sides))]
        return f"{side.capitalize()} I see {what}."
    parts = [f"{_number(count)} {_SIDES[side]}" for side, count in sides.items()]
    return f"I see {what}: {_join_names(parts)}."


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def _join_names(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _seconds(seconds: float) -> str:
    whole = max(1, round(seconds))
    return "1 second" if whole == 1 else f"{whole} seconds"


def _plural(name: str) -> str:
    if name.endswith(("s", "x", "z", "ch", "sh")):
        return name + "es"
    if name.endswith("y") and name[-2:-1] not in ("a", "e", "o", "u"):
        return name[:-1] + "ies"
    return name + "s"
