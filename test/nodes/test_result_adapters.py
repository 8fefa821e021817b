"""The adapter of each kind of result is found by the text in its row."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_inference.composition.bus import Publisher
from edge_inference.core.images.frame import Frame
from edge_inference.core.results import CLASSIFICATION, DETECTION, RESULT_KINDS, ResultKind
from edge_inference.core.results.kinds import check_kind
from edge_inference.errors import PluginError
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.conversions.results.adapter_choice import result_adapter
from edge_inference.nodes.conversions.results.classification import ClassificationAdapter
from edge_inference.nodes.conversions.results.detection import DetectionArrayAdapter
from rig import Rig, wait_for

WriteModule = Callable[[str], None]
HAS_VISION_MSGS = importlib.util.find_spec("vision_msgs") is not None


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteModule:
    """Return a function that writes the module ``their_adapters``."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "their_adapters", raising=False)

    def write(code: str) -> None:
        (tmp_path / "their_adapters.py").write_text(code)

    return write


def kind_with(*adapters: str) -> ResultKind[Any]:
    return dataclasses.replace(DETECTION, name="theirs", adapters=adapters)


@pytest.mark.parametrize("kind", RESULT_KINDS.own.values(), ids=RESULT_KINDS.own)
def test_every_own_kind_has_an_adapter(kind: ResultKind[Any]) -> None:
    adapter = result_adapter(kind)
    names = [path.partition(":")[2] for path in kind.adapters]
    assert type(adapter).__name__ == names[0 if HAS_VISION_MSGS else -1]


@pytest.mark.skipif(HAS_VISION_MSGS, reason="vision_msgs is installed here")
def test_without_vision_msgs_the_own_messages_are_used() -> None:
    assert type(result_adapter(DETECTION)) is DetectionArrayAdapter
    assert type(result_adapter(CLASSIFICATION)) is ClassificationAdapter


FALLBACK = "edge_inference.nodes.conversions.results.detection:DetectionArrayAdapter"


def test_an_adapter_whose_messages_are_missing_is_skipped(write_module: WriteModule) -> None:
    write_module("import no_such_msgs.msg")
    assert type(result_adapter(kind_with("their_adapters:Mine", FALLBACK))) is DetectionArrayAdapter
    with pytest.raises(PluginError, match=r"theirs: expected the messages.*no_such_msgs.*install"):
        result_adapter(kind_with("their_adapters:Mine"))


@pytest.mark.parametrize(
    ("code", "path", "reason"),
    [
        ("", "no_such_module_anywhere:Mine", "No module named 'no_such_module_anywhere'"),
        ("", "their_adapters.deeper:Mine", "not a package"),
        ("", "their_adapters:Mine", "expected a subclass of Adapter, got None"),
        ("class Mine: ...", "their_adapters:Mine", "expected a subclass of Adapter, got <class"),
        ("Mine = 3", "their_adapters:Mine", "expected a subclass of Adapter, got 3"),
        ("1 / 0", "their_adapters:Mine", "ZeroDivisionError"),
        ("raise SystemExit(3)", "their_adapters:Mine", "SystemExit: 3"),
        (
            "from edge_inference.composition.adapter import Adapter\nclass Mine(Adapter): ...",
            "their_adapters:Mine",
            "TypeError",
        ),
    ],
)
def test_a_wrong_path_is_refused_though_another_one_follows(
    write_module: WriteModule, code: str, path: str, reason: str
) -> None:
    write_module(code)
    with pytest.raises(PluginError, match=reason):
        result_adapter(kind_with(path, FALLBACK))


def test_the_overlay_tells_a_kind_without_adapter_and_draws_the_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = dict(RESULT_KINDS.own)
    broken = dataclasses.replace(
        own["depth"], name="broken", topic="broken", adapters=("no_such_module_anywhere:Mine",)
    )
    monkeypatch.setattr(RESULT_KINDS, "rows", lambda: {"broken": broken, **own})
    assert check_kind(broken, {}) is None
    rig.tap("/ai/overlay")
    overlay = rig.load("Overlay", when_full="wait")
    ((reason, message),) = overlay.health.take_errors()
    assert reason == "kind"
    assert "result kind broken: adapter no_such_module_anywhere:Mine" in message
    node = rig.container.node
    images = rig.call(lambda: Publisher(node, ImageAdapter(), "/ai/image_raw", RELIABLE))
    results = rig.call(
        lambda: Publisher(node, result_adapter(DETECTION), "/ai/detections", RELIABLE)
    )
    wait_for(lambda: images.has_subscribers() and results.has_subscribers(), "the overlay")
    assert overlay.health.drop_counts() == {}
    images.publish(Frame.from_array(np.zeros((2, 2, 3), np.uint8), "bgr8", 1))
