"""One declaration defines checks, messages and defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.settings import build, change, rules, setting, suggestion
from edge_inference.errors import ConfigError


@dataclass(frozen=True)
class Fan:
    speed: int = setting(description="speed", unit="rpm", minimum=0, maximum=5000)
    duty: float = setting(0.5, "duty cycle", minimum=0.0, maximum=1.0)
    mode: str = setting("auto", "mode", choices=("auto", "manual"))
    quiet: bool = setting(False, "quiet", read_only=True)
    steps: tuple[int, ...] = setting((1, 2), "steps", minimum=1)

    def check(self) -> str | None:
        return "quiet: needs a speed below 2000 rpm" if self.quiet and self.speed >= 2000 else None


def test_a_rule_describes_its_field() -> None:
    rule = rules(Fan)["speed"]
    assert (rule.type, rule.is_list, rule.unit, rule.required) == (int, False, "rpm", True)
    assert rule.expected() == "an integer from 0 to 5000 (rpm)"
    steps = rules(Fan)["steps"]
    assert (steps.is_list, steps.default) == (True, (1, 2))
    assert steps.expected() == "a list, each entry an integer of at least 1"
    assert rules(Fan)["quiet"].read_only
    assert list(rules(Fan)) == ["speed", "duty", "mode", "quiet", "steps"]


def test_a_field_of_another_type_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd:
        value: bytes = setting(b"", "bytes")

    Odd.__annotations__["value"] = bytes
    with pytest.raises(TypeError, match=r"Odd\.value"):
        rules(Odd)


def test_defaults_fill_in_and_an_integer_is_a_number() -> None:
    fan = build(Fan, {"speed": 100, "duty": 1, "steps": [3]})
    assert fan == Fan(100, 1.0, "auto", False, (3,))
    assert type(fan.duty) is float


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "speed: missing; expected an integer from 0 to 5000 (rpm)"),
        ({"speed": None}, "speed: expected an integer from 0 to 5000 (rpm), got None"),
        ({"speed": True}, "speed: expected an integer"),
        ({"speed": 1.0}, "speed: expected an integer"),
        ({"speed": "1"}, "got '1'"),
        ({"speed": -1}, "got -1"),
        ({"speed": 5001}, "got 5001"),
        ({"speed": 1, "duty": float("nan")}, "duty: expected a number from 0 to 1, got nan"),
        ({"speed": 1, "duty": float("inf")}, "got inf"),
        ({"speed": 1, "duty": False}, "duty: expected a number"),
        ({"speed": 1, "mode": "off"}, "mode: expected one of auto, manual, got 'off'"),
        ({"speed": 1, "quiet": 1}, "quiet: expected true or false, got 1"),
        ({"speed": 1, "steps": 3}, "steps: expected a list"),
        ({"speed": 1, "steps": "12"}, "steps: expected a list"),
        ({"speed": 1, "steps": [1, 0]}, "got 0"),
        ({"speed": 1, "sped": 1}, "unknown setting 'sped'; did you mean 'speed'?"),
        ({"speed": 1, "zzz": 1}, "known: duty, mode, quiet, speed, steps"),
        ({"speed": 3000, "quiet": True}, "quiet: needs a speed below 2000 rpm"),
    ],
)
def test_a_bad_value_is_refused_in_a_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        build(Fan, values)


@dataclass(frozen=True)
class Sign:
    text: str = setting("", "text")
    mode: str = setting("on", "mode", choices=("on", "off"))
    width: int = setting(1, "width")
    words: tuple[str, ...] = setting((), "words")
    places: tuple[float, ...] = setting((), "places")
    poem: str = setting("", "a long text", max_length=10_000)
    numbers: tuple[int, ...] = setting((), "a short list", max_length=2)


@pytest.mark.parametrize(
    ("name", "taken", "refused", "message"),
    [
        (
            "text",
            "x" * 4096,
            "x" * 4097,
            "text: expected a text of at most 4096 characters, got 4097",
        ),
        ("poem", "x" * 10_000, "x" * 10_001, "poem: expected a text of at most 10000 characters"),
        ("words", ["x" * 4096] * 1000, ["x"] * 1001, "words: expected at most 1000 entries, got"),
        ("words", [""], ["x", "x" * 4097], "words: expected a text of at most 4096 characters"),
        ("places", [0.5] * 1000, [0.5] * 1_000_000, "expected at most 1000 entries, got 1000000"),
        ("numbers", (1, 2), (1, 2, 3), "numbers: expected at most 2 entries, got 3"),
        ("mode", "off", "x" * (8 << 20), "mode: expected one of on, off, got 'xxx"),
        ("width", 2, "x" * (8 << 20), "width: expected an integer, got 'xxx"),
        ("width", 2, [1] * 1_000_000, "width: expected an integer, got [1, 1"),
        ("words", [], "x" * (8 << 20), "words: expected a list, each entry a text, got 'xxx"),
        ("places", [], ["x" * (8 << 20)], "places: expected a list, each entry a number, got 'xx"),
    ],
)
def test_a_value_that_is_too_long_is_refused_in_a_short_sentence(
    name: str, taken: Any, refused: Any, message: str
) -> None:
    build(Sign, {name: taken})
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        build(Sign, {name: refused})
    assert len(str(caught.value)) < 300


def test_the_name_of_an_unknown_setting_is_cut() -> None:
    with pytest.raises(ConfigError, match=r"^unknown setting 'x{199} …; known: ") as caught:
        build(Sign, {"x" * 10_000: 1})
    assert len(str(caught.value)) < 300


def test_a_change_applies_to_all_values_or_none() -> None:
    fan = Fan(100)
    assert change(fan, {"speed": 200, "mode": "manual"}) == Fan(200, mode="manual")
    with pytest.raises(ConfigError, match="duty"):
        change(fan, {"speed": 200, "duty": 2.0})
    with pytest.raises(ConfigError, match="quiet"):
        change(Fan(3000), {"quiet": True})
    assert fan == Fan(100)


@given(st.integers() | st.floats() | st.text() | st.booleans() | st.none())
def test_a_converted_value_is_in_range(value: object) -> None:
    try:
        fan = build(Fan, {"speed": value})
    except ConfigError:
        return
    assert type(fan.speed) is int
    assert 0 <= fan.speed <= 5000


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [("x", [], "; known: none"), ("x", ["long"], "; known: long"), ("lond", ["long"], "'long'?")],
)
def test_a_suggestion_lists_the_closest_name_or_all_names(
    name: str, known: list[str], said: str
) -> None:
    assert suggestion(name, known).endswith(said)


def test_a_suggestion_lists_a_limited_number_of_names() -> None:
    said = suggestion("zap", [f"known{n:04}" for n in range(1000)])
    assert said.startswith("; known: known0000, ") and said.endswith("known0019 and 980 more")


def test_a_beginning_of_several_names_lists_them() -> None:
    names = ["yolov5", "yolox", "yolov8", "nanodet"]
    assert suggestion("yolo", names) == "; did you mean one of yolov5, yolov8, yolox?"
    assert suggestion("yolov7", names) == "; did you mean 'yolov8'?"
    assert suggestion("nano", names) == "; did you mean 'nanodet'?"
    assert suggestion("", names) == "; known: nanodet, yolov5, yolov8, yolox"


def test_what_is_missing_is_explained() -> None:
    @dataclass(frozen=True)
    class File:
        sha256: str = setting(description="checksum of the file")

    with pytest.raises(ConfigError, match="sha256: missing; expected a text: checksum of the file"):
        build(File, {})
