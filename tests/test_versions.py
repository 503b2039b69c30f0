"""Databases that an earlier alexsearch made open, say what they said, and go on: on SQLite and on Postgres.

tests/databases holds one of each version, made by the code of that time: a study "old" of ten trials, of which some
were trained, some failed in each way there was and one waits; and a study "theirs" of another program. From version 3
on it is what `tests/keep_database.py` makes: "old" has a trial that is paused too, and there is a study "own" of
training of one's own. Those that start with optuna are plain Optuna's, by the revision of its tables.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

import studies.store
from search.screen.summary import status_document
from studies.queue.queue import Queue
from studies.queue.standing import Counts
from studies.record.catalog import VERSION as MADE_BY
from studies.record.catalog import all_studies, best_trial, find_study, last_failures, trial_by_number
from studies.record.cost import ledger
from studies.record.retrained import read
from studies.record.rows import epoch_table, trial_table
from studies.store.copying import copy_study
from studies.store.epochs import epoch_history, epochs_of_study
from studies.store.errors import StorageError
from studies.store.opening import open_storage
from studies.store.schema import EPOCHS, LATEST, VERSION, metadata
from studies.store.storage import Storage
from studies.store.tables import OPTUNA_REVISION
from studies.store.upgrading import stored_version
from studies.store.urls import storage_url
from studies.store.versions.version_2 import taken_apart
from studies.words import failure_in_words, why

OF_PLAIN_OPTUNA = ("COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "COMPLETE", "COMPLETE")
DATABASES = Path(__file__).parent / "databases"
SENTENCES = {
    1: "diverged: The loss became nan in epoch 1, step 3 of 50, at learning rate 610.639. Use a smaller learning_rate "
    "or a larger batch_size.",
    5: "values: `-1.0` is invalid value for the case log=True.",
    6: "training process was killed by signal 9; the last of 4 crashes",
    7: "out-of-memory: the kernel killed the training process to free memory; the last of 4 crashes",
    8: "the worker died; the last of 4 crashes",
}
"""What version 1 kept as the reasons of the failed trials of "old", by number."""


@pytest.fixture
def version_1(database_url: str, tmp_path: Path) -> str:
    """The URL of a database of version 1, of each kind in turn."""
    return brought(1, database_url, tmp_path)


def brought(version: int, database_url: str, tmp_path: Path) -> str:
    """The empty database, as this version left it."""
    if database_url.startswith("sqlite"):
        shutil.copyfile(DATABASES / f"version-{version}.db", tmp_path / "study.db")
    else:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute((DATABASES / f"version-{version}.sql").read_bytes())
    return database_url


def engine_of(url: str) -> sa.Engine:
    return sa.create_engine(storage_url(url, Path.cwd()), poolclass=sa.pool.NullPool)


def trials_of(url: str, study: str) -> list[FrozenTrial]:
    """As Optuna's own storage reads them, which knows nothing of our versions."""
    storage = optuna.storages.RDBStorage(storage_url(url, Path.cwd()).render_as_string(hide_password=False))
    trials = optuna.load_study(study_name=study, storage=storage).trials
    storage.engine.dispose()
    return trials


def rows_of(url: str) -> dict[str, list[Any]]:
    """All that the database holds, but for trials' user attributes, versions and columns that came later."""
    engine = engine_of(url)
    tables = sa.MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        return {
            name: list(connection.execute(sa.select(*known(table)).order_by(*table.primary_key)))
            for name, table in tables.tables.items()
            if name not in ("trial_user_attributes", VERSION.name)
        }


def known(table: sa.Table) -> list[sa.Column[Any]]:
    """The columns that the table had from the first version on."""
    return [column for column in table.columns if (table.name, column.name) != (EPOCHS.name, "metrics")]


def without_failure(trial: FrozenTrial) -> dict[str, Any]:
    return {key: value for key, value in trial.user_attrs.items() if key not in ("failure", "reason", "crashes")}


def test_database_of_version_1_says_all_that_it_said(version_1: str) -> None:
    rows, before, theirs = rows_of(version_1), trials_of(version_1, "old"), trials_of(version_1, "theirs")
    assert {trial.number: trial.user_attrs["reason"] for trial in before if trial.state.name == "FAIL"} == SENTENCES
    assert stored_version(engine_of(version_1)) == 1
    open_storage(version_1).engine.dispose()
    assert stored_version(engine_of(version_1)) == LATEST
    assert rows_of(version_1) == rows
    assert trials_of(version_1, "theirs") == theirs
    for old, new in zip(before, trials_of(version_1, "old"), strict=True):
        assert without_failure(new) == without_failure(old)
        assert old.state == TrialState.FAIL or new.user_attrs == old.user_attrs


def test_log_says_what_was_built_or_upgraded_once(
    version_1: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "studies.store")
    for url in (version_1, version_1, f"sqlite:///{tmp_path / 'new.db'}"):
        open_storage(url).engine.dispose()
    upgraded, built = [record.getMessage() for record in caplog.records]
    assert upgraded.endswith(f": upgraded from version 1 to {LATEST}")
    assert built.endswith(f"new.db: tables built, version {LATEST}")


def test_failures_of_version_1_are_kinds_and_texts_and_read_as_before(version_1: str) -> None:
    storage = open_storage(version_1)
    study = find_study(storage, "old")
    attributes = {trial.number: trial.user_attrs for trial in storage.get_all_trials(study.study_id)}
    assert attributes[1]["failure"] == "diverged"
    assert attributes[1]["reason"].startswith("The loss became nan in epoch 1")
    assert "crashes" not in attributes[1]
    kept = [attributes[8][key] for key in ("failure", "reason", "crashes")]
    assert kept == ["crashed", "the worker died", 4]
    assert attributes[7]["failure"] == "out-of-memory"
    assert {failure.number: failure.reason for failure in last_failures(storage, study, 20)} == SENTENCES
    told = status_document(storage, "old")["failures"]
    assert told == [{"number": number, "reason": SENTENCES[number]} for number in sorted(SENTENCES, reverse=True)]
    by_number = {trial.number: trial for trial in storage.get_all_trials(study.study_id)}
    assert "training process died again" in why(by_number[6])
    assert "training runs away" in why(by_number[1])
    storage.engine.dispose()


def test_study_of_version_1_goes_on(version_1: str) -> None:
    storage = open_storage(version_1)
    study = find_study(storage, "old")
    queue = Queue(storage, study.study_id)
    assert queue.counts() == Counts(waiting=1, running=0, complete=3, pruned=1, failed=5, retried=9)
    best = best_trial(storage, study)
    assert (best.number, best.value) == (3, 1.0)
    assert [row["epoch"] for row in epoch_history(storage, best._trial_id)] == [1, 2, 3]
    assert trial_by_number(storage, study, 2).state == TrialState.PRUNED
    assert set(ledger(storage, study.study_id).by_trial) == {0, 2, 3, 4}
    assert read(study)[3].scores == (0.5, 0.52)
    slot = queue.join("cpu")
    for _ in range(4):
        taken = queue.take(slot)
        assert taken is not None
        assert queue.give_back(slot, taken.trial_id, crashed=True, reason="it died")
    assert last_failures(storage, study, 1)[0].reason == "it died; the last of 4 crashes"
    storage.engine.dispose()


def _open(url: str, failures: multiprocessing.Queue[str]) -> None:
    try:
        open_storage(url, opening_patience_seconds=60).engine.dispose()
        failures.put("")
    except BaseException as error:  # noqa: BLE001 - reported to the test
        failures.put(repr(error))


@pytest.mark.slow
def test_many_processes_upgrade_at_once_and_it_is_done_once(version_1: str) -> None:
    context = multiprocessing.get_context("spawn")
    failures: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_open, args=(version_1, failures)) for _ in range(8)]
    for worker in workers:
        worker.start()
    assert [failures.get(timeout=120) for _ in workers] == [""] * 8
    assert failure_sentences(version_1) == SENTENCES


def failure_sentences(url: str) -> dict[int, str]:
    storage = open_storage(url)
    found = {each.number: each.reason for each in last_failures(storage, find_study(storage, "old"), 20)}
    storage.engine.dispose()
    return found


def _die_at(url: str, statement: str) -> None:
    def look(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        if text.strip().startswith(statement):
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(sa.Engine, "before_cursor_execute", look)
    open_storage(url)


@pytest.mark.parametrize(
    "statement",
    [f"INSERT INTO {VERSION.name}", pytest.param("INSERT INTO trial_user_attributes", marks=pytest.mark.slow)],
)
def test_upgrade_that_is_killed_in_the_middle_is_repeated_whole(version_1: str, statement: str) -> None:
    before = trials_of(version_1, "old")
    worker = multiprocessing.get_context("spawn").Process(target=_die_at, args=(version_1, statement))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    assert stored_version(engine_of(version_1)) == 1
    assert trials_of(version_1, "old") == before
    assert not sa.inspect(engine_of(version_1)).has_table(VERSION.name)
    assert failure_sentences(version_1) == SENTENCES


@pytest.mark.slow
@pytest.mark.parametrize("statement", ["CREATE TABLE alexsearch_epochs", f"INSERT INTO {VERSION.name}"])
def test_building_that_is_killed_in_the_middle_is_repeated_whole(database_url: str, statement: str) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=_die_at, args=(database_url, statement))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    assert stored_version(engine_of(database_url)) == 0
    open_storage(database_url).engine.dispose()
    assert stored_version(engine_of(database_url)) == LATEST


def test_database_of_a_later_version_is_refused_and_left_alone(storage: Storage, database_url: str) -> None:
    with storage.engine.begin() as connection:
        connection.execute(sa.update(VERSION).values(version_num=str(LATEST + 1)))
    storage.engine.dispose()
    with pytest.raises(StorageError, match=rf"version {LATEST + 1}.* version {LATEST} at most\. Update alexsearch"):
        open_storage(database_url)
    assert stored_version(engine_of(database_url)) == LATEST + 1


def test_database_of_version_2_says_what_it_said_and_takes_metrics_of_other_names(tmp_path: Path) -> None:
    url = brought(2, f"sqlite:///{tmp_path / 'study.db'}", tmp_path)
    storage = open_storage(url)
    assert stored_version(engine_of(url)) == LATEST
    study = find_study(storage, "old")
    best = best_trial(storage, study)
    before = epoch_history(storage, best._trial_id)
    assert [(row["epoch"], set(row)) for row in before] == [
        (epoch, {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"})
        for epoch in (1, 2, 3)
    ]
    queue = Queue(storage, study.study_id)
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    assert queue.record_epoch(slot, taken.trial_id, {"epoch": 1, "seconds": 2.0, "rmse": 0.5, "r2": 0.9}, 0.0, "rmse")
    assert epoch_history(storage, taken.trial_id) == [{"epoch": 1, "seconds": 2.0, "rmse": 0.5, "r2": 0.9}]
    assert storage.get_trial(taken.trial_id).intermediate_values == {1: 0.5}
    storage.engine.dispose()


def test_every_version_is_kept_for_both_databases() -> None:
    kept = {file.name for file in DATABASES.glob("version-*")}
    assert kept == {f"version-{each}.{kind}" for each in range(1, LATEST + 1) for kind in ("db", "sql")}


@pytest.mark.parametrize("version", range(1, LATEST + 1))
def test_every_version_opens_is_shown_goes_on_and_moves(version: int, database_url: str, tmp_path: Path) -> None:
    url = brought(version, database_url, tmp_path)
    assert stored_version(engine_of(url)) == version
    storage, other = open_storage(url), open_storage(f"sqlite:///{tmp_path / 'moved.db'}")
    studies = all_studies(storage)
    assert {each.name for each in studies} == {"old", "theirs", *(["own"] if version > 2 else [])}
    for study in studies:
        shown = status_document(storage, study.name)
        trials = storage.get_all_trials(study.study_id)
        assert sum(shown["counts"][state] for state in ("complete", "pruned", "failed", "waiting")) == len(trials)
        assert len(trial_table(storage, study).rows) == len(trials)
        assert len(epoch_table(storage, study).rows) == len(epochs_of_study(storage, study.study_id))
        copy_study(storage, other, study.study_id, lambda _done, _all: None)
        assert status_document(other, study.name)["counts"] == shown["counts"]
    old = find_study(storage, "old")
    assert old.is_ours
    queue = Queue(storage, old.study_id, old.attributes["uid"])
    queue.begin()
    before, slot = queue.counts(), queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    assert queue.record_epoch(slot, taken.trial_id, {"epoch": 1, "seconds": 2.0, "val_accuracy": 0.999})
    assert queue.settle(slot, taken.trial_id, TrialState.COMPLETE, 0.999, {"epochs_run": 1})
    assert queue.counts().complete == before.complete + 1
    for each in (storage, other):
        each.engine.dispose()


def test_version_3_says_what_it_said(database_url: str, tmp_path: Path) -> None:
    storage = open_storage(brought(3, database_url, tmp_path))
    old, own = find_study(storage, "old"), find_study(storage, "own")
    waits = Counts(waiting=4, running=0, complete=2, pruned=1, failed=1, retried=0, paused=1)
    assert Queue(storage, old.study_id).counts() == waits
    assert old.attributes[MADE_BY] == "0.1.0"
    assert [best_trial(storage, each).value for each in (old, own)] == [0.6, 0.250125]
    assert own.metric.name == "rmse"
    best = epoch_history(storage, best_trial(storage, own)._trial_id)
    assert [row["rmse"] for row in best] == [0.750375, 0.50025, 0.250125]
    assert read(old)[1].scores == (0.5, 0.52)
    assert find_study(storage, "theirs").directions == (StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE)
    storage.engine.dispose()


def test_database_of_plain_optuna_is_shown_as_it_is_and_gets_our_tables_when_it_is_written_to(tmp_path: Path) -> None:
    kept, url = tmp_path / "study.db", f"sqlite:///{tmp_path / 'study.db'}"
    shutil.copyfile(DATABASES / f"optuna-{OPTUNA_REVISION}.db", kept)
    before = kept.read_bytes()
    shown = status_document(open_storage(url, read_only=True), "theirs")
    assert kept.read_bytes() == before
    trials = trials_of(url, "theirs")
    assert [trial.state.name for trial in trials] == [*OF_PLAIN_OPTUNA, "WAITING"]
    storage = open_storage(url)
    assert stored_version(engine_of(url)) == LATEST
    assert status_document(storage, "theirs") == shown
    storage.engine.dispose()
    assert trials_of(url, "theirs") == trials
    study = optuna.load_study(study_name="theirs", storage=url)
    study.optimize(lambda trial: trial.suggest_float("x", 1e-5, 1.0, log=True), n_trials=1)
    assert study.trials[-1].params == {"x": 0.25}


def test_database_of_an_earlier_optuna_opens_once_optuna_has_upgraded_it(tmp_path: Path) -> None:
    kept, url = tmp_path / "study.db", f"sqlite:///{tmp_path / 'study.db'}"
    shutil.copyfile(DATABASES / "optuna-v3.0.0.d.db", kept)
    before = kept.read_bytes()
    for read_only in (True, False):
        with pytest.raises(StorageError, match=r"an earlier Optuna .*`optuna storage upgrade --storage sqlite:///"):
            open_storage(url, read_only=read_only)
    assert kept.read_bytes() == before
    optuna.storages.RDBStorage(url, skip_compatibility_check=True).upgrade()
    storage = open_storage(url)
    study = find_study(storage, "theirs")
    assert [trial.state.name for trial in storage.get_all_trials(study.study_id)] == [*OF_PLAIN_OPTUNA, "WAITING"]
    assert find_study(storage, "theirs").attributes["why"] == "äöü"
    storage.engine.dispose()
    assert [repr(trial.values) for trial in trials_of(url, "theirs")][3] == "[inf]"


def test_upgraded_tables_are_those_that_are_built_anew(version_1: str, tmp_path: Path) -> None:
    open_storage(version_1).engine.dispose()
    open_storage(f"sqlite:///{tmp_path / 'new.db'}").engine.dispose()

    def columns(url: str) -> dict[str, set[str]]:
        looking = sa.inspect(engine_of(url))
        return {table: {column["name"] for column in looking.get_columns(table)} for table in metadata.tables}

    assert columns(version_1) == columns(f"sqlite:///{tmp_path / 'new.db'}")
    assert set(columns(version_1)[EPOCHS.name]) == set(EPOCHS.columns.keys())


def test_latest_version_is_the_last_that_alembic_finds() -> None:
    folder = Path(str(studies.store.__file__)).parent
    assert ScriptDirectory(str(folder)).get_current_head() == str(LATEST)


@pytest.mark.parametrize("sentence", [*SENTENCES.values(), "error: a: b\nc; the last of 12 crashes", "disk: "])
def test_sentence_taken_apart_is_put_together_again(sentence: str) -> None:
    parts = taken_apart(sentence)
    assert failure_in_words(parts["failure"], parts["reason"], parts.get("crashes", 0)) == sentence


@pytest.mark.parametrize("sentence", ["somebody: told it", "", None, {"a": 1}, "diverged"])
def test_what_is_no_sentence_of_ours_stays(sentence: object) -> None:
    assert taken_apart(sentence) == {}
