"""What is kept of a retraining with its study, and the figures that are made of its scores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from study_maker import make_study

from studies.record.catalog import StudyRecord, find_study
from studies.record.retrained import (
    Retrained,
    Split,
    Verified,
    confidence_interval,
    next_seed_interval,
    read,
    record,
    record_verified,
    reproduced,
    summarised,
    verified,
)
from studies.store.opening import open_storage
from studies.store.storage import Storage

SCORES = {5: 0.7620, 6: 0.7690, 7: 0.7652}


def of_trial(number: int = 1, split: Split = "test", scores: dict[int, float] = SCORES) -> Retrained:
    return summarised(
        trial=number,
        searched=0.7712,
        split=split,
        scores=scores,
        images=50_000,
        finished="2026-01-31T12:00:00Z",
        folder="runs/small",
        is_cifar10=True,
    )


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(f"sqlite:///{tmp_path / 'study.db'}")


@pytest.fixture
def study(storage: Storage) -> StudyRecord:
    return make_study(storage, 0.4, 0.6)


def test_interval_is_students() -> None:
    # By a table of t: t(0.975, 2) = 4.3027, t(0.975, 4) = 2.7764.
    low, high = confidence_interval([1.0, 2.0, 3.0]) or (0, 0)
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)
    low, high = next_seed_interval([1.0, 2.0, 3.0, 4.0, 5.0]) or (0, 0)
    half = 2.7764 * 2.5**0.5 * 1.2**0.5
    assert (low, high) == pytest.approx((3 - half, 3 + half), abs=1e-3)


def test_one_seed_has_neither_spread_nor_interval() -> None:
    one = of_trial(scores={5: 0.75})
    assert (one.mean, one.spread, one.interval) == (0.75, None, None)
    assert confidence_interval([0.75]) is next_seed_interval([0.75]) is None
    assert one.in_words() == "searched 0.7712, retrained 0.7500 (1 seed), optimism 0.0212, report 0.7081, gain 0.0419"


def test_words_give_score_optimism_and_gain() -> None:
    assert of_trial().in_words() == (
        "searched 0.7712, retrained 0.7654 +- 0.0035 (3 seeds), optimism 0.0058, report 0.7081, gain 0.0573"
    )


def test_report_is_compared_with_the_test_images_only() -> None:
    assert of_trial(split="validation").gain is None
    assert "report" not in of_trial(split="validation").in_words()


def test_record_comes_back_and_the_later_one_counts(storage: Storage, study: StudyRecord) -> None:
    record(storage, study, of_trial())
    later = of_trial(scores={5: 0.7})
    record(storage, study, later)
    record(storage, study, of_trial(0))
    assert read(find_study(storage, "small")) == {0: of_trial(0), 1: later}


def test_test_images_outweigh_validation_images_whichever_came_last(storage: Storage, study: StudyRecord) -> None:
    on_validation = of_trial(split="validation")
    record(storage, study, on_validation)
    assert read(find_study(storage, "small")) == {1: on_validation}
    record(storage, study, of_trial())
    record(storage, study, replace(on_validation, mean=0.1))
    found = find_study(storage, "small")
    assert read(found) == {1: of_trial()}
    assert reproduced(found)[1].mean == 0.1


def test_records_that_are_made_at_once_are_all_kept(database_url: str) -> None:
    storage = open_storage(database_url)
    study = make_study(storage, 0.6)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: record(storage, study, of_trial(number)), range(12)))
    assert list(read(find_study(storage, "small"))) == list(range(12))


def test_conclusion_of_verify_comes_back(storage: Storage, study: StudyRecord) -> None:
    assert verified(study) is None
    told = Verified((1, 0), picked=1, second=0, p_value=0.03, told_apart=True, finished="2026-01-31T12:00:00Z")
    record_verified(storage, study, told)
    record_verified(storage, study, replace(told, p_value=0.3, told_apart=False))
    assert verified(find_study(storage, "small")) == replace(told, p_value=0.3, told_apart=False)


@pytest.mark.parametrize("foreign", [3, "x", [], {"1": 3}, {"1": {"trial": 1}}, {"1": None}])
def test_what_something_else_wrote_is_left_out(storage: Storage, study: StudyRecord, foreign: object) -> None:
    for key in ("retrained", "reproduced", "verified"):
        storage.set_study_user_attr(study.study_id, key, foreign)
    found = find_study(storage, "small")
    assert read(found) == {}
    assert verified(found) is None
