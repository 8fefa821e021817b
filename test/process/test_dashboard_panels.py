"""Each panel of the dashboard's page in Chromium, with a scripted robot behind the real server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.chromium_page import ChromiumPage
from dashboard_page_kit import served, wait_until
from dashboard_view import (
    choose_node,
    find_field,
    look_at,
    show,
    text_of,
    wait_for_change,
    wait_for_image,
    wait_for_text,
)
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.observe.monitor.snapshot import Snapshot
from scripted_robot import HOSTILE, REFUSAL, ScriptedRobot

# What each panel shows of the scripted robot.
SHOWN = {
    "glance": ["end to end, p99", "int8", "reduced"],
    "targets": ["PASS", "FAIL", "INCONCLUSIVE", "NOT MEASURED", "41.5, bound 50", "no sensor"],
    "latency": ["preprocess", "inference", "superseded", "stamp_in_future 2", "deadline 50 ms"],
    "charts": ["End to end", "inference p99", "tj-thermal", "whole board"],
    "image": ["show the annotated image", "off"],
    "results": ["/ai/detections", "bicycle"],
    "voice": ["go forward two meters", "move: distance 2 m", "moving"],
    "log": ["at most 20 Hz: 78 °C"],
    "engine": ["nanodet", "preparing trt fp16", "fp16 failed its self-check", "78 °C"],
    "platform": ["Jetson AGX Orin", "over-current: VDD_GPU", "powered off", "95 °C"],
    "processes": ["4711", "/ai/overlay", "210 MiB"],
    "health": ["fp16 failed its self-check", "error"],
    "parameters": ["--allow-changes"],
}
MOVING = ("glance", "latency", "charts", "engine", "platform", "processes", "health")
UNKNOWN = "\N{EN DASH}"


@pytest.fixture
def robot() -> ScriptedRobot:
    robot = ScriptedRobot()
    robot.fill_history(120)
    return robot


@pytest.mark.parametrize("panel", SHOWN)
def test_a_panel_shows_what_it_is_for(page: ChromiumPage, robot: ScriptedRobot, panel: str) -> None:
    with served(robot) as address:
        show(page, address)
        look_at(page, panel)
        for text in SHOWN[panel]:
            wait_for_text(page, panel, text)
        if panel in MOVING:
            wait_for_change(page, text_of(panel))


def test_all_panels_are_tested(page: ChromiumPage, robot: ScriptedRobot) -> None:
    with served(robot) as address:
        show(page, address)
        ids = page.run("[...document.querySelectorAll('.panel')].map((panel) => panel.id)")
        assert set(ids) == set(SHOWN)
        links = page.run("[...document.querySelectorAll('nav a')].map((link) => link.hash)")
        assert links == [f"#{panel}" for panel in ids]


def test_what_is_unknown_is_a_dash(page: ChromiumPage, robot: ScriptedRobot) -> None:
    at_s = robot.snapshot().at_s
    robot.change(**vars(Snapshot(at_s, "/ai")))
    with served(robot) as address:
        show(page, address)
        page.wait_for("document.querySelectorAll('#glance dd').length >= 8")
        values = "[...document.querySelectorAll('#glance dd')].map((each) => each.innerText)"
        assert set(page.run(values)) == {UNKNOWN}
        look_at(page, "platform")
        wait_for_text(page, "platform", "nothing is known")
        assert "0" not in page.run(text_of("engine") + "+" + text_of("processes"))


def test_an_unknown_figure_is_a_dash(page: ChromiumPage, robot: ScriptedRobot) -> None:
    with served(robot) as address:
        show(page, address)
        look_at(page, "latency")
        cell = "document.querySelector('#latency td[data-title=\"device p50\"]')?.innerText"
        assert page.wait_for(cell) == UNKNOWN


def test_a_hostile_text_stays_a_text(page: ChromiumPage, robot: ScriptedRobot) -> None:
    with served(robot, may_change=True) as address:
        show(page, address)
        choose_node(page, "/ai/decode")
        for panel in ("results", "log", "health", "parameters"):
            look_at(page, panel)
            wait_for_text(page, panel, HOSTILE)
        assert page.run("document.title") == "edge_inference"
        assert page.run("document.querySelectorAll('img[src=x], main b > b').length") == 0


def test_a_silent_stage_is_marked(page: ChromiumPage, robot: ScriptedRobot) -> None:
    first, *others = robot.snapshot().stages
    robot.change(stages=(replace(first, silent_s=8.0, process=Percentiles()), *others))
    with served(robot) as address:
        show(page, address)
        look_at(page, "latency")
        wait_for_text(page, "latency", "no frame for 8 s")
        assert page.run("document.querySelectorAll('#latency tr.stale').length") == 1


def test_a_panel_that_fails_leaves_the_others_alone(
    page: ChromiumPage, robot: ScriptedRobot
) -> None:
    robot.change(health=None)
    with served(robot) as address:
        show(page, address)
        look_at(page, "health")
        wait_for_text(page, "health", "cannot be shown")
        wait_for_change(page, text_of("processes"))
        robot.change()
        wait_for_text(page, "health", "fp16 failed")
        assert "cannot be shown" not in page.run(text_of("health"))
        page.faults.clear()


def test_a_closed_panel_is_not_drawn(page: ChromiumPage, robot: ScriptedRobot) -> None:
    content = "document.querySelector('#glance dl').textContent"
    with served(robot) as address:
        show(page, address)
        wait_for_text(page, "glance", "int8")
        page.click("#glance summary")
        page.wait_for("!document.getElementById('glance').open")
        before = page.run(content)
        wait_for_change(page, "document.getElementById('age').innerText")
        assert page.run(content) == before
        page.click("#glance summary")
        wait_for_change(page, content)


def test_images_are_sent_only_while_they_are_shown(
    page: ChromiumPage, robot: ScriptedRobot
) -> None:
    image = "document.querySelector('#image img')"
    with served(robot) as address:
        show(page, address)
        assert robot.viewers == []
        page.click("#image-on")
        assert wait_for_image(page) == 480
        address = page.run(f"{image}.src")
        page.wait_for(f"{image}.src !== '{address}'")
        wait_for_text(page, "image", "captured")
        # The memory of an image that is not shown any more is freed.
        freed = f"new Promise((done) => {{ const i = new Image(); i.src = '{address}';"
        assert page.run(f"{freed} i.onload = () => done(false); i.onerror = () => done(true); }})")
        page.faults.clear()  # the browser reports what was not found
        page.click("#image summary")
        wait_until(lambda: robot.viewers == [])
        page.click("#image summary")
        wait_until(lambda: robot.viewers != [])
        page.click("#image-on")
        wait_until(lambda: robot.viewers == [])
        wait_for_text(page, "image", "off")
        assert page.run(f"{image}.checkVisibility()") is False


def test_a_parameter_is_changed(page: ChromiumPage, robot: ScriptedRobot) -> None:
    with served(robot, may_change=True) as address:
        show(page, address)
        choose_node(page, "/ai/decode")
        confidence = find_field(page, "confidence")
        page.type_text(f"{confidence} input", "0.55")
        page.press("Enter")
        page.wait_for(f"document.querySelector('{confidence} output').innerText === 'set'")
        page.click(f"{find_field(page, 'enabled')} input")
        page.click(f"{find_field(page, 'enabled')} button")
        page.type_text(f"{find_field(page, 'classes')} input", '["cat"]')
        page.press("Enter")
        policy = f"document.querySelector('{find_field(page, 'policy')} select')"
        page.run(f"{policy}.value = 'queue', {policy}.dispatchEvent(new Event('input'))")
        page.click(f"{find_field(page, 'policy')} button")
        wait_until(lambda: len(robot.parameters.changes) == 4)
    assert robot.parameters.changes == [
        ("/ai/decode", "confidence", 0.55),
        ("/ai/decode", "enabled", False),
        ("/ai/decode", "classes", ("cat",)),
        ("/ai/decode", "policy", "queue"),
    ]


def test_the_refusal_of_a_node_is_shown(page: ChromiumPage, robot: ScriptedRobot) -> None:
    with served(robot, may_change=True) as address:
        show(page, address)
        choose_node(page, "/ai/decode")
        confidence = find_field(page, "confidence")
        output = f"document.querySelector('{confidence} output').innerText"
        page.type_text(f"{confidence} input", "2")
        page.press("Enter")
        page.wait_for(f"{output} === '{REFUSAL}'")
        # What the user has typed stays, to be mended.
        assert page.run(f"document.querySelector('{confidence} input').value") == "2"
        page.type_text(f"{confidence} input", "many")
        page.press("Enter")
        page.wait_for(f"{output}.includes('expected a number')")
    assert robot.parameters.changes == []


def test_the_value_of_a_parameter_is_kept_up_to_date(
    page: ChromiumPage, robot: ScriptedRobot
) -> None:
    with served(robot, may_change=True) as address:
        show(page, address)
        choose_node(page, "/ai/decode")
        robot.parameters.change("/ai/decode", "confidence", 0.9)
        value = f"document.querySelector('{find_field(page, 'confidence')} input').value"
        page.wait_for(f"{value} === '0.9'")


def test_a_node_that_does_not_answer_is_said(page: ChromiumPage, robot: ScriptedRobot) -> None:
    row = robot.snapshot().processes[0]
    robot.change(processes=(replace(row, nodes=("/ai/latency",)),))
    with served(robot) as address:
        show(page, address)
        look_at(page, "parameters")
        page.wait_for(
            "document.querySelector('#parameters option[value=\"/ai/latency\"]') !== null"
        )
        page.run(
            "(() => { const choice = document.getElementById('parameters-node');"
            " choice.value = '/ai/latency'; choice.dispatchEvent(new Event('change')); })()"
        )
        page.wait_for("document.body.innerText.includes('/ai/latency: does not answer')")


def test_nothing_can_be_changed_where_the_server_is_read_only(
    page: ChromiumPage, robot: ScriptedRobot
) -> None:
    with served(robot) as address:
        show(page, address)
        choose_node(page, "/ai/decode")
        find_field(page, "confidence")
        can_type = "[...document.querySelectorAll('.field input, .field select')]"
        assert page.run(f"{can_type}.every((each) => each.disabled)")
        buttons = "[...document.querySelectorAll('.field button')]"
        assert not page.run(f"{buttons}.some((each) => each.checkVisibility())")
        assert "read-only" in page.run("document.getElementById('where').innerText")
