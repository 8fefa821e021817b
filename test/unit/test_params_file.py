"""Entries of a parameter file that reach no node are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.cli.params_file import find_unused_entries
from edge_inference.cli.perception.run_options import RunOptions
from edge_inference.core.models.model_search import find_model
from edge_inference.errors import ConfigError

NODES = {
    "/ai/decode": ("confidence", "iou", "qos_overrides./ai/tensor.subscription.depth"),
    "/camera/media_source": ("rate",),
}


def unused(folder: Path, text: str) -> list[str]:
    file = folder / "p.yaml"
    file.write_text(text)
    return find_unused_entries(file, NODES)


@pytest.mark.parametrize(
    "name",
    [
        "/ai/decode",
        "ai/decode",
        "/**",
        "/ai/*",
        "/*/decode",
        "/**/decode",
        "/ai/**",
        "/ai/decode/**",
    ],
)
def test_an_entry_that_a_node_uses_is_not_reported(tmp_path: Path, name: str) -> None:
    assert unused(tmp_path, f'"{name}":\n  ros__parameters: {{confidence: 0.3}}\n') == []


def test_namespaces_and_parameters_may_be_nested(tmp_path: Path) -> None:
    text = (
        "/ai:\n  decode:\n    ros__parameters:\n      confidence: 0.3\n"
        "      qos_overrides: {/ai/tensor: {subscription: {depth: 3}}}\n"
    )
    assert unused(tmp_path, text) == []


def test_an_unknown_parameter_is_reported_with_its_line(tmp_path: Path) -> None:
    (text,) = unused(tmp_path, "/**:\n  ros__parameters:\n    iou: 0.5\n    confidnce: 0.3\n")
    assert "p.yaml, line 4" in text and "did you mean 'confidence'?" in text


def test_a_parameter_of_another_node_is_reported(tmp_path: Path) -> None:
    (text,) = unused(tmp_path, "/ai/decode:\n  ros__parameters: {rate: 3.0}\n")
    assert "rate" in text


@pytest.mark.parametrize("name", ["/decode", "/ai", "/*/*/decode", "decode", "/*"])
def test_a_missing_node_is_reported(tmp_path: Path, name: str) -> None:
    (text,) = unused(tmp_path, f'"{name}":\n  ros__parameters: {{confidence: 0.3}}\n')
    assert "no node is called" in text


@pytest.mark.parametrize("text", ["/**: [\n", "- 1\n", ""])
def test_a_file_that_is_no_mapping_is_refused_once(tmp_path: Path, text: str) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"p\.yaml"):
        RunOptions("sample", params_file=str(file)).check(find_model("nanodet"))
