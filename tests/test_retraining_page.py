"""The page of a retraining: it says what the numbers say, escapes what comes from outside, and fits a phone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import opened_browser

from studies.show.retraining_page import curves_figure, retraining_page

HOSTILE = '</script><script>document.title = "taken"</script><b>'
CLASSES = ("airplane", HOSTILE, "a class with quite a long name")


def history(epochs: int, validated: bool) -> list[dict[str, float]]:
    rows = []
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "loss": 2 / epoch, "accuracy": 0.6 - 0.3 / epoch, "learning_rate": 0.1, "seconds": 2.0}
        rows.append({**row, **({"val_loss": 1.8 / epoch, "val_accuracy": 0.7 - 0.3 / epoch} if validated else {})})
    return rows


def document(**changes: Any) -> dict[str, Any]:
    """What metrics.json holds of two seeds on the test images."""
    split = changes.get("split", "test")
    seeds = [
        {
            "seed": seed,
            "model": f"seed-{place}.keras",
            "accuracy": accuracy,
            "loss": 0.8,
            "class_accuracy": {CLASSES[0]: 0.9, CLASSES[1]: 0.5 + 0.1 * place, CLASSES[2]: None},
            "confusion": [[90, 10, 0], [50, 50, 0], [0, 0, 0]],
            "seconds": 20.0,
            "history": history(12, split == "validation"),
        }
        for place, (seed, accuracy) in enumerate([(5, 0.7312), (6, 0.7344)])
    ]
    values: dict[str, Any] = {
        "study": HOSTILE,
        "trial": 7,
        "split": split,
        "words": "searched 0.7712, retrained 0.7328 +- 0.0023 (2 seeds), optimism 0.0384, report 0.7081, gain 0.0247",
        "searched": 0.7712,
        "mean": 0.7328,
        "spread": 0.0023,
        "interval": (0.7125, 0.7531),
        "optimism": 0.0384,
        "report": 0.7081,
        "gain": 0.0247,
        "reproduces": None,
        "told": [],
        "best_seed": 1,
        "classes": CLASSES,
        "measured_images": 10_000,
        "train_images": 50_000,
        "search_train_images": 45_000,
        "on_cifar10": True,
        "seeds": seeds,
        "search_history": history(12, True),
        "comparison": None,
        "config": {
            "batch_size": 32,
            "learning_rate": 0.05,
            "epochs": 12,
            "step_epochs": [10, 20],
            "precision": "float32",
        },
        "data": {"source": "cifar10", "fingerprint": "sha256:" + "0" * 64},
        "device": "a processor with a name as long as those of processors are",
        "search_device": "NVIDIA H100",
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0"},
        "search_versions": {"python": "3.11.7", "tensorflow": "2.20.0"},
        "git_commit": "a" * 40,
        "finished": "2026-01-31T12:00:00Z",
    }
    return {**values, **changes}


COMPARISON = {
    "text": "Trial 7 is picked, but it can't be told from trial 3.",
    "candidates": [
        {"trial": 7, "searched": 0.77, "mean": 0.7611, "spread": 0.002, "scores": (0.76,), "failure": ""},
        {"trial": 3, "searched": 0.78, "mean": None, "spread": None, "scores": (), "failure": "seed 9 diverged"},
    ],
}


def text_of(page: str) -> str:
    """What a reader sees of a page: without scripts, styles and tags."""
    without = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.S)
    return " ".join(re.sub(r"<[^>]*>", " ", without).split())


def test_page_gives_score_spread_interval_optimism_and_gain() -> None:
    text = text_of(retraining_page(document()))
    for said in ("0.7712 searched", "0.7328 retrained", "&plusmn; 0.0023 spread", "0.7125 &ndash; 0.7531 95% interval"):
        assert said in text
    assert "+0.0384 optimism" in text
    assert "+0.0247 gain over the report's 0.7081" in text
    assert "seed-1.keras best" in text
    assert "10,000 test images" in text
    assert "tensorflow 2.21.0 (in the search 2.20.0)" in text


def test_one_seed_says_it_has_none() -> None:
    one = document(spread=None, interval=None, seeds=document()["seeds"][:1], best_seed=0)
    text = text_of(retraining_page(one))
    assert "none spread: one seed has none" in text
    assert "none 95% interval: needs two seeds" in text


def test_validation_has_its_answer_and_no_report() -> None:
    answer = {"answer": True, "text": "Yes: it lies within."}
    changed = document(split="validation", report=None, gain=None, reproduces=answer)
    text = text_of(retraining_page(changed))
    assert "Does it reproduce? Yes: it lies within." in text
    assert "gain over" not in text
    assert "on 10,000 validation images" in text


def test_candidates_and_what_must_be_known_are_on_the_page() -> None:
    text = text_of(retraining_page(document(comparison=COMPARISON, told=["The recipe was edited."])))
    assert "The recipe was edited." in text
    assert "7 0.7700 0.7611 0.0020 +0.0089 picked" in text
    assert "3 0.7800 - - - seed 9 diverged" in text


def test_names_from_outside_are_shown_and_not_obeyed() -> None:
    made = retraining_page(document())
    assert HOSTILE not in made
    assert "&lt;/script&gt;" in made
    assert not re.findall(r'(?:src|href)="http', made.partition("<script>")[0])


def test_curves_hold_seeds_search_report_and_test() -> None:
    figure = curves_figure(document(), "accuracy")
    assert figure.layout.yaxis.tickformat == ".0%"
    traces = {trace.name: trace for trace in figure.data}
    assert set(traces) == {"training", "validation in the search", "validation in the report, 2022", "test"}
    assert list(traces["test"].y) == [0.7312, 0.7344]
    assert max(traces["validation in the report, 2022"].x) == 12
    names = [trace.name for trace in curves_figure(document(split="validation", on_cifar10=False), "loss").data]
    assert names == ["training", "training", "validation", "validation", "validation in the search"]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    with opened_browser(tmp_path) as opened:
        yield opened


def test_browser_draws_the_page_alone_and_it_fits_a_phone(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(retraining_page(document(comparison=COMPARISON)), encoding="utf-8")
    pictures = Path(os.environ.get("ALEXSEARCH_TEST_PICTURES", tmp_path))
    for width, scheme in ((1280, "light"), (360, "dark")):
        metrics = {"width": width, "height": 1800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get((tmp_path / "index.html").as_uri())
        assert browser.execute_script("return document.querySelectorAll('.plot .main-svg').length") >= 2
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} px on a screen of {width}"
        assert browser.title != "taken"
        browser.save_screenshot(str(pictures / f"retraining-{width}-{scheme}.png"))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
