"""Chromium for the tests of web pages, which may reach this machine only; a `conftest.py` imports the fixtures."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CANDIDATES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SCREENS = Path(os.environ.get("SCREENS", Path(__file__).parents[1] / "build" / "screens"))
LOOPBACK = ("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    program = next(filter(None, map(shutil.which, CANDIDATES)), None)
    assert program, "Browser tests need Chromium: `make machine` installs it (Debian, as root)."
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"], env={**os.environ, "LANG": "C"}
        )
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh profile. It reaches this machine only, and an error in a page's own code fails the test."""
    context = browser.new_context(
        viewport={"width": 960, "height": 760}, locale="en-GB", timezone_id="Europe/Berlin", color_scheme="light"
    )
    troubles: list[str] = []
    foreign: list[str] = []

    def only_here(route: Any) -> None:
        host = urlsplit(route.request.url).hostname
        if host in LOOPBACK:
            route.continue_()
        else:
            foreign.append(route.request.url)
            route.abort()

    context.route("**/*", only_here)
    context.set_default_timeout(30_000)
    made = context.new_page()
    made.on("pageerror", lambda error: troubles.append(str(error)))
    yield made
    context.close()
    assert troubles == []
    assert foreign == []
