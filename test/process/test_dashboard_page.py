"""The dashboard's page as a whole: its connection, its history, and whether it can be read."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from benchmarks.chromium_page import ChromiumPage
from dashboard_page_kit import served, wait_until
from dashboard_view import (
    STATUS,
    choose_node,
    look_at,
    show,
    text_of,
    wait_for_image,
    wait_for_text,
)
from scripted_robot import ScriptedRobot

TOKEN = "correct+horse%20battery#staple"
PANELS = "[...document.querySelectorAll('.panel')].map((panel) => panel.id)"
# Texts whose contrast with what is behind them is too low, by the formula of the WCAG.
LOW_CONTRAST = """
(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = parse(getComputedStyle(each).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE)
      .map((node) => node.data.trim()).join("");
    if (!text || !element.checkVisibility() || element.closest(".stale, :disabled")) continue;
    const pair = [parse(getComputedStyle(element).color), background(element)].map(luminance);
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (contrast < 4.5) found.push(`${contrast.toFixed(2)} ${element.tagName} ${text}`);
  }
  return found;
})()
"""
EMPTY_CHARTS = """
[...document.querySelectorAll("#charts figure:not([hidden])")].filter((figure) => {
  const canvas = figure.querySelector("canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return !data.some((part) => part > 0);
}).map((figure) => figure.innerText)
"""


@pytest.fixture
def robot() -> ScriptedRobot:
    robot = ScriptedRobot()
    robot.fill_history(120)
    return robot


def test_the_page_comes_back_after_the_server_does(
    page: ChromiumPage, robot: ScriptedRobot
) -> None:
    is_stale = "document.getElementById('panels').classList.contains('stale')"
    with served(robot) as address:
        show(page, address)
        page.click("#image-on")
        wait_for_image(page)
    page.wait_for(f"{STATUS}.includes('lost')")
    assert page.run(is_stale)
    later = ScriptedRobot()
    later.fill_history(3600)
    with served(later, port=urlsplit(address).port or 0):
        page.wait_for(f"{STATUS} === 'observing'")
        assert not page.run(is_stale)
        # What was asked for is asked for again.
        wait_until(lambda: later.viewers != [])
        page.wait_for(
            "import(location.origin + '/main.js').then(({ store }) => store.times.length > 200)"
        )


def test_the_page_waits_for_a_pipeline(page: ChromiumPage, robot: ScriptedRobot) -> None:
    sentence = "no pipeline runs: start one, or check ROS_DOMAIN_ID"
    robot.change(status=sentence, namespace="")
    with served(robot) as address:
        page.open(address)
        page.wait_for(f"{STATUS} === '{sentence}'")
        assert page.run("document.getElementById('panels').classList.contains('stale')")
        robot.change()
        page.wait_for(f"{STATUS} === 'observing'")


def test_the_token_leaves_the_address(page: ChromiumPage, robot: ScriptedRobot) -> None:
    with served(robot, token=TOKEN) as address:
        show(page, address + "#token=correct%2Bhorse%2520battery%23staple")
        assert page.run("location.href") == address
        page.call("Page.reload")
        page.wait_for(f"{STATUS} === 'observing'")


def test_the_page_asks_for_the_right_token(page: ChromiumPage, robot: ScriptedRobot) -> None:
    with served(robot, token=TOKEN) as address:
        page.open(address + "#token=wrong")
        page.wait_for(f"{STATUS} === 'the token is missing or wrong'")
        page.wait_for("document.activeElement.id === 'token'")
        page.type_text("#token", TOKEN)
        page.press("Enter")
        page.wait_for(f"{STATUS} === 'observing'")
        assert not page.run("document.getElementById('token-form').checkVisibility()")


@pytest.mark.parametrize(("seconds", "points"), [(300, 300), (900, 720), (3600, 720)])
def test_the_history_has_the_chosen_range(
    page: ChromiumPage, robot: ScriptedRobot, seconds: int, points: int
) -> None:
    robot.fill_history(3600)
    with served(robot) as address:
        show(page, address)
        look_at(page, "charts")
        page.wait_for("document.querySelectorAll('#charts canvas').length >= 8")
        page.click(f"#charts input[value='{seconds}']")
        count = f"(store) => store.rangeS === {seconds} && store.times.length"
        main = "import(location.origin + '/main.js')"
        held = page.wait_for(
            f"{main}.then(({{ store }}) => ({count})(store))"
            f".then((count) => count > {points * 0.8} && count)"
        )
        assert held <= points * 1.1
        page.wait_for(f"{EMPTY_CHARTS}.length === 0")
        wait_for_text(page, "charts", "inference p99")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(360, 800), (1280, 800)])
def test_the_page_can_be_read(
    page: ChromiumPage, robot: ScriptedRobot, width: int, height: int, theme: str
) -> None:
    page.show_as(width, height, theme)
    with served(robot, may_change=True) as address:
        show(page, address)
        choose_node(page, "/ai/decode")
        for panel in page.run(PANELS):
            look_at(page, panel)
            page.wait_for(f"{text_of(panel)}.length > {len(panel)}")
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run(LOW_CONTRAST) == []


def test_the_theme_can_be_chosen(page: ChromiumPage, robot: ScriptedRobot) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with served(robot) as address:
        show(page, address)
        light = page.run(background)
        page.click("#theme")
        assert page.run(background) == light  # that of the system, which is light
        page.click("#theme")
        assert page.run(background) != light
        page.call("Page.reload")
        page.wait_for("document.getElementById('theme')?.textContent === 'theme: dark'")
        assert page.run(background) != light


def test_the_page_can_be_used_with_the_keyboard(page: ChromiumPage, robot: ScriptedRobot) -> None:
    with served(robot) as address:
        show(page, address)
        page.press("Tab")
        assert page.run("document.activeElement.className") == "skip"
        page.run("document.querySelector('#image summary').focus()")
        page.press("Enter")
        page.wait_for("!document.getElementById('image').open")
        page.press("Enter")
        page.wait_for("document.getElementById('image').open")
        page.press("Tab")
        assert page.run("document.activeElement.id") == "image-on"
        page.press(" ")
        wait_until(lambda: robot.viewers != [])


def test_an_hour_of_points_is_thinned(page: ChromiumPage, robot: ScriptedRobot) -> None:
    """Two hours at ten points a second, in the store of the page."""
    script = """
    import(location.origin + "/series_store.js").then(({ SeriesStore }) => {
      const store = new SeriesStore();
      store.setRange(3600);
      let most = 0;
      for (let i = 0; i < 72000; i += 1) {
        // Every fifth second is slow once. A series goes that has been silent for long.
        const value = i % 50 === 7 ? 100 : 1;
        store.append({ at_s: 1e9 + i / 10, values: { [i < 30000 ? "old" : "new"]: value } });
        most = Math.max(most, store.times.length);
      }
      const { times, values } = store;
      return { most, span: times.at(-1) - times[0], names: [...values.keys()],
        slow: values.get("new").slice(-600).filter((value) => value === 100).length,
        back: store.append({ at_s: 1, values: {} }) };
    })
    """
    with served(robot) as address:
        show(page, address)
        found = page.run(script)
    assert found["most"] <= 720 * 1.25
    assert 3500 < found["span"] < 4100
    assert found["names"] == ["new"]
    # 600 points are 2700 s; no slow one is lost. A clock that goes back is noticed.
    assert found["slow"] >= 535
    assert found["back"] is False
