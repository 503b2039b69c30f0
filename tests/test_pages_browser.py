"""Our pages in a real browser: clicked through with a run going on, on a phone, in the dark, with a keyboard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
import pytest
from browser import complaints, opened_browser, requested_urls, shown, wait, wait_for
from optuna.trial import TrialState, create_trial
from study_maker import make_study

from search.retraining.recipe import read_recipe
from search.screen.serving import recipe_text
from studies.queue.queue import Queue, Taken
from studies.show.dashboard import serving
from studies.store.opening import open_storage
from studies.store.storage import Storage

HOSTILE = "\"><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
PAGES = ("/", "/studies/1", "/studies/1/trials/0", "/studies/1/trials/3", "/studies/1/best",
         "/studies/1/compare?trial=0&trial=1&trial=2&trial=4", "/studies/2", "/studies/2/trials/0",
         "/studies/9")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def storage(folder: Path) -> Storage:
    """A study of ours of 12 trials, five of them settled, and another program's with a hostile name."""
    storage = open_storage(f"sqlite:///{folder / 'study.db'}")
    make_study(storage, 0.41, 0.52, TrialState.PRUNED, TrialState.FAIL, 0.3, trials=12)
    theirs = optuna.create_study(storage=storage, study_name=HOSTILE)
    theirs.add_trial(
        create_trial(
            value=0.5,
            params={HOSTILE: HOSTILE},
            distributions={HOSTILE: optuna.distributions.CategoricalDistribution([HOSTILE])},
            user_attrs={"reason": HOSTILE, HOSTILE: HOSTILE},
            intermediate_values={1: 0.4, 2: 0.5},
        )
    )
    return storage


@pytest.fixture(scope="module")
def url(storage: Storage) -> Iterator[str]:
    with serving(storage, port=0, allow_edits=True, recipe=recipe_text(storage)) as url:
        yield url.rstrip("/")


@pytest.fixture(scope="module")
def opened(folder: Path) -> Iterator[Any]:
    with opened_browser(folder) as browser:
        yield browser


@pytest.fixture
def browser(opened: Any) -> Any:
    """On a desktop, in the light, with nothing to complain of."""
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    complaints(opened)
    requested_urls(opened)
    return opened


def take(queue: Queue, device: str) -> tuple[str, Taken]:
    slot = queue.join(device)
    taken = queue.take(slot)
    assert taken is not None
    queue.describe(slot, taken.trial_id, {"config": {"batch_size": 32, "learning_rate": 0.01, "epochs": 4}})
    return slot, taken


def epoch(number: int, value: float) -> dict[str, float]:
    metrics = {"loss": 1.0, "accuracy": value, "val_loss": 1.1, "val_accuracy": value}
    return {**metrics, "epoch": number, "learning_rate": 0.01, "seconds": 3.0}


def click(browser: Any, selector: str) -> None:
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", one(browser, selector))
    one(browser, selector).click()


def one(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    chain = ActionChains(browser)
    for key in keys:
        chain.send_keys(getattr(Keys, key))
    chain.perform()


def test_a_running_study_is_watched_compared_exported_stopped_and_continued(
    storage: Storage, url: str, browser: Any, folder: Path
) -> None:
    queue = Queue(storage, 1)
    (slot, taken), _ = take(queue, "gpu 0: card"), take(queue, "gpu 1: card")
    queue.record_epoch(slot, taken.trial_id, epoch(1, 0.2345), images_per_second=1234.0)
    browser.get(url)
    click(browser, ".study:last-child h2 a")
    wait_for(
        browser,
        "small",
        "running",
        "gpu 0: card",
        "gpu 1: card",
        "1 of 4 epochs",
        "0.2345",
        "1,234",
    )

    # What happens shows without a reload, and what the reader was about to do stays.
    browser.execute_script("window.stayed = true")
    for number in (0, 1):
        click(browser, f"input[value='{number}']")
    queue.record_epoch(slot, taken.trial_id, epoch(2, 0.3456), images_per_second=1300.0)
    wait_for(browser, "2 of 4 epochs", "0.3456", "2 of at most 8")
    assert browser.execute_script("return window.stayed && document.activeElement.value") == "1"

    click(browser, "form[data-most] button")
    wait_for(browser, "2 trials side by side", "learning_rate")
    assert "trial=0" in browser.current_url
    assert "trial=1" in browser.current_url
    assert len(browser.find_elements("css selector", ".paths path")) == 2
    one(browser, "#add").send_keys("4")
    click(browser, ".inline button")
    wait_for(browser, "3 trials side by side")
    one(browser, "svg.area").click()
    press(browser, "ARROW_LEFT", "ARROW_RIGHT")
    wait_for(browser, "epoch 2", "trial 4")

    browser.get(f"{url}/studies/1/best")
    wait_for(browser, "The best of small", "alexsearch retrain small-trial-1.toml --seeds 3")
    click(browser, ".button.strong")
    recipe = folder / "downloads" / "small-trial-1.toml"
    assert wait(recipe.is_file)
    assert read_recipe(recipe).trial == 1
    assert not read_recipe(recipe).edited
    click(browser, "button[data-copy=retrain]")
    wait_for(browser, "Copied")

    browser.get(f"{url}/studies/1")
    click(browser, "form[action$='/stop'] button:not([name])")
    wait_for(browser, "Told to stop")
    assert queue.stop_requested() == "after"
    click(browser, "form[action$='/continue'] button")
    wait_for(browser, "Stop now")
    assert queue.stop_requested() is None
    click(browser, "button[name=now]")
    wait_for(browser, "go back into the queue")
    assert queue.stop_requested() == "now"
    queue.begin()

    assert complaints(browser) == []
    assert {urlsplit(asked).netloc for asked in requested_urls(browser)} == {urlsplit(url).netloc}


def test_hostile_names_run_nothing(url: str, browser: Any) -> None:
    for path in ("/", "/studies/2", "/studies/2/trials/0", "/studies/2/compare?trial=0", "/studies/2/best"):
        browser.get(url + path)
        wait_for(browser, "document.title='taken'")
        assert browser.title != "taken"
        assert not browser.find_elements("css selector", "main img, main script")
        if browser.find_elements("css selector", "svg.area"):
            one(browser, "svg.area").click()
            press(browser, "HOME")
            assert wait(lambda: browser.execute_script("return !document.querySelector('.tip').hidden"))
    assert complaints(browser) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_in_light_and_dark(url: str, browser: Any, folder: Path, scheme: str) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    pictures = Path(os.environ.get("ALEXSEARCH_TEST_PICTURES", folder))
    for path in PAGES:
        browser.get(url + path)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390, path
        colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) < 200) == (scheme == "dark")
        browser.save_screenshot(str(pictures / f"phone-{scheme}{path.partition('?')[0].replace('/', '-')}.png"))
    moving = "return [...document.querySelectorAll('.bar rect')].map(e => getComputedStyle(e).transitionDuration)"
    browser.get(f"{url}/studies/1")
    assert set(browser.execute_script(moving)) == {"0s"}


def test_a_keyboard_reaches_everything_and_sees_where_it_is(url: str, browser: Any) -> None:
    browser.get(f"{url}/studies/1")
    press(browser, "TAB")
    assert browser.execute_script("return document.activeElement.className") == "skip"
    press(browser, "ENTER")
    reached: list[str] = []
    for _ in range(80):
        press(browser, "TAB")
        at = "const e = document.activeElement; return [e.tagName, getComputedStyle(e).outlineStyle, e.textContent]"
        tag, outline, text = browser.execute_script(at)
        if tag == "BODY":
            break
        assert outline == "solid", text
        reached.append(f"{tag} {text.strip()}")
    for wanted in ("A Best configuration", "A complete", "BUTTON Compare the chosen ones"):
        assert wanted in reached, shown(browser)
    assert any(each.startswith("svg") for each in reached)
    assert any(each.startswith("INPUT") for each in reached)


@pytest.mark.slow
def test_page_says_that_the_server_is_gone_and_goes_on_when_it_is_back(storage: Storage, browser: Any) -> None:
    with serving(storage, port=0) as url:
        port = urlsplit(url).port or 0
        browser.get(f"{url}studies/1")
        wait_for(browser, "updated")
    wait_for(browser, "no answer, trying again")
    with serving(storage, port=port):
        wait_for(browser, "updated")
        assert "no answer" not in shown(browser)
    wait_for(browser, "small")
