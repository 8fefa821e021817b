"""Decoders by name, built in and from a third party's module."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_inference.core import settings
from edge_inference.core.decoders import find, names, register
from edge_inference.errors import PluginError

BUILT_IN = (
    "classification",
    "depth",
    "detr",
    "nanodet",
    "segmentation",
    "ssd",
    "yolo11",
    "yolov5",
    "yolov8",
    "yolox",
)
GOOD = """
from dataclasses import dataclass
from edge_inference.core.decoders import register

@dataclass(frozen=True)
class Mine:
    pass

@register("{name}", Mine)
def decode(outputs, context, settings):
    raise NotImplementedError

def plain(outputs, context, settings):
    raise NotImplementedError
"""


@dataclass(frozen=True)
class Nothing:
    pass


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Provide a function that writes an importable module."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda name, text: (tmp_path / f"{name}.py").write_text(text)
    for file in tmp_path.glob("*.py"):
        sys.modules.pop(file.stem, None)


def test_the_built_in_names():
    assert set(BUILT_IN) <= set(names())
    assert list(names()) == sorted(names())


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_settings_are_all_described_and_have_defaults(name):
    entry = find(name)
    assert entry.name == name
    for rule in settings.rules(entry.settings_class).values():
        assert rule.description, rule.name
        assert not rule.required, rule.name
    settings.build(entry.settings_class, {})


def test_live_settings_have_one_meaning_everywhere():
    for shared in ("max_detections", "classes", "iou", "class_agnostic"):
        rules = [settings.rules(find(name).settings_class).get(shared) for name in BUILT_IN]
        assert len({rule for rule in rules if rule is not None}) == 1


@pytest.mark.parametrize("name", ["", "yolo_v8", "NanoDet"])
def test_unknown_name(name):
    with pytest.raises(PluginError, match=f"unknown decoder {name!r}; "):
        find(name)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(PluginError, match="did you mean 'yolo11'"):
        find("yolov11x")


def test_a_registered_function_is_returned_unchanged():
    def mine(outputs, context, settings):
        raise NotImplementedError

    assert register("mine", Nothing)(mine) is mine


def test_a_registered_function_does_not_replace_another_decoder():
    def other(outputs, context, settings):
        raise NotImplementedError

    register("nanodet", Nothing)(other)
    assert find("nanodet").function is not other


def test_a_third_party_module(module):
    module("their_decoder", GOOD.format(name="theirs"))
    entry = find("their_decoder:decode")
    assert entry.name == "theirs"
    assert find("their_decoder:decode") is entry
    with pytest.raises(PluginError, match="unknown decoder 'theirs'"):
        find("theirs")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module_anywhere:decode", "ModuleNotFoundError.*no_such_module_anywhere"),
        ("other_decoder:decod", "has no 'decod'; did you mean 'decode'"),
        ("other_decoder:plain", "plain is not a decoder; decorate it"),
        (":decode", "expected package.module:function"),
        ("other_decoder:", "expected package.module:function"),
        (".relative:decode", "expected package.module:function"),
    ],
)
def test_a_name_that_does_not_resolve_is_refused(module, name, reason):
    module("other_decoder", GOOD.format(name="others"))
    with pytest.raises(PluginError, match=reason):
        find(name)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise OSError('no licence')", "OSError: no licence"),
        ("raise SystemExit(2)", "SystemExit: 2"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        (
            "import dataclasses\nMine.__annotations__['x'] = 'no_such_type'\n"
            "Mine = dataclasses.dataclass(Mine)\n"
            "decode = register('broken', Mine)(plain)",
            "its settings class is unusable",
        ),
        ("decode = register('broken', int)(plain)", "its settings class is unusable"),
        ("del decode\ndef __getattr__(name): raise SystemExit('late')", "SystemExit: late"),
    ],
)
def test_a_module_that_fails_is_reported_each_time(module, body, reason):
    module("broken_decoder", GOOD.format(name="broken") + f"\n{body}\n")
    for _ in range(2):
        with pytest.raises(PluginError, match=reason):
            find("broken_decoder:decode")
    assert "broken" not in names()


@pytest.mark.parametrize(
    ("source", "name", "has_hint"),
    [
        (None, "no_such_package.corners:decode", True),
        ("import no_such_library\n", "lonely_decoder:decode", False),
        ("raise RuntimeError('no')\n", "lonely_decoder:decode", False),
    ],
)
def test_a_module_that_python_does_not_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str | None, name: str, has_hint: bool
) -> None:
    if source is not None:
        (tmp_path / "lonely_decoder.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match="failed: ") as caught:
        find(name)
    assert ("add its parent folder to PYTHONPATH" in str(caught.value)) == has_hint
