"""Every edit of a study while a worker runs it, on both databases: the budget is exact, and all goes on afterwards.

optuna-dashboard's page offers the first ones; to enqueue a trial, or to delete one, is a line of Python or SQL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from null_child import FINGERPRINT, Played
from optuna.trial import TrialState
from study_maker import SPACE, make_study
from test_dashboard import LOCAL, request
from test_edits import edit

from search.base.home import Home
from search.cli.main import main
from search.retraining.jobs import Means
from search.retraining.replay import replay_trial
from search.run.events import Event, FailedForGood, Noted
from search.run.host import run_search
from search.run.request import RunError, RunOutcome, RunRequest
from search.space.space import SearchSpace
from studies.queue.queue import Queue, StudyGoneError
from studies.record.catalog import StudyRecord, find_study
from studies.show.dashboard import build_app
from studies.store.epochs import epoch_history
from studies.store.opening import open_storage
from studies.store.storage import Storage
from studies.store.tables import PARAMS, REPORTS, TRIAL_SYSTEM, TRIAL_USER, TRIALS

EPOCHS = 3
Edit = Callable[[Storage, StudyRecord], object]


@dataclass
class Heard:
    """A view that keeps what people would be told."""

    told: dict[int, list[str]] = field(default_factory=dict)

    def note(self, text: str) -> None: ...
    def opened(self, *_: object) -> None: ...
    def counted(self, _counts: object) -> None: ...
    def event(self, event: Event) -> None:
        if isinstance(event.what, Noted):
            self.told.setdefault(event.number, []).append(event.what.text)
        elif isinstance(event.what, FailedForGood):
            self.told.setdefault(event.number, []).append(event.what.reason)


@dataclass
class Bench:
    """A database and a home, in which a study of four trials is run by a played training process."""

    url: str
    home: Home
    heard: Heard = field(default_factory=Heard)

    def __post_init__(self) -> None:
        self.beside = open_storage(self.url)

    def run(self, edited: Edit = lambda _storage, _study: None, *, in_trial: int = 1) -> RunOutcome:
        """Run the study; as its so many-th training begins, somebody else edits it."""
        begun: list[None] = []

        def gate() -> None:
            begun.append(None)
            if len(begun) == in_trial:
                edited(self.beside, find_study(self.beside, "small"))

        space, played = SearchSpace.from_dict(SPACE), Played(gate=gate)
        storage = open_storage(self.url)
        request = RunRequest(space, self.home, storage, workers=1, gpus="none", start=played.start)
        return run_search(request, self.heard, threading.Event())

    @property
    def study(self) -> StudyRecord:
        return find_study(self.beside, "small")

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.beside.get_all_trials(self.study.study_id)

    def command(self, *arguments: str, code: int = 0) -> str:
        options = ["--home", str(self.home.folder), "--storage", self.url]
        result = CliRunner().invoke(main, [*arguments, *options])
        assert result.exit_code == code, (arguments, result.output, result.exception)
        return result.output


def in_sqlite(folder: Path) -> Bench:
    return Bench(f"sqlite:///{folder / 'study.db'}", Home(folder / "home"))


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Bench:
    return Bench(database_url, Home(tmp_path / "home"))


def _trial(number: int, path: str, document: dict[str, Any]) -> Edit:
    def change(storage: Storage, study: StudyRecord) -> None:
        trial = storage.get_all_trials(study.study_id)[number]
        assert edit(storage, "POST", f"/api/trials/{trial._trial_id}/{path}", document)[0] == 204

    return change


def _note(storage: Storage, study: StudyRecord) -> None:
    trial = storage.get_all_trials(study.study_id)[0]
    for owner in (f"{study.study_id}", f"{study.study_id}/{trial._trial_id}"):
        assert edit(storage, "PUT", f"/api/studies/{owner}/note", {"version": 1, "body": "mine"})[0] == 204


def _enqueue(**values: Any) -> Edit:
    def change(storage: Storage, study: StudyRecord) -> None:
        optuna.load_study(study_name=study.name, storage=storage).enqueue_trial(values)

    return change


def _delete(number: int) -> Edit:
    def change(storage: Storage, study: StudyRecord) -> None:
        trial = storage.get_all_trials(study.study_id)[number]
        for table in (PARAMS, REPORTS, TRIAL_SYSTEM, TRIAL_USER, TRIALS):
            which = sa.delete(table).where(table.c.trial_id == trial._trial_id)
            storage.transaction(lambda session, which=which: session.execute(which))  # type: ignore[misc]

    return change


def _all(*edits: Edit) -> Edit:
    def change(storage: Storage, study: StudyRecord) -> None:
        for each in edits:
            each(storage, study)

    return change


TOLD = _trial(2, "tell", {"state": "Complete", "values": [0.99]})
EDITS: dict[str, tuple[Edit, dict[str, int]]] = {
    "notes and attributes": (
        _all(_note, _trial(0, "user-attrs", {"user_attrs": {"config": 3, "mine": 1, "audit": "x"}})),
        {"complete": 4},
    ),
    "the running trial and those that wait are told": (
        _all(TOLD, *(_trial(number, "tell", {"state": "Fail"}) for number in (0, 3))),
        {"complete": 2, "failed": 2},
    ),
    "infinity is told": (_trial(0, "tell", {"state": "Complete", "values": [1e999]}), {"complete": 4}),
    "the running trial and one that waits are deleted": (_all(_delete(3), _delete(0)), {"complete": 2}),
    "trials are enqueued": (
        _all(*(_enqueue(learning_rate=rate) for rate in (0.05, 5.0, -1.0)), _enqueue(bla=1)),
        {"complete": 7, "failed": 1},
    ),
}


@pytest.mark.parametrize("edited", EDITS)
def test_budget_is_exact_and_all_goes_on_after_an_edit_while_a_worker_runs(bench: Bench, edited: str) -> None:
    change, expected = EDITS[edited]
    counts = bench.run(change).counts
    settled = {"complete": counts.complete, "pruned": counts.pruned, "failed": counts.failed}
    assert {state: count for state, count in settled.items() if count} == expected
    assert (counts.waiting, counts.running, Queue(bench.beside, bench.study.study_id).slots()) == (0, 0, [])
    trained = [trial for trial in bench.trials() if trial.user_attrs.get("epochs_run")]
    assert all(len(epoch_history(bench.beside, trial._trial_id)) == EPOCHS for trial in trained)
    status = bench.command("status")
    assert f"{counts.settled} of {counts.budget} settled" in status
    last = str(trained[-1].number)
    assert "[curve]" in bench.command("export", "--trial", last, "-o", "-")
    means = Means(bench.home, start=Played().start, gpus="none", cores=2)
    assert replay_trial(bench.beside, "small", int(last), means)["reproduced"]
    pages = build_app(bench.beside, hosts=LOCAL)
    study = bench.study.study_id
    for path in ("/", f"/studies/{study}", f"/studies/{study}/trials/{last}", f"/api/studies/{study}", f"/csv/{study}"):
        assert request(pages, path)[0] == 200


def test_enqueued_trial_is_one_more_and_is_told_so(tmp_path: Path) -> None:
    bench = in_sqlite(tmp_path)
    bench.run(_enqueue(learning_rate=5.0))
    assert bench.heard.told == {
        4: [
            "somebody enqueued it with learning_rate 5: one trial more than were asked for; learning_rate: outside of "
            "the space, and trained all the same"
        ]
    }
    _enqueue(learning_rate=-1.0)(bench.beside, bench.study)
    assert bench.run().counts.budget == 6
    assert bench.heard.told[5] == [
        "values: learning_rate = -1.0 can't be trained with: `-1.0` is invalid value for the case log=True."
    ]
    assert bench.run().counts.budget == 6


def test_next_run_fills_the_place_of_a_deleted_trial_and_says_which_is_gone(tmp_path: Path) -> None:
    bench = in_sqlite(tmp_path)
    bench.run(_delete(0))
    assert "no longer ours" in bench.heard.told[0][0]
    assert "has no trial 0: somebody deleted it." in bench.command("export", "--trial", "0", "-o", "-", code=2)
    assert bench.run().counts.complete == 4
    assert [trial.number for trial in bench.trials()] == [1, 2, 3, 4]
    assert "has no trial 5: its numbers are 0 to 4." in bench.command("export", "--trial", "5", "-o", "-", code=2)


def test_best_that_was_told_and_never_trained_says_which_can_be_exported(tmp_path: Path) -> None:
    bench = in_sqlite(tmp_path)
    bench.run(TOLD)
    assert "best: trial 2, val_accuracy 0.9900\n" in bench.command("status")
    assert "Name one that it trained with --trial" in bench.command("export", "-o", "-", code=2)


def _drop(storage: Storage, study: StudyRecord) -> None:
    assert edit(storage, "DELETE", f"/api/studies/{study.study_id}", {})[0] == 204


def _make_anew_elsewhere(storage: Storage, study: StudyRecord) -> None:
    storage.delete_study(study.study_id)  # as Optuna does it, which knows no rows of ours
    make_study(storage, fingerprint=FINGERPRINT)


@pytest.mark.parametrize("edited", [_drop, pytest.param(_make_anew_elsewhere, marks=pytest.mark.slow)])
def test_run_of_a_study_that_is_deleted_ends_with_a_line_and_leaves_one_made_anew_alone(
    bench: Bench, edited: Edit
) -> None:
    with pytest.raises(RunError, match="study 'small' was deleted while this run worked on it, so the run ends"):
        bench.run(edited, in_trial=2)
    if edited is not _drop:
        assert {trial.state for trial in bench.trials()} == {TrialState.WAITING}
        assert not any(trial.params or trial.intermediate_values for trial in bench.trials())
        assert "0 of 4 settled; 4 waiting" in bench.command("status")
    assert bench.run().counts.complete == 4


def test_worker_takes_nothing_of_a_study_that_got_the_id_of_its_own(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    before = make_study(storage)
    old = Queue(storage, before.study_id, before.attributes["uid"])
    slot = old.join("cpu")
    taken = old.take(slot)
    assert taken is not None
    storage.delete_study(before.study_id)
    again = make_study(storage)
    assert again.study_id == before.study_id  # SQLite's
    new = Queue(storage, again.study_id, again.attributes["uid"])
    other = new.join("cpu")
    held = new.take(other)
    assert held is not None
    assert held.trial_id == taken.trial_id
    assert not old.describe(slot, taken.trial_id, {"device": "another"})
    assert not old.give_back(slot, taken.trial_id, crashed=True)
    for call in (lambda: old.take(slot), lambda: old.fill(9)):
        with pytest.raises(StudyGoneError):
            call()
    old.leave(slot)
    assert new.counts().running == 1
    assert new.describe(other, held.trial_id, {"device": "this one"})
