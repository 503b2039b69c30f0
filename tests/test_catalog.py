"""Studies found, told apart from other programs', and their best and failed trials, on both databases."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState
from study_maker import DATA, make_foreign, make_study

from studies.queue.queue import Queue
from studies.queue.standing import Counts
from studies.record.catalog import (
    LISTED,
    StudyError,
    StudyRecord,
    all_studies,
    best_trial,
    described,
    find_study,
    last_failures,
    open_study,
    top_trials,
    trial_by_number,
)
from studies.store.epochs import epoch_history
from studies.store.storage import Storage


def numbers(storage: Storage, study: StudyRecord, count: int = 10) -> list[int]:
    return [trial.number for trial in top_trials(storage, study, count)]


def test_study_is_made_once_and_its_first_attributes_stay(storage: Storage) -> None:
    first, made = open_study(storage, "s", {"space": {"a": 1}, "data": DATA})
    again, made_again = open_study(storage, "s", {"space": {"a": 2}, "data": {}})
    assert (made, made_again) == (True, False)
    assert first == again
    assert again.attributes["space"] == {"a": 1}
    assert again.attributes["uid"]


def test_only_study_of_ours_is_taken_without_a_name(storage: Storage) -> None:
    make_foreign(storage, "theirs", (1.0,), directions=("minimize",))
    make_study(storage, 0.5)
    assert find_study(storage, None).name == "small"
    assert find_study(storage, "theirs").is_ours is False


def test_several_studies_without_a_name_are_listed_ready_to_type(storage: Storage) -> None:
    make_study(storage, name="b c")
    make_study(storage, name="a")
    make_foreign(storage, "theirs", directions=("minimize",))
    with pytest.raises(StudyError, match=r"--study NAME: a, 'b c'\.$"):
        find_study(storage, None)


def test_long_list_of_studies_is_cut(storage: Storage) -> None:
    for number in range(LISTED + 3):
        make_foreign(storage, f"s{number:02d}", directions=("minimize",))
    with pytest.raises(StudyError, match="s19 and 3 more, see `alexsearch studies`"):
        find_study(storage, "nope")


def test_missing_study_names_the_database_and_the_way_out(storage: Storage) -> None:
    with pytest.raises(StudyError, match=r"no study in .* yet. Start one with `alexsearch run quick`"):
        find_study(storage, None)
    with pytest.raises(StudyError, match=r"'nope' is not in .*It has none yet"):
        find_study(storage, "nope")


def test_control_codes_in_a_name_never_reach_a_message(storage: Storage) -> None:
    make_foreign(storage, "red\x1b[31m\nline", directions=("minimize",))
    with pytest.raises(StudyError) as caught:
        find_study(storage, "nope")
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert r"red\x1b[31m\nline" in str(caught.value)


def test_best_are_the_complete_ones_with_the_highest_values_the_earlier_of_equals(storage: Storage) -> None:
    study = make_study(storage, 0.3, 0.6, TrialState.PRUNED, 0.6, TrialState.FAIL, trials=6)
    assert numbers(storage, study) == [1, 3, 0]
    assert numbers(storage, study, 2) == [1, 3]
    assert best_trial(storage, study).number == 1


def test_best_of_a_minimised_study_is_the_lowest(storage: Storage) -> None:
    make_foreign(storage, "theirs", (3.0,), (1.0,), (2.0,), directions=("minimize",))
    assert numbers(storage, find_study(storage, "theirs")) == [1, 2, 0]


def test_infinite_value_is_never_the_best(storage: Storage) -> None:
    make_foreign(storage, "theirs", (float("inf"),), (-1.0,), (float("-inf"),), directions=("maximize",))
    assert numbers(storage, find_study(storage, "theirs")) == [1]


def test_study_of_several_objectives_has_no_best_trial(storage: Storage) -> None:
    make_foreign(storage, "theirs", (1.0, 2.0), directions=("minimize", "maximize"))
    study = find_study(storage, "theirs")
    assert top_trials(storage, study, 5) == []
    with pytest.raises(StudyError, match="has 2 objectives"):
        best_trial(storage, study)


def test_study_without_a_complete_trial_says_how_it_stands(storage: Storage) -> None:
    study = make_study(storage, TrialState.PRUNED, trials=2)
    with pytest.raises(StudyError, match=r"no complete trial .*1 of 2 settled: 1 pruned; 1 waiting"):
        best_trial(storage, study)


def test_last_failures_come_with_their_reasons(storage: Storage) -> None:
    study = make_study(storage, TrialState.FAIL, 0.5, TrialState.FAIL, TrialState.FAIL)
    found = last_failures(storage, study, 2)
    assert [failure.number for failure in found] == [3, 2]
    assert found[0].reason == "diverged: the loss became NaN"


def test_failure_without_a_reason_is_not_hidden(storage: Storage) -> None:
    study = make_study(storage)
    queue = Queue(storage, study.study_id)
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    queue.settle(slot, taken.trial_id, TrialState.FAIL, None, {})
    assert [failure.reason for failure in last_failures(storage, study, 5)] == ["not recorded"]


def test_trial_without_a_value_is_refused_with_its_state(storage: Storage) -> None:
    study = make_study(storage, 0.5, TrialState.PRUNED, TrialState.FAIL)
    assert trial_by_number(storage, study, 0).value == 0.5
    assert trial_by_number(storage, study, 1).state is TrialState.PRUNED
    with pytest.raises(StudyError, match=r"trial 2 .* failed \(diverged"):
        trial_by_number(storage, study, 2)
    with pytest.raises(StudyError, match=r"trial 3 .* is waiting"):
        trial_by_number(storage, study, 3)
    with pytest.raises(StudyError, match="no trial 4: its numbers are 0 to 3"):
        trial_by_number(storage, study, 4)


def test_history_holds_every_epoch_from_the_first(storage: Storage) -> None:
    study = make_study(storage, 0.5)
    history = epoch_history(storage, trial_by_number(storage, study, 0)._trial_id)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert set(history[0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"}


def test_studies_come_oldest_first(storage: Storage) -> None:
    make_study(storage, name="z")
    make_study(storage, name="a")
    assert [study.name for study in all_studies(storage)] == ["z", "a"]


def test_counts_in_words_leave_out_what_is_zero() -> None:
    assert (
        described(Counts(4, 1, 2, 1, 0, 3)) == "3 of 8 settled: 2 complete, 1 pruned; 1 running, 4 waiting; 3 retried"
    )
    assert described(Counts(0, 0, 0, 0, 0, 0)) == "0 of 0 settled"
