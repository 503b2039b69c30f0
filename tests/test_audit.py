"""Pruned trials trained to their end: what is stored, what is told, and that the study learns nothing of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console
from study_maker import make_foreign, make_study

from model.config import DataSpec
from model.data import fingerprint, load_training, split
from model.device import Device
from model.train import Engine
from search.base.home import Home
from search.base.mistakes import InputError
from search.retraining.audit import audit_study, choose, print_audit
from studies.record.audit import interval, judge
from studies.record.catalog import best_trial, find_study
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
    found = judge(trials)
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
    assert judge([pruned(0.1)]) is None


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


@pytest.fixture(scope="module")
def engine() -> Engine:
    parts = split(
        load_training("synthetic", Path()), DataSpec(source="synthetic", train_images=64, validation_images=50)
    )
    return Engine(parts.train, parts.validation, Device("cpu", "this CPU", "float32", xla=False, threads=2))


def audited(storage: Storage, count: int, home: Path) -> tuple[dict[str, Any], str]:
    output = Console(file=io.StringIO(), width=160)
    document = audit_study(storage, None, count, None, Home(home), output)
    print_audit(output, document)
    assert isinstance(output.file, io.StringIO)
    return document, output.file.getvalue()


def test_audited_trial_is_trained_to_its_end_and_stays_pruned(
    storage: Storage, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(storage, 0.01, TrialState.PRUNED, 0.0, TrialState.PRUNED)
    monkeypatch.setattr("search.retraining.audit.quiet_tensorflow", lambda _log: None)
    monkeypatch.setattr("search.retraining.audit._engine", lambda *_: engine)
    before = storage.get_all_trials(study.study_id)
    document, printed = audited(storage, 1, tmp_path)
    (trial,) = document["audited"]
    history = engine.train(config_of(storage, trial["number"]), lambda _metrics: True).history
    assert trial["value"] == history[-1].val_accuracy
    assert (trial["pruned_after"], trial["planned"], document["pruned"]) == (1, 3, 2)
    assert document["better"] == document["wrong"] == 1
    assert "1 of 2 pruned trials were trained to their end" in printed
    assert "1 would be better than the best (0.0100): 100%, 95% interval 21% to 100%" in printed
    after = storage.get_all_trials(study.study_id)
    for old, new in zip(before, after, strict=True):
        assert (old.state, old.value, old.intermediate_values) == (new.state, new.value, new.intermediate_values)
    assert best_trial(storage, study).number == 0
    assert not list(tmp_path.rglob("*.checkpoint"))
    monkeypatch.setattr("search.retraining.audit._engine", lambda *_: pytest.fail("trained again"))
    assert audited(storage, 1, tmp_path)[0] == document


def config_of(storage: Storage, number: int) -> Any:
    from model.config import TrainConfig

    study = find_study(storage, None)
    return TrainConfig(**storage.get_all_trials(study.study_id)[number].user_attrs["config"])


def test_other_images_are_refused(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(storage, 0.5, TrialState.PRUNED)
    monkeypatch.setattr("search.retraining.audit.quiet_tensorflow", lambda _log: None)
    here = fingerprint(load_training("synthetic", Path()))
    with pytest.raises(InputError, match=f"trained on other images: their fingerprint is f+, but that of .* is {here}"):
        audited(storage, 1, tmp_path)


def test_study_without_anything_to_audit_says_what_is_missing(storage: Storage, tmp_path: Path) -> None:
    make_study(storage, 0.5)
    with pytest.raises(InputError, match="has no pruned trial yet"):
        audited(storage, 1, tmp_path)


def test_study_of_another_program_is_not_audited(storage: Storage, tmp_path: Path) -> None:
    make_foreign(storage, "other", (1.0,), directions=["maximize"])
    with pytest.raises(InputError, match="was not made by alexsearch"):
        audited(storage, 1, tmp_path)
