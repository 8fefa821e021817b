"""The forms in which the names of classes are published."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.core.bounded_file import read_text
from edge_inference.core.label_file import labels_of, parse_labels, read_labels_file
from edge_inference.errors import ConfigError

CAT_DOG = ("cat", "big dog")

FORMS = {
    "one a line": "cat\nbig dog\n",
    "spaces and blank last lines": "  cat \nbig dog\t\n\n \n",
    "colons": "0: cat\n1: big dog\n",
    "colons from 1": "1: cat\n2: big dog\n",
    "blanks": "0 cat\n1 big dog\n",
    "blanks from 1": "1  cat\n2\tbig dog",
    "commas": "0,cat\n1,big dog\n",
    "out of order": "1: big dog\n0: cat\n",
    "quotes": "0: 'cat'\n1: \"big dog\",\n",
    "JSON list": '["cat", "big dog"]',
    "JSON mapping": '{\n  "0": "cat",\n  "1": "big dog"\n}\n',
    "JSON mapping to numbers": '{"cat": 0, "big dog": 1}',
    "ImageNet's index": '{"0": ["n1", "cat"], "1": ["n2", "big dog"]}',
    "Python's mapping": "{0: 'cat', 1: 'big dog'}",
    "YAML list": "# names\n- cat\n- big dog\n",
    "Ultralytics list": "path: /data\nnc: 2\nnames: [cat, big dog]\n",
    "Ultralytics mapping": "train: images\nnames:\n  0: cat\n  1: big dog\n\ndownload: |\n  none\n",
    "Transformers": '{"model_type": "detr",\n "id2label": {"0": "cat", "1": "big dog"}}',
    "PaddleDetection": "mode: paddle\narch: YOLO\nlabel_list:\n- cat\n- big dog\n",
    "label map": "item {\n  id: 1\n  name: \"cat\"\n}\nitem {\n  id: 2\n  name: 'big dog'\n}\n",
    "label map with codes": (
        'item {\n name: "/m/01"\n id: 1\n display_name: "cat"\n}\n'
        'item {\n name: "/m/02"\n id: 2\n display_name: "big dog"\n}\n'
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form(form: str) -> None:
    assert parse_labels(FORMS[form]) == CAT_DOG


@pytest.mark.parametrize("form", FORMS)
def test_a_form_as_windows_writes_it(form: str, tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(b"\xef\xbb\xbf" + FORMS[form].replace("\n", "\r\n").encode())
    assert read_labels_file(file) == CAT_DOG


@pytest.mark.parametrize(
    "lines",
    [
        ["1 euro", "2 euro", "10 euro", "20 euro"],
        ["10 euro", "20 euro"],
        ["1 euro", "1 dollar"],
        ["0", "1", "2"],
        ["7up", "8 ball", "3D print"],
        ["n01440764 tench, Tinca tinca", "n01443537 goldfish"],
        ["no", "yes"],
        ["names", "labels"],
        ["a: b", "c: d"],
        ["[background]", "cat"],
        ["item one", "item two"],
        ["2: two", "3: three"],
    ],
)
def test_lines_that_only_look_numbered(lines: list[str]) -> None:
    assert parse_labels("\n".join(lines)) == tuple(lines)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("0: cat\n2: dog\n", ("cat", "1", "dog")),
        ("1: cat\n4: dog\n", ("cat", "1", "2", "dog")),
        ('{"0": "cat", "3": "dog"}', ("cat", "1", "2", "dog")),
        ("item {id: 1 name: 'cat'}\nitem {id: 3 name: 'dog'}", ("cat", "1", "dog")),
        ("names: {0: 'no', 1: 7, 2: yes}", ("no", "7", "yes")),
    ],
)
def test_a_class_that_a_numbering_leaves_out_has_its_number(
    text: str, labels: tuple[str, ...]
) -> None:
    assert parse_labels(text) == labels


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("cat\n\ndog\n", "empty line, line 2"),
        ("\n\ncat\n \ndog\n", "empty line, line 4"),
        ("names: {0: cat, 70000: dog}", "the class numbers 0 to 70000"),
        ('{"2": "cat", "3": "dog"}', "the class numbers 2 to 3"),
        ("names:\n  - [\n", "no readable list of labels"),
        ("names: &a [cat]\nother: *a\n", "anchors and aliases"),
        ("names: {a: b}\n", "no list of labels"),
        ("item {id: 1}", "an item without id or name"),
        ("[" * 100 + "]" * 100, "nested too deep"),
        ("- cat\n" * 60_000, "characters of YAML"),
    ],
)
def test_what_is_no_list_of_labels(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_labels(text)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Ampel\nTür\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot be read: not UTF-8"):
        read_labels_file(tmp_path / "latin.txt")


def test_hostile_texts_are_read_in_linear_time() -> None:
    """Each would take minutes with an expression that tries every division of the blanks."""
    blanks = " " * 500_000
    assert len(parse_labels(f"a\nitem{blanks}x")) == 2
    assert len(parse_labels(f"item{blanks}x\na")) == 2
    assert len(parse_labels(f"0{blanks}a\n1{blanks}b")) == 2
    with pytest.raises(ValueError, match="item without"):
        parse_labels(f"item {{ id{blanks}x }}")


@pytest.mark.parametrize(
    "value", [None, 7, "cat", [], [[]], {"a": "b"}, {"0": None}, [True], {"0": "a", "x": "b"}]
)
def test_values_that_are_no_labels(value: object) -> None:
    assert labels_of(value) is None


def test_labels_below_a_known_key_only() -> None:
    assert labels_of({"names": ["cat"]}) == ("cat",)
    assert labels_of({"names": {"names": ["cat"]}}) is None
    nested: dict[str, object] = {"names": ["cat"]}
    for _ in range(5000):  # deeper than any recursion
        nested = {"names": nested}
    assert labels_of(nested) is None


def test_the_shipped_labels_are_read_line_by_line() -> None:
    for file in sorted((Path(__file__).parents[2] / "models").glob("*/labels.txt")):
        assert read_labels_file(file) == tuple(read_text(file).splitlines()), file
