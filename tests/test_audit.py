"""Pruned trials trained to their end: what is stored, what is told, and that the study learns nothing of it."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from null_child import Played, fails
from optuna.trial import FrozenTrial, TrialState, create_trial
from study_maker import make_foreign, make_study

from search.base.home import Home
from search.base.mistakes import InputError
from search.base.terminal import Output
from search.retraining.audit import audit_study, choose
from search.retraining.jobs import Means
from search.screen.outcomes import print_audit
from search.screen.progress import Bars
from studies.record.audit import interval, judge
from studies.record.catalog import best_trial
from studies.record.metric import ACCURACY
from studies.store.opening import open_storage
from studies.store.storage import Storage


def complete(value: float) -> FrozenTrial:
    return create_trial(value=value)


def pruned(value: float, audit: float | None = None, *, audited: bool = True, number: int = 0) -> FrozenTrial:
    attributes: dict[str, Any] = {"config": {"epochs": 9}}
    if audited:
        attributes["audit"] = {"value": audit, "epochs": 9, "seconds": 1.0}
    trial = create_trial(value=value, state=TrialState.PRUNED, user_attrs=attributes, intermediate_values={2: value})
    trial.number = number
    return trial


def test_wrong_is_what_would_have_been_among_the_best_tenth() -> None:
    trials = [complete(value / 100) for value in range(1, 21)]  # the best tenth: 0.19 and 0.20
    trials += [pruned(0.1, 0.18), pruned(0.1, 0.19), pruned(0.1, 0.21), pruned(0.1, None), pruned(0.1, audited=False)]
    found = judge(trials, ACCURACY)
    assert found is not None
    assert (found.pruned, len(found.audited), found.best, found.best_tenth) == (5, 4, 0.2, 0.19)
    assert [trial.among_best_tenth for trial in found.audited] == [False, True, True, False]
    assert [trial.better_than_best for trial in found.audited] == [False, False, True, False]
    assert (found.wrong, found.better) == (2, 1)
    assert (found.audited[0].pruned_after, found.audited[0].planned) == (2, 9)


@pytest.mark.parametrize(
    ("hits", "of", "expected"),
    [(0, 10, (0.0, 0.2775)), (1, 10, (0.0179, 0.4042)), (5, 10, (0.2366, 0.7634)), (10, 10, (0.7225, 1.0))],
)
def test_interval_is_wilsons(hits: int, of: int, expected: tuple[float, float]) -> None:
    """As Brown, Cai and DasGupta 2001 and every table have it."""
    assert interval(hits, of) == pytest.approx(expected, abs=5e-5)


def test_nothing_seen_means_nothing_known() -> None:
    assert interval(0, 0) == (0.0, 1.0)
    assert judge([pruned(0.1)], ACCURACY) is None


def test_choice_is_random_repeatable_and_counts_what_was_audited() -> None:
    trials = [pruned(0.1, audited=False, number=number) for number in range(20)]
    trials += [pruned(0.1, 0.3, number=20), complete(0.5)]
    numbers = [trial.number for trial in choose(trials, 6, seed=3)]
    assert len(set(numbers)) == 5
    assert 20 not in numbers
    assert numbers == [trial.number for trial in choose(trials, 6, seed=3)]
    assert numbers != [trial.number for trial in choose(trials, 6, seed=4)]
    assert len(choose(trials, 99, seed=3)) == 20
    assert choose(trials, 1, seed=3) == []


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(f"sqlite:///{tmp_path / 'study.db'}")


Audit = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def played() -> Played:
    return Played(fingerprint="f" * 16)


@pytest.fixture
def audited(storage: Storage, played: Played, tmp_path: Path) -> Audit:
    """Audits so many trials in all; what is found, and what is printed."""

    def run(count: int, **more: Any) -> tuple[dict[str, Any], str]:
        output, means = Output(), Means(Home(tmp_path), start=played.start, visible=lambda: (), cores=4, **more)
        output.file = printed = io.StringIO()
        document = audit_study(storage, None, count, means, Bars(output))
        print_audit(output, document)
        return document, printed.getvalue()

    return run


def test_audited_trial_is_trained_to_its_end_and_stays_pruned(
    storage: Storage, played: Played, audited: Audit, tmp_path: Path
) -> None:
    study = make_study(storage, 0.01, TrialState.PRUNED, 0.0, TrialState.PRUNED)
    before = storage.get_all_trials(study.study_id)
    document, printed = audited(1)
    (trial,), (asked,) = document["audited"], played.asked
    assert played.openings == ["held-out"]
    assert asked.config.model_dump(exclude_none=True).items() >= before[trial["number"]].user_attrs["config"].items()
    assert asked.checkpoints == Home(tmp_path).checkpoints("small", study.attributes["uid"], trial["number"])
    assert trial["value"] == played.accuracy(asked.config.model_dump())
    assert (trial["pruned_after"], trial["planned"], document["pruned"]) == (1, 3, 2)
    assert document["better"] == document["wrong"] == 1
    assert f"trial {trial['number']}, pruned after epoch 1 at 0.2000: batch_size 32" in printed
    assert f"trial {trial['number']}: 3 epochs in 6 s, val_accuracy {trial['value']:.4f}" in printed
    assert "1 of 2 pruned trials were trained to their end" in printed
    assert "1 would be better than the best (0.0100): 100%, 95% interval 21% to 100%" in printed
    after = storage.get_all_trials(study.study_id)
    for old, new in zip(before, after, strict=True):
        assert (old.state, old.value, old.intermediate_values) == (new.state, new.value, new.intermediate_values)
    assert best_trial(storage, study).number == 0
    assert audited(1)[0] == document
    assert len(played.trained) == 1


def test_several_are_audited_side_by_side_and_an_interrupted_audit_goes_on(
    storage: Storage, played: Played, audited: Audit
) -> None:
    make_study(storage, 0.01, *[TrialState.PRUNED] * 3)

    def interrupt() -> None:
        raise KeyboardInterrupt

    played.gate = interrupt
    with pytest.raises(KeyboardInterrupt):
        audited(1)
    together = threading.Barrier(2, timeout=30)
    played.gate = together.wait
    assert len(audited(2, workers=2)[0]["audited"]) == 2
    assert {place for place, _ in played.trained[1:]} == {"slot-0", "slot-1"}


def test_crash_is_told_and_the_audit_goes_on_and_a_trial_that_diverges_has_no_value(
    storage: Storage, played: Played, audited: Audit, tmp_path: Path
) -> None:
    study = make_study(storage, 0.01, TrialState.PRUNED)
    checkpoints = Home(tmp_path).checkpoints("small", study.attributes["uid"], 1)
    checkpoints.mkdir(parents=True)
    played.trouble = lambda _config, attempt: "crash" if attempt == 1 else fails("diverged", "The loss became nan.")
    document, printed = audited(1)
    assert "trial 1 goes on from its last epoch: training process was killed by signal 9" in printed
    assert "trial 1 failed: diverged: The loss became nan." in printed
    assert document["audited"][0]["value"] is None
    assert not checkpoints.exists()


def test_link_that_came_while_it_trained_leads_to_nothing_that_is_removed(
    storage: Storage, played: Played, audited: Audit, tmp_path: Path
) -> None:
    study = make_study(storage, 0.01, TrialState.PRUNED)
    checkpoints = Home(tmp_path).checkpoints("small", study.attributes["uid"], 1)
    precious = tmp_path / "theirs" / checkpoints.name / "precious"
    precious.parent.mkdir(parents=True)
    precious.write_text("theirs")

    def linked() -> None:
        checkpoints.parent.parent.mkdir(parents=True)
        checkpoints.parent.symlink_to(tmp_path / "theirs")

    played.gate = linked
    audited(1)
    assert precious.read_text() == "theirs"


def test_other_images_are_refused(storage: Storage, played: Played, audited: Audit) -> None:
    make_study(storage, 0.5, TrialState.PRUNED)
    played.fingerprint = "sha256:other"
    with pytest.raises(InputError, match=r"trained on other images than .*: other pixels, labels or class names"):
        audited(1)
    assert not played.trained


def test_study_without_anything_to_audit_says_what_is_missing(storage: Storage, audited: Audit) -> None:
    make_study(storage, 0.5)
    with pytest.raises(InputError, match="has no pruned trial yet"):
        audited(1)


def test_study_of_another_program_is_not_audited(storage: Storage, audited: Audit) -> None:
    make_foreign(storage, "other", (1.0,), directions=["maximize"])
    with pytest.raises(InputError, match="was not made by alexsearch"):
        audited(1)
