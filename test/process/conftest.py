"""Chromium for the tests of pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.chromium_page import ChromiumPage, find_chromium, open_chromium


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
