"""A real browser for the tests: Debian's Chromium without a window, which may ask nobody but this machine."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # CI is root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--window-size=1400,1700",
)

_READABLE = Path(__file__).with_name("readable_page.js")


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A browser with a new profile. Where there is none the test is skipped, but not in CI."""
    webdriver = pytest.importorskip("selenium.webdriver")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        assert not os.environ.get("CI"), "CI needs Chromium: apt-get install chromium chromium-driver"
        pytest.skip("no chromium and chromedriver on the path")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in (*_OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    browser.set_page_load_timeout(60)
    try:
        yield browser
    finally:
        browser.quit()


def unreadable(browser: Any) -> list[str]:
    """What a reader of the page as it is shown could not read (`readable_page.js`), with every box unfolded."""
    from selenium.webdriver.support.ui import WebDriverWait

    ready = "return document.readyState === 'complete' && [...document.images].every(image => image.complete)"
    WebDriverWait(browser, 30).until(lambda chrome: chrome.execute_script(ready))
    browser.execute_script("document.querySelectorAll('details').forEach(box => box.open = true)")
    found: list[str] = browser.execute_script(_READABLE.read_text(encoding="utf-8"))
    return found


def complaints(browser: Any) -> list[str]:
    """Errors and warnings in the console since it was last asked."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def asked_outside(browser: Any) -> list[str]:
    """The addresses that pages asked for since it was last asked, but for those of this machine."""
    asked = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        parameters = message["params"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(parameters["request"]["url"])
        elif message["method"] == "Network.webSocketCreated":
            asked.append(parameters["url"])
    addresses = [urlsplit(url) for url in asked]  # data:, blob:, file: and the browser's own chrome: ask nobody
    return [
        address.geturl()
        for address in addresses
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname not in ("127.0.0.1", "localhost")
    ]
