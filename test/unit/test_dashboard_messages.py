"""What a page sends is checked, and what it gets is JSON for every browser."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edge_inference.core.runtime.latency import Percentiles
from edge_inference.errors import ConfigError, InputError
from edge_inference.observe.dashboard.history_text import MAX_POINTS, history_text
from edge_inference.observe.dashboard.newest_item import NewestItem
from edge_inference.observe.dashboard.page_files import read_page_files
from edge_inference.observe.dashboard.page_message import (
    HelloMessage,
    HistoryRequest,
    ImageRequest,
    ParametersRequest,
    SetParameterRequest,
    read_page_message,
)
from edge_inference.observe.monitor.history import History
from edge_inference.observe.monitor.json_text import json_text
from edge_inference.observe.monitor.snapshot import ProcessRow, Snapshot

NOW_S = 1_700_000_000.0


def setting(value: object) -> str:
    return json.dumps(
        {"type": "set_parameter", "node": "/ai/decode", "name": "x", "value": value, "id": 3}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"hello"}', HelloMessage("")),
        ('{"type":"hello","token":"abc","more":1}', HelloMessage("abc")),
        ('{"type":"history"}', HistoryRequest(3600.0)),
        ('{"type":"history","since_s":60}', HistoryRequest(60.0)),
        ('{"type":"image","on":true}', ImageRequest(True)),
        ('{"type":"parameters","node":"/ai/decode"}', ParametersRequest("/ai/decode")),
        (setting(True), SetParameterRequest("/ai/decode", "x", True, 3)),
        (setting(0.5), SetParameterRequest("/ai/decode", "x", 0.5, 3)),
        (setting("a"), SetParameterRequest("/ai/decode", "x", "a", 3)),
        (setting([]), SetParameterRequest("/ai/decode", "x", (), 3)),
        (setting([1, 2.5]), SetParameterRequest("/ai/decode", "x", (1, 2.5), 3)),
    ],
)
def test_messages_are_read(text: str, message: object) -> None:
    assert read_page_message(text) == message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "in JSON"),
        ("{", "in JSON"),
        ("[" * 60_000, "in JSON"),
        ('{"type":"history","since_s":' + "9" * 60_000 + "}", "in JSON"),
        ('{"type":"history","since_s":NaN}', "in JSON"),
        ("[]", "expected a JSON object"),
        ("null", "expected a JSON object"),
        ("{}", "type: expected hello"),
        ('{"type":["hello"]}', "type: expected hello"),
        ('{"type":"shutdown"}', "type: expected hello"),
        ('{"type":"hello","token":5}', "token: expected a text"),
        ('{"type":"hello","token":"' + "a" * 5000 + '"}', "token: expected a text"),
        ('{"type":"hello","token":"\\ud800"}', "token: expected a text"),
        ('{"type":"history","since_s":0}', "since_s: expected seconds"),
        ('{"type":"history","since_s":1e9}', "since_s: expected seconds"),
        ('{"type":"history","since_s":true}', "since_s: expected seconds"),
        ('{"type":"image"}', "on: expected true or false"),
        ('{"type":"image","on":1}', "on: expected true or false"),
        ('{"type":"parameters"}', "node: expected a text"),
        (setting(None), "value: expected"),
        (setting({"a": 1}), "value: expected"),
        (setting([[1]]), "value: expected"),
        (setting([1, "a"]), "value: expected"),
        (setting([1, True]), "value: expected"),
        (setting([0] * 1001), "value: expected"),
        (setting(2**63), "value: expected"),
        (setting("a").replace('"id": 3', '"id": -1'), "id: expected"),
        (setting("a").replace('"id": 3', '"id": true'), "id: expected"),
    ],
)
def test_other_messages_are_refused_in_a_short_line(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read_page_message(text)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_unknown_is_null() -> None:
    row = ProcessRow(7, ("/ai/decode",), math.nan, math.inf, 0.0, -0.5, 1.0)
    found = json.loads(json_text(Snapshot(NOW_S, "/ai", processes=(row,))))
    (process,) = found["processes"]
    assert (process["cpu_share"], process["memory_mib"]) == (None, None)
    assert (process["lock_ms_per_s"], process["nodes"]) == (0.0, ["/ai/decode"])
    assert found["platform"] is None
    assert found["voice"]["transcript"] == ""


def test_percentiles_and_mappings_are_plain() -> None:
    text = json_text({"a": Percentiles(mean=1.5), 2: (True, None)})
    assert json.loads(text)["a"]["mean"] == 1.5
    assert json.loads(text)["2"] == [True, None]


def test_what_is_no_plain_data_is_a_bug() -> None:
    with pytest.raises(TypeError, match="plain data"):
        json_text({"a": object()})


@dataclass(frozen=True)
class Figures:
    """A history of these figures, without a robot."""

    times: np.ndarray
    values: dict[str, np.ndarray]
    units: dict[str, str]

    def series(self) -> tuple[str, ...]:
        return tuple(self.values)

    def unit(self, name: str) -> str:
        return self.units[name]

    def get(self, names: object, since_s: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return self.times, self.values


def read_history(figures: Figures) -> dict:
    return json.loads(history_text(figures, 3600.0))  # type: ignore[arg-type]


def test_an_empty_history() -> None:
    found = json.loads(history_text(History(), 3600.0))
    assert found == {"type": "history", "names": [], "units": {}, "times": [], "values": {}}


def test_a_short_history_is_sent_as_it_is() -> None:
    values = np.array([1.0, np.nan, 3.25], np.float32)
    found = read_history(Figures(NOW_S + np.arange(3.0), {"a": values}, {"a": "ms"}))
    assert found["times"] == [NOW_S, NOW_S + 1, NOW_S + 2]
    assert found["values"] == {"a": [1.0, None, 3.25]}
    assert found["units"] == {"a": "ms"}


def test_a_long_history_keeps_its_peaks() -> None:
    times = NOW_S + np.arange(3600.0)
    delay = np.full(3600, 20.0, np.float32)
    delay[1234] = 700.0
    rate = np.full(3600, 25.0, np.float32)
    rate[1234] = 3.0
    rate[::7] = np.nan
    figures = Figures(times, {"delay": delay, "rate": rate}, {"delay": "ms", "rate": "Hz"})
    found = read_history(figures)
    assert len(found["times"]) <= MAX_POINTS
    assert {len(each) for each in found["values"].values()} == {len(found["times"])}
    assert found["times"][-1] == times[-1]
    assert found["times"] == sorted(found["times"])
    assert max(found["values"]["delay"]) == 700.0
    assert min(found["values"]["rate"]) == 3.0
    assert None not in found["values"]["rate"]


def test_a_gap_stays_a_gap() -> None:
    times = NOW_S + np.concatenate([np.arange(1000.0), 2600 + np.arange(1000.0)])
    figures = Figures(times, {"a": np.ones(2000, np.float32)}, {"a": ""})
    found = read_history(figures)
    (gap,) = [place for place, value in enumerate(found["values"]["a"]) if value is None]
    assert NOW_S + 999 < found["times"][gap] < NOW_S + 1010
    assert found["times"][gap + 1] > NOW_S + 2590


def test_many_series_have_fewer_points() -> None:
    values = {f"s{i}": np.ones(3600, np.float32) for i in range(2000)}
    figures = Figures(NOW_S + np.arange(3600.0), values, dict.fromkeys(values, ""))
    assert len(history_text(figures, 3600.0)) < 3_000_000  # type: ignore[arg-type]


def test_waiters_get_the_newest_item_only() -> None:
    async def run() -> list[tuple[int, str]]:
        newest: NewestItem[str] = NewestItem()
        waiting = [asyncio.create_task(newest.after(0)) for _ in range(2)]
        await asyncio.sleep(0)
        newest.put("a")
        newest.put("b")
        found = [await each for each in waiting]
        later = asyncio.create_task(newest.after(2))
        await asyncio.sleep(0)
        assert not later.done()
        newest.put("c")
        return [*found, await later]

    assert asyncio.run(run()) == [(2, "b"), (2, "b"), (3, "c")]


def test_page_files_are_those_of_known_types(tmp_path: Path) -> None:
    (tmp_path / "panels").mkdir()
    for name in ("index.html", "main.js", "panels/voice.js", "LICENSE", "notes.md"):
        (tmp_path / name).write_text(name)
    (tmp_path / "outside.js").symlink_to("/dev/zero")
    found = read_page_files(tmp_path)
    assert set(found) == {"", "index.html", "main.js", "panels/voice.js"}
    assert found[""] == found["index.html"]
    assert found["panels/voice.js"].content == b"panels/voice.js"
    assert found["main.js"].kind == "text/javascript; charset=utf-8"
    assert len({each.tag for each in found.values()}) == 3


def test_a_missing_page_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="install the package again"):
        read_page_files(tmp_path / "none")
