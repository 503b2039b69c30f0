"""What the dashboard's edits do to a study of ours, on both databases: nothing is lost that nobody deleted."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from scripted_child import READY, Script, epoch, finished, started
from study_maker import EPOCHS, SPACE, make_study
from test_dashboard import LOCAL, request

from search.base.home import Home
from search.run.slot import Assignment, Slot
from search.space.space import SearchSpace
from search.training.messages import Train
from search.training.places import Place
from studies.queue.queue import Queue
from studies.record.catalog import all_studies, find_study, open_study
from studies.record.cost import ledger
from studies.show.dashboard import build_app
from studies.store import schema
from studies.store.cache import StartedTrials
from studies.store.epochs import epoch_history
from studies.store.storage import Storage


def edit(storage: Storage, method: str, path: str, document: object = None) -> tuple[int, Any]:
    """Status and JSON of what the dashboard answers."""
    body = json.dumps(document).encode()
    sent = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    app = build_app(storage, hosts=LOCAL, allow_edits=True)
    status, _, answer = request(app, path, method, HTTP_ORIGIN="http://localhost:8080", **sent)  # type: ignore[arg-type]
    return status, json.loads(answer) if answer else None


def rows(storage: Storage, table: sa.Table) -> int:
    return storage.read(lambda session: session.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def test_renamed_study_keeps_trials_epochs_and_cost(storage: Storage) -> None:
    study = make_study(storage, 0.4, 0.5)
    trials, cost = storage.get_all_trials(study.study_id), ledger(storage, study.study_id)
    status, answer = edit(storage, "POST", f"/api/studies/{study.study_id}/rename", {"study_name": "other"})
    assert status == 201
    assert (answer["study_id"], answer["study_name"], answer["directions"]) == (study.study_id, "other", ["maximize"])
    assert {"key", "value"} == set(answer["user_attrs"][0])
    renamed = find_study(storage, "other")
    assert storage.get_all_trials(renamed.study_id) == trials
    assert ledger(storage, renamed.study_id) == cost
    assert len(epoch_history(storage, trials[0]._trial_id)) == EPOCHS
    assert renamed.attributes["uid"] == study.attributes["uid"]
    assert SearchSpace.from_dict(renamed.attributes["space"]).study.name == "other"
    assert edit(storage, "POST", f"/api/studies/{study.study_id}/rename", {"study_name": "third"})[0] == 201
    assert find_study(storage, "third").folder == "small"


def test_name_that_is_taken_or_none_of_ours_is_refused_and_changes_nothing(storage: Storage) -> None:
    study = make_study(storage, 0.4)
    make_study(storage, name="there")
    for name in ("there", "../up", "data"):
        status, answer = edit(storage, "POST", f"/api/studies/{study.study_id}/rename", {"study_name": name})
        assert (status, list(answer)) == (400, ["reason"])
    assert edit(storage, "POST", "/api/studies/99/rename", {"study_name": "x"})[0] == 404
    assert find_study(storage, "small") == study


def test_another_programs_study_is_renamed_as_freely_as_it_was_named(storage: Storage) -> None:
    optuna.create_study(storage=storage, study_name="theirs")
    assert edit(storage, "POST", "/api/studies/1/rename", {"study_name": "Ihre: ä/b"})[0] == 201
    assert [each.name for each in all_studies(storage)] == ["Ihre: ä/b"]


def test_deleted_study_leaves_no_row_of_ours_and_one_made_anew_gets_none(storage: Storage) -> None:
    kept, gone = make_study(storage, 0.3, name="kept"), make_study(storage, 0.4, 0.5)
    assert edit(storage, "DELETE", f"/api/studies/{gone.study_id}", {})[0] == 204
    assert rows(storage, schema.EPOCHS) == EPOCHS
    again = make_study(storage)
    assert all(not epoch_history(storage, trial._trial_id) for trial in storage.get_all_trials(again.study_id))
    assert ledger(storage, again.study_id).device_seconds == 0
    assert len(epoch_history(storage, storage.get_all_trials(kept.study_id)[0]._trial_id)) == EPOCHS


def test_epochs_of_trials_that_were_deleted_elsewhere_go_with_the_next_run(storage: Storage) -> None:
    gone = make_study(storage, 0.4, 0.5)
    storage.delete_study(gone.study_id)
    assert rows(storage, schema.EPOCHS) == 2 * EPOCHS
    make_study(storage, 0.4)
    assert rows(storage, schema.EPOCHS) == EPOCHS


@pytest.mark.parametrize("pruner", [optuna.pruners.NopPruner(), optuna.pruners.HyperbandPruner(1, 3, 3)])
def test_slot_goes_on_with_a_study_that_is_renamed_while_it_trains(
    storage: Storage, tmp_path: Path, pruner: optuna.pruners.BasePruner
) -> None:
    space = SearchSpace.from_dict(SPACE)
    study, _ = open_study(storage, "small", {"space": space.to_dict(), "data": {}})
    queue = Queue(storage, study.study_id)
    queue.fill(2)
    lines = [(started(trial=n), *(epoch(e, 0.5, trial=n) for e in (1, 2, 3)), finished(trial=n)) for n in (0, 1)]
    script = Script([[READY, *lines[0], *lines[1]]])
    work = Assignment(
        home=Home(tmp_path),
        study_name=study.folder,
        study_uid=study.attributes["uid"],
        space=space,
        data=space.data,
        fingerprint="f",
        provenance={"versions": {}, "git_commit": None, "host": "h"},
        queue=queue,
        storage=StartedTrials(storage, {study.folder: study.study_id}),
        pruner=pruner,
        tell=lambda event: rename(event.number),
        stopping=threading.Event(),
        start=script.start,
    )

    def rename(trial: int) -> None:
        names.append(f"after-{trial}-{len(names)}")
        assert edit(storage, "POST", f"/api/studies/{study.study_id}/rename", {"study_name": names[-1]})[0] == 201

    names: list[str] = []
    Slot(Place(0, "cpu"), work).run()
    renamed = find_study(storage, names[-1])
    assert renamed.folder == "small"
    done = storage.get_all_trials(renamed.study_id)
    assert {trial.state for trial in done} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert all(epoch_history(storage, trial._trial_id) for trial in done)
    places = {each.checkpoints.parents[2] for each in script.sent if isinstance(each, Train) and each.checkpoints}
    assert places == {Home(tmp_path).study(renamed.folder)}  # where the next run, under the new name, looks too
