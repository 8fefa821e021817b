"""Errors in a YAML file are reported with file, line and key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_inference.core.settings import setting
from edge_inference.core.yaml_file import Section, load_yaml, to_yaml_line
from edge_inference.errors import ConfigError


@dataclass(frozen=True)
class Camera:
    width: int = setting(description="width", minimum=1, maximum=8192)
    rate: float = setting(30.0, "images a second", minimum=0.0)
    name: str = setting("front", "name")
    gains: tuple[float, ...] = setting((), "gains")

    def check(self) -> str | None:
        return "rate: too fast for that width" if self.width * self.rate > 100000 else None


def load(folder: Path, text: str | bytes) -> Section:
    file = folder / "some.yaml"
    if isinstance(text, str):
        text = text.encode()
    file.write_bytes(text)
    return load_yaml(file)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", "", "empty"),
        ("# only a comment\n", "", "empty"),
        ("- 1\n- 2\n", ", line 1", "expected a mapping"),
        ("just words", ", line 1", "expected a mapping"),
        ("a: 1\nb:\n\tc: 2\n", ", line 3, column 1", "not with tabs"),
        ("a: [1, 2", ", line 1, column 9", "expected ',' or ']'"),
        ("a: 1\nb: 2\na: 3\n", ", line 3, a", "duplicate key, on lines 1 and 3"),
        ("a:\n  b:\n    c: 1\n    c: 2\n", ", line 4, a.b.c", "duplicate key"),
        ("a:\n  - b: 1\n    b: 2\n", ", line 3, a[0].b", "duplicate key"),
        ("a: &x 1\nb: *x\n", ", line 2, column 4", "aliases are not supported"),
        ("1: 2\n", ", line 1", "expected a text as key, got '1'"),
        ("on: 2\n", ", line 1", "expected a text as key, got 'on'"),
        ("[a]: 2\n", ", line 1", "expected a text as key"),
        ("b: 1\na: 2024-13-45\n", ", line 2, a", "month must be in"),
        ("a: 1\n---\nb: 2\n", ", line 2", "single document"),
        ("a: 1\nb: \x01\n", ", line 2", "not allowed in YAML"),
        ("a: !!python/object:os.system 1\n", ", line 1", "could not determine a constructor"),
        (b"a: \xff\n", "", "not UTF-8"),
        ("a: " + "[" * 500, "", "nested too deep"),
        ("a: '" + "x" * (1 << 20) + "'", "", "expected at most"),
        ("a:1\nb: 2\n", ", line 2", "or the one above, put a colon and a space behind each key"),
        ("b: 2\na:1\n", ", line 3", "or the one above, put a colon and a space behind each key"),
        ("a: b: 2\n", ", line 1", "a text that contains a colon in quotes"),
    ],
)
def test_a_broken_file_is_a_config_error(
    tmp_path: Path, text: str | bytes, where: str, what: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(what)) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'some.yaml'}{where}")


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_an_unreadable_file_is_a_config_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path / name)


def test_values_are_plain_and_mappings_are_sections(tmp_path: Path) -> None:
    top = load(tmp_path, "a: 1e-3\nb:\n  c: [{d: x}, 2]\ne: yes\n")
    assert top["a"] == 0.001
    assert list(top) == ["a", "b", "e"]
    assert (top["b"].path, top["b"].line) == ("b", 3)
    assert top["b"]["c"][0].path == "b.c[0]"
    assert top.plain() == {"a": 0.001, "b": {"c": [{"d": "x"}, 2]}, "e": True}


def texts(**sizes: int) -> st.SearchStrategy[str]:
    """Texts that mean the same in YAML 1.1, which the writer uses: 1e3 is a number in 1.2."""
    return st.text(**sizes).filter(
        lambda text: not re.fullmatch(r"[-+]?[0-9]+[eE][-+]?[0-9]+", text)
    )


@given(
    st.dictionaries(
        texts(min_size=1, max_size=8),
        st.recursive(
            st.none() | st.booleans() | st.integers() | texts(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(texts(max_size=5), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_values_written_by_pyyaml_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]
) -> None:
    text = yaml.safe_dump(values)
    assume("*id" not in text)  # the writer uses aliases for equal lists
    assert load(tmp_path_factory.mktemp("yaml"), text).plain() == values


@pytest.mark.parametrize(
    "text", ["a\nb", "\n", " a\n\n b ", "a: 'b\nc'", "\u2028\x85", "1e3", "- a"]
)
def test_a_value_is_written_in_one_line(tmp_path: Path, text: str) -> None:
    line = to_yaml_line(text)
    assert len(line.splitlines()) == 1
    file = tmp_path / "one.yaml"
    file.write_text(f"a: {line}\n{line}: {to_yaml_line([text])}\n", encoding="utf-8")
    assert load_yaml(file).plain() == {"a": text, text: [text]}


def test_a_section_becomes_settings(tmp_path: Path) -> None:
    top = load(tmp_path, "camera:\n  width: 640\n  gains: [1, 2.5]\n  extra: {a: 1}\n")
    assert top.section("camera").read(Camera, "extra") == Camera(640, 30.0, "front", (1.0, 2.5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("camera:\n  width: abc\n", "line 2, camera.width: expected an integer from 1 to 8192"),
        ("camera:\n  width: abc\n", "got 'abc'"),
        ("camera:\n  width: 0\n", "line 2, camera.width: expected an integer from 1 to 8192"),
        ("camera:\n  width: true\n", "line 2, camera.width: expected an integer"),
        ("camera:\n  width: {a: 1}\n", "got {'a': 1}"),
        ("camera:\n  rate: 5\n", "line 2, camera.width: missing; expected an integer"),
        ("camera:\n  width: 5\n  widht: 6\n", "line 3, camera.widht: unknown key; did you mean"),
        ("camera:\n  width: 5\n  widht: 6\n", "did you mean 'width'? known: gains, name, rate"),
        ("camera:\n  width: 5\n  gains: [1, x]\n", "line 3, camera.gains: expected a list"),
        ("camera:\n  width: 8000\n  rate: 60\n", "camera: rate: too fast for that width"),
        ("camera: 5\n", "line 1, camera: expected a mapping of keys to values, got 5"),
        ("other: 5\n", "line 1, camera: missing; expected a mapping"),
    ],
)
def test_a_bad_value_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(tmp_path, text).section("camera").read(Camera)


def test_sections_and_section_lists(tmp_path: Path) -> None:
    top = load(tmp_path, "all:\n  b: {x: 1}\n  a: {x: 2}\nlist:\n  - {x: 3}\n  - {x: 4}\n")
    assert [(name, part["x"]) for name, part in top.sections("all").items()] == [("b", 1), ("a", 2)]
    assert [part["x"] for part in top.section_list("list")] == [3, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("all: {a: 1}\n", "line 1, all.a: expected a mapping"),
        ("all: [1]\n", "line 1, all: expected a mapping"),
        ("all:\n", "line 1, all: expected a mapping of keys to values, got None"),
    ],
)
def test_sections_must_be_mappings(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(tmp_path, text).sections("all")


@pytest.mark.parametrize("text", ["list: [1]\n", "list: {a: 1}\n", "list: x\n", "other: 1\n"])
def test_section_lists_must_be_lists_of_mappings(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"line 1, list: .*expected a list of mappings"):
        load(tmp_path, text).section_list("list")
