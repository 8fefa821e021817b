"""Precedence of parameter values and remaps."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.composition.pipeline import load_pipeline
from edge_inference.composition.process import load_components, open_container

FILES = {
    "exact": "/ai/preprocess:\n  ros__parameters: {max_age_ms: 2.0, model: efficientnet_lite0}\n",
    "wild": "/**:\n  ros__parameters: {max_age_ms: 2.0, model: efficientnet_lite0}\n",
    "wild then exact": (
        "/**:\n  ros__parameters: {max_age_ms: 1.0, model: nowhere}\n"
        "/ai/preprocess:\n  ros__parameters: {max_age_ms: 2.0, model: efficientnet_lite0}\n"
    ),
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES.keys())
@pytest.mark.parametrize(("given", "holds"), [({}, 2.0), ({"max_age_ms": "3"}, 3.0)])
def test_arguments_over_files_over_the_description(
    tmp_path: Path, text: str, given: dict[str, str], holds: float
) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(text)
    components = load_pipeline("perception").components(given)
    extra = ["--ros-args", "--params-file", str(file), "-r", "image_raw:=/mine"]
    with open_container("container") as container:
        assert load_components(container, components, extra=extra, autostart=False) == []
        nodes = {component.full_name: component.node for component in container.components}
        preprocess = nodes["/ai/preprocess"]
        assert preprocess.parameters.current.max_age_ms == holds
        assert preprocess.parameters.current.model == "efficientnet_lite0"
        assert preprocess.resolve_topic_name("image_raw") == "/mine"
