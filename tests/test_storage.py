"""The storage passes Optuna's own contract on both databases, and is safe where Optuna's is not."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

from studies.store.errors import StorageError
from studies.store.opening import open_storage
from studies.store.storage import Storage
from studies.store.urls import has_password, redacted, storage_url


class TestOptunasContract(StorageTestCase):
    @pytest.fixture
    def storage(self, database_url: str) -> Iterator[Storage]:
        storage = open_storage(database_url)
        yield storage
        storage.engine.dispose()


class TestOptunasContractThroughItsCache(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> optuna.storages.BaseStorage:
        return optuna.storages.get_storage(open_storage(f"sqlite:///{tmp_path / 'study.db'}"))


def _take_all(url: str, taken: multiprocessing.Queue[int]) -> None:
    study = optuna.load_study(study_name="s", storage=open_storage(url))
    while (trial_id := study._pop_waiting_trial_id()) is not None:
        taken.put(trial_id)
    taken.put(-1)


def test_waiting_trials_taken_through_optuna_itself_are_taken_once(database_url: str) -> None:
    study = optuna.create_study(study_name="s", storage=open_storage(database_url))
    for _ in range(60):
        study.enqueue_trial({})
    context = multiprocessing.get_context("spawn")
    taken: multiprocessing.Queue[int] = context.Queue()
    workers = [context.Process(target=_take_all, args=(database_url, taken)) for _ in range(4)]
    for worker in workers:
        worker.start()
    ids: list[int] = []
    ended = 0
    while ended < len(workers):
        ids.append(taken.get(timeout=120))
        ended += ids[-1] == -1
    for worker in workers:
        worker.join(30)
    ids = [trial_id for trial_id in ids if trial_id != -1]
    assert len(ids) == 60
    assert len(set(ids)) == 60


def _open(url: str, failures: multiprocessing.Queue[str]) -> None:
    try:
        open_storage(url)
        failures.put("")
    except BaseException as error:  # noqa: BLE001 - reported to the test
        failures.put(repr(error))


def test_many_processes_open_an_empty_database_at_once(database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    failures: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_open, args=(database_url, failures)) for _ in range(8)]
    for worker in workers:
        worker.start()
    assert [failures.get(timeout=120) for _ in workers] == [""] * 8


def test_sqlite_file_is_readable_by_its_owner_only_and_writes_ahead(tmp_path: Path) -> None:
    storage = open_storage(storage_url(None, tmp_path))
    file = tmp_path / "alexsearch.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_locked_sqlite_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.store.storage.SQLITE_BUSY_SECONDS", 0.05)
    storage = open_storage(storage_url(None, tmp_path))
    blocker = sqlite3.connect(tmp_path / "alexsearch.db", isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.7, lambda: blocker.execute("COMMIT"))
    release.start()
    study_id = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "s")
    release.join()
    assert storage.get_study_name_from_id(study_id) == "s"


def test_waiting_for_the_database_ends_when_asked_to_give_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.store.storage.SQLITE_BUSY_SECONDS", 0.05)
    storage = open_storage(storage_url(None, tmp_path))
    blocker = sqlite3.connect(tmp_path / "alexsearch.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    storage.giving_up.set()
    with pytest.raises(StorageError, match=r"locked.*End it"):
        storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "s")


def test_postgres_that_drops_every_connection_is_waited_for(postgres_url: str) -> None:
    storage = open_storage(postgres_url)
    study = optuna.create_study(study_name="s", storage=storage)
    with sa.create_engine(storage.safe_url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(
            sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        )
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u@h/d", ["'mysql' is not a kind", "sqlite:///FILE or postgresql://"]),
        ("not a url", ["not a database URL", "sqlite:///FILE"]),
        ("postgresql://u@h:five432/d", ["not a database URL"]),
        ("sqlite://", ["names no file"]),
        ("sqlite:///:memory:", ["names no file"]),
    ],
)
def test_storage_url_of_an_unknown_kind_is_refused_with_the_way_out(url: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        storage_url(url, tmp_path)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    "url", ["postgresql://u:s3cr%7Bt@localhost:1/d", "postgresql://u@localhost:1/d?password=s3cr{t"]
)
def test_password_is_in_no_message(url: str, tmp_path: Path) -> None:
    made = storage_url(url, tmp_path)
    assert has_password(made)
    assert "s3cr" not in redacted(made)
    with pytest.raises(StorageError) as caught:
        open_storage(made, opening_patience_seconds=0)
    assert "s3cr" not in str(caught.value)
    assert "Check the URL" in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql//u:s3cr", "postgresql://u@h:s3cr/d"])
def test_text_that_is_no_url_is_not_repeated_for_it_may_hold_a_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        storage_url(url, tmp_path)
    assert "s3cr" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "url", ["postgresql://u@localhost:1/d?nonsense=1", "postgresql://u@localhost:1/d?connect_timeout=x"]
)
def test_option_that_the_driver_does_not_know_is_told_at_once(url: str) -> None:
    with pytest.raises(StorageError, match=r"nonsense|connect_timeout"):
        open_storage(url)


def test_sqlite_url_with_another_driver_is_opened_with_ours(tmp_path: Path) -> None:
    assert open_storage(f"sqlite+nonsense:///{tmp_path}/s.db").engine.driver == "pysqlite"


def test_password_comes_from_the_file_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cr{t\n")
    monkeypatch.setenv("ALEXSEARCH_STORAGE_PASSWORD_FILE", str(secret))
    assert storage_url("postgresql://u@h/d", tmp_path).password == "s3cr{t"
    assert storage_url("postgresql://u:own@h/d", tmp_path).password == "own"
    monkeypatch.setenv("ALEXSEARCH_STORAGE_PASSWORD_FILE", str(tmp_path / "missing"))
    with pytest.raises(StorageError, match="ALEXSEARCH_STORAGE_PASSWORD_FILE"):
        storage_url("postgresql://u@h/d", tmp_path)


def test_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "alexsearch.db"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="not a database"):
        open_storage(storage_url(None, tmp_path))
    assert file.read_bytes() == b"no database" * 100


def test_missing_study_file_is_not_made_by_a_reader(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="alexsearch run quick"):
        open_storage(storage_url(None, tmp_path), create=False)
    assert not (tmp_path / "alexsearch.db").exists()


def test_folder_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--home"):
        open_storage(storage_url(None, tmp_path / "file" / "home"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_file_is_refused_at_once(tmp_path: Path) -> None:
    open_storage(storage_url(None, tmp_path)).engine.dispose()
    (tmp_path / "alexsearch.db").chmod(0o400)
    with pytest.raises(StorageError, match="permissions"):
        open_storage(storage_url(None, tmp_path))
