"""Points that somebody knows: read as the space reads them, trained next, and counted."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner, Result
from null_child import FINGERPRINT, Played
from optuna.trial import TrialState
from study_maker import DATA

from search.base.home import Home
from search.base.mistakes import InputError
from search.choosing.given import given_params, left_out
from search.cli.main import main
from search.run.slot import Assignment, Slot
from search.space.space import SearchSpace, parse_space
from search.training.places import Place
from studies.queue.queue import Queue
from studies.record.catalog import StudyRecord, open_study
from studies.store.cache import StartedTrials
from studies.store.opening import open_storage
from studies.store.storage import Storage

SPACE: dict[str, Any] = {
    "study": {"name": "s", "trials": 3},
    "data": {"source": "synthetic", "validation_images": 400},
    "space": {
        "batch_size": {"choices": [16, 32]},
        "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        "epochs": {"low": 2, "high": 10, "step": 4},
        "schedule": {"choices": ["constant", "step"]},
        "step_epochs": {"choices": [2, [1, 2]]},
        "step_factor": 0.1,
    },
}


def space(**entries: Any) -> SearchSpace:
    return SearchSpace.from_dict({**SPACE, "space": {**SPACE["space"], **entries}})


def made(storage: Storage, **entries: Any) -> tuple[StudyRecord, Queue]:
    study, _ = open_study(storage, "s", {"space": space(**entries).to_dict(), "data": DATA})
    queue = Queue(storage, study.study_id)
    queue.fill(3)
    return study, queue


def alexsearch(*words: object, code: int = 0) -> Result:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert done.exit_code == code, done.output
    return done


def test_values_are_read_by_their_own_parameter() -> None:
    words = ("batch_size=32", "learning_rate=0.01", "schedule=step", "step_epochs=[1, 2]", "epochs=6")
    assert given_params(space(), words) == {
        **{"batch_size": 32, "learning_rate": 0.01, "schedule": "step", "step_epochs": "1,2", "epochs": 6}
    }
    assert given_params(space(), ('schedule="step"', "step_epochs=2")) == {"schedule": "step", "step_epochs": "2"}
    assert given_params(space(), ("step_factor=0.1", "learning_rate=1e-2")) == {"learning_rate": 0.01}


def test_all_mistakes_are_told_side_by_side_and_nothing_is_put_in(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    _, queue = made(open_storage(url))
    told = alexsearch(
        *("enqueue", "--storage", url, "batch_sise=32", "learning_rate=abc", "epochs=4", "step_factor=0.5"),
        *("schedule=cosine", "batch_size=64", "optimizer=adam", "batch_size=16", "epochs"),
        code=2,
    ).stderr
    assert len(told.splitlines()) == 9
    assert "batch_sise: is not searched. Did you mean batch_size? It searches batch_size, " in told
    assert "learning_rate must be a number" in told
    assert "epochs: is 4, which is outside of { low = 2, high = 10, step = 4 }" in told
    assert "step_factor: is 0.5, but the space fixes it at 0.1" in told
    assert "batch_size: is 64, which is none of" in told
    assert "batch_size: is given twice" in told
    assert "epochs: must be NAME=VALUE" in told
    assert queue.counts().budget == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("schedule=constant", "step_epochs=2"), "step_epochs: has no place beside the other values"),
        (("learning_rate=0.5",), "allow it by --outside"),
        (("learning_rate=-0.5",), "learning_rate must be > 0"),
    ],
)
def test_values_that_do_not_belong_together_or_lie_outside_are_refused(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(InputError, match=told):
        given_params(space(), words)


def test_outside_a_range_is_allowed_if_told_so_and_only_if_it_can_be_trained() -> None:
    assert given_params(space(), ("learning_rate=0.5", "epochs=7"), outside=True) == {"learning_rate": 0.5, "epochs": 7}
    with pytest.raises(InputError, match="must be <= 1000"):
        given_params(space(), ("learning_rate=5000",), outside=True)
    with pytest.raises(InputError, match="none of"):
        given_params(space(), ("batch_size=64",), outside=True)
    decay = space(weight_decay={"low": 1e-5, "high": 0.1, "log": True})
    with pytest.raises(InputError, match="its logarithm is searched"):
        given_params(decay, ("weight_decay=0.0",), outside=True)
    warm = space(warmup_epochs={"low": 0, "high": 1})
    with pytest.raises(InputError, match="nothing can be trained so: warmup_epochs must be less than epochs"):
        given_params(warm, ("warmup_epochs=20",), outside=True)


def test_what_is_left_out_is_what_can_apply() -> None:
    assert left_out(space(), {"batch_size": 16, "schedule": "constant"}) == ["learning_rate", "epochs"]
    assert left_out(space(), {"batch_size": 16}) == ["learning_rate", "schedule", "epochs", "step_epochs"]


def test_parameters_of_any_name_are_read_by_what_they_are() -> None:
    asked = {
        "study": {"name": "own", "trials": 3},
        "train": {"function": "train.py:train", "metric": "score"},
        "space": {
            "width": {"low": 8, "high": 64},
            "rate": {"low": 0.0, "high": 1.0},
            "kind": {"choices": ["a", "b", 3]},
            "depth": {"low": 1, "high": 3, "when": {"kind": ["a"]}},
        },
    }
    own = parse_space(asked, "own")
    words = ("width=16", "rate=1", "kind=a", "depth=2")
    assert given_params(own, words) == {"width": 16, "rate": 1, "kind": "a", "depth": 2}
    assert given_params(own, ("kind=3",)) == {"kind": 3}
    assert given_params(own, ("width=128", "depth=9"), outside=True) == {"width": 128, "depth": 9}
    with pytest.raises(InputError) as caught:
        given_params(own, ("width=16.5", "rate=fast", "kind=c", "deep=1"), outside=True)
    assert len(caught.value.mistakes) == 4
    with pytest.raises(InputError, match="depth: has no place beside the other values"):
        given_params(own, ("kind=b", "depth=2"))


def slot_of(storage: Storage, home: Path, study: StudyRecord, played: Played) -> Slot:
    asked = SearchSpace.from_dict(study.attributes["space"])
    work = Assignment(
        home=Home(home),
        study_name=study.folder,
        study_uid=study.attributes["uid"],
        space=asked,
        data=asked.data,
        fingerprint=FINGERPRINT,
        provenance={"versions": {}, "git_commit": None, "host": "h"},
        queue=Queue(storage, study.study_id),
        storage=StartedTrials(storage, {study.folder: study.study_id}),
        pruner=optuna.pruners.NopPruner(),
        tell=lambda _: None,
        stopping=threading.Event(),
        start=played.start,
    )
    return Slot(Place(0, "cpu"), work)


def test_given_points_are_trained_next_in_their_order_while_a_worker_is_at_it(storage: Storage, tmp_path: Path) -> None:
    study, queue = made(storage)
    points = [{"batch_size": 32, "learning_rate": 0.02}, {"batch_size": 16, "learning_rate": 0.5}]
    numbers: list[int] = []

    def meanwhile() -> None:
        while points:
            numbers.append(queue.enqueue(points.pop(0)))

    played = Played(gate=meanwhile)
    slot_of(storage, tmp_path, study, played).run()
    assert numbers == [3, 4]
    assert [message.trial for message in played.asked] == [0, 3, 4, 1, 2]
    configs = [message.config.model_dump() for message in played.asked]
    assert (configs[1]["batch_size"], configs[1]["learning_rate"]) == (32, 0.02)
    assert (configs[2]["batch_size"], configs[2]["learning_rate"]) == (16, 0.5)
    assert configs[1]["epochs"] in (2, 6, 10)  # the sampler's
    counts = queue.counts()
    assert (counts.budget, counts.complete) == (5, 5)


def test_study_at_its_end_goes_on_with_a_point_that_is_given(storage: Storage, tmp_path: Path) -> None:
    study, queue = made(storage)
    slot_of(storage, tmp_path, study, Played()).run()
    assert queue.counts().settled == queue.counts().budget == 3
    queue.enqueue({"batch_size": 32, "learning_rate": 0.02, "epochs": 2, "schedule": "constant"})
    played = Played()
    slot_of(storage, tmp_path, study, played).run()
    assert [message.trial for message in played.asked] == [3]
    assert (queue.counts().complete, queue.counts().budget) == (4, 4)
    assert queue.fill(4) == 0


def test_given_point_that_crashed_lets_another_go_first(storage: Storage) -> None:
    _, queue = made(storage)
    slot = queue.join("cpu")
    number = queue.enqueue({"batch_size": 32})
    taken = queue.take(slot)
    assert taken is not None
    assert taken.number == number
    queue.give_back(slot, taken.trial_id, crashed=True)
    other = queue.take(slot, after=number)
    assert other is not None
    assert other.number == 0
    queue.give_back(slot, other.trial_id, crashed=False)
    again = queue.take(slot)
    assert again is not None
    assert again.number == number


@pytest.mark.parametrize("sampler", ["gp", "tpe", "grid"])
def test_samplers_go_on_from_a_point_outside(sampler: str, tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    asked = {**SPACE, "sampler": {"name": sampler, **({"n_startup_trials": 2} if sampler in ("gp", "tpe") else {})}}
    study, _ = open_study(storage, "s", {"space": SearchSpace.from_dict(asked).to_dict(), "data": DATA})
    queue = Queue(storage, study.study_id)
    queue.fill(5)
    queue.enqueue({"learning_rate": 5.0, "epochs": 40})
    slot_of(storage, tmp_path, study, Played()).run()
    trials = storage.get_all_trials(study.study_id)
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert trials[5].params["learning_rate"] == 5.0
    assert all(trial.params["learning_rate"] <= 0.1 for trial in trials[:5])


def test_command_says_what_is_next_and_what_is_left_to_the_sampler(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    _, queue = made(open_storage(url))
    told = alexsearch("enqueue", "--storage", url, "batch_size=32", "schedule=constant").stdout
    assert "study s: trial 3 is next: batch_size 32, schedule constant" in told
    assert "the sampler chooses learning_rate and epochs" in told
    assert "0 of 4 settled; 4 waiting" in told
    assert f"alexsearch worker --study s --storage {url}" in told
    queue.join("cpu")
    assert "alexsearch worker" not in alexsearch("enqueue", "--storage", url, "batch_size=16").stdout
