"""The dashboard's page in Chromium: the fixtures of its tests, and what they look at."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from benchmarks.chromium_page import ChromiumPage, find_chromium, open_chromium

STATUS = "document.getElementById('status')?.textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromiumPage]:
    for package in ("starlette", "uvicorn", "websockets"):
        pytest.importorskip(package, reason=f"the package {package} is not installed")
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium fonts-dejavu-core")
    with open_chromium(chromium, tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(browser: ChromiumPage) -> Iterator[ChromiumPage]:
    """A page without anything stored; it must have reported no fault in the end."""
    browser.show_as(1280, 900)
    browser.run("0")  # what it still had to report of the test before
    browser.faults.clear()
    yield browser
    if browser.run("location.protocol") == "http:":
        browser.run("localStorage.clear(), sessionStorage.clear()")
    # A server that ends leaves its page without a connection.
    faults = [fault for fault in browser.faults if "WebSocket connection" not in fault]
    browser.open("about:blank")
    assert faults == []


def show(page: ChromiumPage, address: str) -> None:
    """Open the page and wait until it observes."""
    page.open(address)
    page.wait_for(f"{STATUS} === 'observing'")


def look_at(page: ChromiumPage, panel: str) -> None:
    """Bring a panel onto the screen; it is drawn only there."""
    page.run(f"document.getElementById('{panel}').scrollIntoView({{ behavior: 'instant' }})")


def text_of(panel: str) -> str:
    """Return the expression for what a panel shows while it is on the screen."""
    scroll = "panel.scrollIntoView({ behavior: 'instant' }), panel.innerText"
    return f"((panel) => ({scroll}))(document.getElementById('{panel}'))"


def wait_for_text(page: ChromiumPage, panel: str, text: str) -> None:
    page.wait_for(f"{text_of(panel)}.includes({json.dumps(text)})")


def wait_for_image(page: ChromiumPage) -> int:
    """Return the width of the image, once there is one; it comes only while it is on the screen."""
    look = "document.getElementById('image').scrollIntoView({ behavior: 'instant' })"
    return int(page.wait_for(f"({look}, document.querySelector('#image img').naturalWidth)"))


def wait_for_change(page: ChromiumPage, expression: str) -> None:
    """Wait until an expression has another value than now."""
    page.wait_for(f"{expression} !== {json.dumps(page.run(expression))}")


def choose_node(page: ChromiumPage, node: str) -> None:
    """Choose a node in the panel of the parameters."""
    look_at(page, "parameters")
    option = json.dumps(f"#parameters option[value='{node}']")
    page.wait_for(f"document.querySelector({option}) !== null")
    page.run(
        "(() => { const choice = document.getElementById('parameters-node');"
        f" choice.value = {json.dumps(node)}; choice.dispatchEvent(new Event('change')); }})()"
    )


def find_field(page: ChromiumPage, name: str) -> str:
    """Return the selector of the field of a parameter, once it is there."""
    labels = "[...document.querySelectorAll('#parameters .field label')]"
    place = f"{labels}.findIndex((each) => each.innerText === '{name}') + 1"
    return f"#parameters .field:nth-child({page.wait_for(place)})"
