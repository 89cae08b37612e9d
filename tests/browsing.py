"""A real headless browser that looks at report pages, and hears all that they say on the console or ask of a network."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENSHOTS = Path(__file__).parent.parent / "build" / "screenshots"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def a_browser() -> Iterator[Any]:
    """Start Chromium with a profile of its own; without one the test is skipped, in CI it fails."""
    if CHROMIUM is None:
        words = "there is no Chromium on this machine: `apt-get install chromium` brings one"
        pytest.fail(words) if os.environ.get("CI") == "true" else pytest.skip(words)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Look:
    """One page open in the browser."""

    def __init__(self, browser: Any, file: Path, **settings: Any) -> None:
        self.context = browser.new_context(**{"viewport": WIDE, "color_scheme": "light", **settings})
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        if settings.get("java_script_enabled", True) and self.page.locator("#rows").count():
            self._searched = 0
            self.settled()

    def __enter__(self) -> Look:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.context.close()
        if kind is None:
            assert self.said == []
            assert [url for url in self.asked if not url.startswith(("file:", "data:", "blob:"))] == []

    def shot(self, name: str, *, whole: bool = True) -> None:
        """Keep what is seen."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole)

    def until(self, expression: str, *, seconds: float = 30) -> None:
        """Wait until an expression is true. (The page's policy forbids what the browser's driver would do for it.)"""
        ends = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < ends, f"{expression} never came true"
            self.page.wait_for_timeout(20)

    def settled(self) -> None:
        """Wait until the search that was just asked for is through."""
        self.until(f"Number(document.getElementById('rows').dataset.search) > {self._searched}")
        self._searched = int(self.page.locator("#rows").get_attribute("data-search") or 0)

    @property
    def counted(self) -> str:
        """What is said about how many rows fit."""
        return str(self.page.locator("#count").inner_text())

    def is_wider_than_the_screen(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))
