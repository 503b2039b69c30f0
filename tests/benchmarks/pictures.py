"""The README's pictures of a finished study.

    python tests/benchmarks/pictures.py --study quick [--home runs] [--out docs]

writes OUT/STUDY.png, and OUT/dashboard.png, a screenshot of optuna-dashboard by headless Chromium.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import optuna
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from studies.catalog import find_study
from studies.dashboard import serving
from studies.storage import open_storage, storage_url
from studies.study_picture import study_figure

OPTIONS = (
    *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "window-size=1400,1150"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study")
    parser.add_argument("--home", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    asked = parser.parse_args()
    storage = open_storage(storage_url(None, asked.home), create=False)
    record = find_study(storage, asked.study)
    study = optuna.load_study(study_name=record.name, storage=storage)
    baseline = study.trials[0].value if record.attributes["space"].get("baseline") else None
    data = record.attributes["data"]
    images = f"{data['train_images']:,} training images"
    title = f"{record.name}: {len(study.trials)} trials on {images}"
    print(study_figure(study, asked.out / f"{record.name}.png", title=title, baseline=baseline))
    with serving(storage, port=0, study=record.name) as url:
        print(screenshot(url, record.name, asked.out / "dashboard.png"))


def screenshot(url: str, study: str, path: Path) -> Path:
    """What optuna-dashboard shows of the study, once its charts are drawn."""
    options = webdriver.ChromeOptions()
    for option in OPTIONS:
        options.add_argument(f"--{option}")
    with tempfile.TemporaryDirectory() as profile:
        options.add_argument(f"--user-data-dir={profile}")
        with webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")) as browser:
            browser.get(url)
            WebDriverWait(browser, 60).until(lambda b: study in b.find_element(By.TAG_NAME, "body").text)
            WebDriverWait(browser, 60).until(lambda b: len(b.find_elements(By.CSS_SELECTOR, ".main-svg")) >= 6)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(browser.get_screenshot_as_png())
    return path


if __name__ == "__main__":
    main()
