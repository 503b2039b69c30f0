"""The README's pictures of a study.

    python tests/benchmarks/pictures.py --study quick [--home runs] [--out docs]

writes OUT/STUDY.png, and OUT/dashboard.png, a screenshot of optuna-dashboard by headless Chromium. With --live, while a
run goes on, it writes OUT/live.png instead: our page of the study.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from search.screen.reporting import write_picture
from studies.record.catalog import find_study
from studies.show.dashboard import serving
from studies.store.opening import open_storage
from studies.store.urls import storage_url

OPTIONS = (
    *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "hide-scrollbars", "window-size=1400,1150"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study")
    parser.add_argument("--home", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--live", action="store_true", help="only the study's live view")
    asked = parser.parse_args()
    storage = open_storage(storage_url(None, asked.home), create=False)
    record = find_study(storage, asked.study)
    if asked.live:
        with serving(storage, port=0, study=record.name) as url:
            print(screenshot(url, asked.out / "live.png", ".lane .now strong", least=1))
        return
    write_picture(storage, record.name, asked.out / f"{record.name}.png", "png")
    with serving(storage, port=0, study=record.name) as url:
        theirs = url.replace("/studies/", "/dashboard/studies/")
        print(screenshot(theirs, asked.out / "dashboard.png", ".main-svg", least=6))


def screenshot(url: str, path: Path, drawn: str, *, least: int) -> Path:
    """The page as a PNG of few colours, once it has as many elements of the selector `drawn`."""
    options = webdriver.ChromeOptions()
    for option in OPTIONS:
        options.add_argument(f"--{option}")
    with tempfile.TemporaryDirectory() as profile:
        options.add_argument(f"--user-data-dir={profile}")
        with webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")) as browser:
            browser.get(url)
            WebDriverWait(browser, 60).until(lambda b: len(b.find_elements(By.CSS_SELECTOR, drawn)) >= least)
            picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


if __name__ == "__main__":
    main()
