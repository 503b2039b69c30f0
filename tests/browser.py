"""A headless Chromium, and how tests ask it what it shows."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest


@contextmanager
def opened_browser(folder: Path) -> Iterator[Any]:
    """A browser that keeps its profile in `folder`, its downloads in `folder`/downloads. Skips where there is none."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver on the PATH (Debian: apt-get install chromium chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "window-size=1400,1800", f"user-data-dir={folder / 'chromium'}",
    ):  # fmt: skip
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield opened
    finally:
        opened.quit()


def wait(ask: Callable[[], Any], seconds: float = 60) -> Any:
    """The first answer that is true, or the last one there was time for."""
    end = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < end:
        time.sleep(0.2)
    return answer


def shown(browser: Any) -> str:
    return str(browser.execute_script("return document.body.innerText"))


def wait_for(browser: Any, *texts: str) -> None:
    """Returns once the page shows all of `texts`."""
    wait(lambda: all(text in shown(browser) for text in texts))
    missing = [text for text in texts if text not in shown(browser)]
    assert not missing, f"{browser.current_url} never showed {missing}, only:\n{shown(browser)}"


def complaints(browser: Any) -> list[Any]:
    """What the browser had to complain of since it was last asked: refused scripts and styles, errors."""
    return [
        entry
        for entry in browser.get_log("browser")
        if entry["level"] in ("SEVERE", "WARNING") and entry["source"] != "rendering"  # WebGL without a GPU
    ]


def requested_urls(browser: Any) -> list[str]:
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    # Not the browser's own start page, and nothing that stays inside the page.
    return [url for url in urls if urlsplit(url).scheme not in ("chrome", "data", "blob")]
