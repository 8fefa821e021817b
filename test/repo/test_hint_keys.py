"""A hint names only keys of model.yaml, settings and options that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.variants import PRECISIONS, Derivation
from edge_inference.core.settings import rules
from edge_inference.engines.build.build_options import BuildOptions
from tree import PACKAGE, ROOT, package_sources

#: The keys of the sections of model.yaml; a decoder's are those of any decoder.
SECTIONS = {
    "input": set(rules(InputSpec)),
    "derive": set(rules(Derivation)),
    "engine": set(rules(BuildOptions)),
    "self_check": set(rules(SelfCheckThresholds)),
    "variants": {*PRECISIONS},
}
DOTTED = re.compile(rf"(?<![\w./{{])({'|'.join(SECTIONS)})\.(\w+|{{)(?!\(|\.(?:py|json))")
SECTION = re.compile(r"\bsection (\w+) of model\.yaml")
#: "set batch_size", "lower a_b, c_d or e_f", "order: true"
ORDERED = re.compile(r"\b(?:set|lower|raise|correct) ((?:\w+(?:, | and | or )?)+)")
VALUED = re.compile(r"(?<![\w.])([a-z][a-z_]+): (?:true|false)\b")
#: Of the package onnx, and of ROS itself.
OTHERS = {"ir_version", "use_sim_time"}


def texts() -> Iterator[tuple[str, str]]:
    """Yield the texts of the package with their place, without docstrings."""
    for name, source in package_sources().items():
        tree = ast.parse(source)
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        formatted = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        inner = {id(value) for node in formatted for value in ast.walk(node) if value is not node}
        for node in ast.walk(tree):
            if id(node) in docstrings or id(node) in inner:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)
                yield f"{name}:{node.lineno}", "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{name}:{node.lineno}", node.value


@cache
def known_settings() -> set[str]:
    """Return every parameter, key of model.yaml and option of the documentation."""
    documented = (ROOT / "docs" / "parameters.md").read_text()
    names = set(re.findall(r"^\| `(\w+)` \|", documented, re.MULTILINE))
    flags = set()
    for file in (PACKAGE / "cli").rglob("*.py"):
        flags |= set(re.findall(r'"--([a-z][a-z0-9-]+)"', file.read_text()))
    return names | {flag.replace("-", "_") for flag in flags}


@cache
def sentences() -> list[tuple[str, str]]:
    """Return the texts that read as sentences with a hint."""
    return [(place, text) for place, text in texts() if " " in text]


def test_dotted_keys_exist() -> None:
    found = [
        (place, section, key)
        for place, text in sentences()
        for section, key in DOTTED.findall(text)
        if key not in {*SECTIONS[section], "{"}  # a placeholder
    ]
    assert not found


def test_sections_exist() -> None:
    known = {*SECTIONS, "decoder", "golden", "labels", "extra_inputs"}
    found = [
        (place, section)
        for place, text in sentences()
        for section in SECTION.findall(text)
        if section not in known
    ]
    assert not found


def test_settings_in_hints_exist() -> None:
    found = []
    for place, text in sentences():
        _, _, hint = text.partition("; ")
        words = [word for words in ORDERED.findall(hint) for word in re.findall(r"\w+", words)]
        named = [word for word in words if "_" in word and word.islower()] + VALUED.findall(hint)
        found += [(place, w) for w in named if w not in known_settings() | OTHERS]
    assert not found


@pytest.mark.parametrize(
    ("text", "is_wrong"),
    [
        ("expected a; set input.layout to NHWC", False),
        ("expected a; set input.lay_out to NHWC", True),
        ("remove variants.{}", False),
        ("see derive.fp16_keep_fp32", False),
    ],
)
def test_the_patterns_find_wrong_keys(text: str, is_wrong: bool) -> None:
    keys = DOTTED.findall(text)
    assert any(key not in {*SECTIONS[section], "{"} for section, key in keys) == is_wrong


def test_the_patterns_find_settings() -> None:
    assert ORDERED.findall("lower a_b, c_d or e_f") == ["a_b, c_d or e_f"]
    assert VALUED.findall("put background: true into it") == ["background"]
    assert {"workspace_mib", "background", "max_memory_mib"} <= known_settings()
