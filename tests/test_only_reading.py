"""Reading a database changes nothing in it and leaves nothing beside it; and what is no database of ours is told."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from study_maker import make_foreign, make_study
from test_dashboard import LOCAL, request

from search.cli.main import main
from search.screen.summary import status_document, studies_document
from studies.queue.queue import Queue
from studies.record.catalog import find_study
from studies.record.cost import ledger
from studies.show.dashboard import build_app
from studies.store import tables
from studies.store.errors import NothingYetError, StorageError
from studies.store.opening import open_storage
from studies.store.storage import Storage
from studies.store.tables import OPTUNA_REVISION
from studies.store.urls import storage_url

READING = (
    ["studies"],
    ["status"],
    ["best"],
    ["trials", "-o", "-"],
    ["trials", "--epochs", "-o", "-"],
    ["export", "-o", "-"],
    ["report", "-o", "-"],
)


def alexsearch(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def left(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def everything(url: str) -> dict[str, list[Any]]:
    """Every table of a database, and what is in it."""
    engine = sa.create_engine(storage_url(url, Path()))
    with engine.connect() as connection:
        names = sorted(sa.inspect(connection).get_table_names())
        return {name: list(connection.execute(sa.text(f'SELECT * FROM "{name}"'))) for name in names}


def plain_optuna(url: str) -> None:
    """A database as Optuna alone makes it: none of our tables, SQLite not written ahead."""
    plain = optuna.storages.RDBStorage(storage_url(url, Path()).render_as_string(hide_password=False))
    study = optuna.create_study(storage=plain, study_name="theirs", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    plain.engine.dispose()


def test_reading_commands_leave_another_programs_database_as_it_was(database_url: str, tmp_path: Path) -> None:
    plain_optuna(database_url)
    before, files = everything(database_url), left(tmp_path)
    for command in READING:
        done = alexsearch(*command, "--home", str(tmp_path / "home"), "--storage", database_url)
        assert "Traceback" not in done.output
        assert done.exit_code == (2 if command[0] in ("export", "report") else 0), done.output
    app = build_app(open_storage(database_url, read_only=True), hosts=LOCAL)
    for page in ("/", "/studies/1", "/studies/1/trials/0", "/studies/1/best", "/api/studies/1"):
        assert request(app, page)[0] == 200
    assert everything(database_url) == before
    assert left(tmp_path) == files


def test_reading_a_study_of_ours_says_the_same_and_leaves_no_file(database_url: str, tmp_path: Path) -> None:
    storage = open_storage(database_url)
    make_study(storage, 0.4, 0.5)
    documents = studies_document(storage), status_document(storage, None)
    storage.engine.dispose()
    (tmp_path / "study.db.lock").unlink(missing_ok=True)
    files = left(tmp_path)
    reading = open_storage(database_url, read_only=True)
    assert (studies_document(reading), status_document(reading, None)["cost"]) == (documents[0], documents[1]["cost"])
    reading.engine.dispose()
    for command in READING:
        assert alexsearch(*command, "--storage", database_url).exit_code == 0
    assert left(tmp_path) == files


def test_reader_sees_what_a_writer_that_is_at_it_commits(database_url: str) -> None:
    writer = open_storage(database_url)
    study = make_study(writer, 0.4)
    reader = open_storage(database_url, read_only=True)
    assert Queue(reader, study.study_id).counts().complete == 1
    make_study(writer, 0.5, name="small", trials=4)
    assert Queue(reader, study.study_id).counts().complete == 2


def test_storage_that_was_opened_to_be_read_writes_nothing(database_url: str) -> None:
    make_study(open_storage(database_url), 0.4)
    before = everything(database_url)
    reader = open_storage(database_url, read_only=True, patience_seconds=0)
    with pytest.raises(StorageError, match="read"):
        Queue(reader, 1).request_stop(now=True)
    with pytest.raises(StorageError, match=r"read-?only"):
        optuna.load_study(storage=reader, study_name="small").set_user_attr("x", 1)
    assert everything(database_url) == before


def test_file_and_folder_that_may_only_be_read_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shared"
    storage = open_storage(f"sqlite:///{folder}/study.db")
    make_study(storage, 0.4)
    storage.engine.dispose()
    files = left(folder)
    # As a user without the right to write; the tests may run as root, who may always.
    monkeypatch.setattr("os.access", lambda _path, mode: mode in (os.F_OK, os.R_OK))
    reading = open_storage(f"sqlite:///{folder}/study.db", read_only=True)
    assert Queue(reading, find_study(reading, None).study_id).counts().complete == 1
    reading.engine.dispose()
    assert left(folder) == files


def test_role_that_may_only_select_reads(postgres_url: str, postgres_server: str) -> None:
    make_study(open_storage(postgres_url), 0.4, 0.5)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        with contextlib.suppress(psycopg.errors.DuplicateObject):
            connection.execute("CREATE ROLE onlooker LOGIN")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO onlooker")
    url = postgres_url.replace("//postgres:", "//onlooker:").replace("//postgres@", "//onlooker@")
    assert "onlooker" in url, postgres_server
    for command in READING:
        assert alexsearch(*command, "--storage", url).exit_code == 0
    app = build_app(open_storage(url, read_only=True), hosts=LOCAL)
    for page in ("/", "/studies/1", "/studies/1/trials/0", "/studies/1/best", "/api/studies", "/api/studies/1"):
        assert request(app, page)[0] == 200


def test_nothing_yet_is_one_answer_and_an_empty_list(database_url: str, tmp_path: Path) -> None:
    for words in (("--home", str(tmp_path / "none")), ("--storage", database_url)):
        done = alexsearch("studies", "--json", *words)
        assert (done.exit_code, done.stdout) == (0, "[]\n")
        # On a server, a dashboard builds the tables that are missing: compose starts it before the first worker.
        dashboard = [] if words[1].startswith("postgres") else [["dashboard", "--port", "0"]]
        for command in (*READING, ["status", "--json"], ["best", "--json"], *dashboard):
            done = alexsearch(*command, *words)
            assert (done.exit_code, done.stdout) == (2, "")
            assert "there is no study yet. Start one with `alexsearch run quick`" in done.stderr
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NothingYetError):
        open_storage(database_url, read_only=True)


def revision(url: str, text: str) -> None:
    with sa.create_engine(storage_url(url, Path())).begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :text"), {"text": text})


def mlflow(url: str) -> None:
    with sa.create_engine(storage_url(url, Path())).begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('acf3f17fdcc7')"))
        connection.execute(sa.text("CREATE TABLE runs (run_uuid VARCHAR(32))"))


def other_tables(url: str) -> None:
    """Tables of Optuna's names and version that hold something else."""
    with sa.create_engine(storage_url(url, Path())).begin() as connection:
        connection.execute(sa.text("CREATE TABLE studies (name VARCHAR(32))"))
        connection.execute(sa.text("CREATE TABLE version_info (library_version VARCHAR(32))"))
        connection.execute(sa.text("INSERT INTO version_info VALUES ('5.0')"))
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES (:now)"), {"now": OPTUNA_REVISION})


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("v2.6.0.a", ["an earlier Optuna", "optuna storage upgrade --storage"]),
        ("v9.0.0.a", ["a later Optuna", "Update"]),
        ("acf3f17fdcc7", ["another program's database (MLflow's", "--storage"]),
    ],
)
def test_database_of_another_version_or_program_is_told_and_left_alone(
    database_url: str, made: str, words: list[str], read_only: bool
) -> None:
    if made.startswith("v"):
        plain_optuna(database_url)
        revision(database_url, made)
    else:
        mlflow(database_url)
    before = everything(database_url)
    with pytest.raises(StorageError) as caught:
        open_storage(database_url, read_only=read_only)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)
    assert everything(database_url) == before
    if database_url.startswith("sqlite"):
        with sqlite3.connect(database_url.removeprefix("sqlite:///")) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize("command", ["studies", "status", "upgrade"])
def test_tables_that_hold_something_else_end_in_one_line(database_url: str, command: str) -> None:
    other_tables(database_url)
    before = everything(database_url)
    done = alexsearch(command, "--storage", database_url)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert everything(database_url).keys() >= before.keys()


def test_revision_is_optunas_own(storage: Storage) -> None:
    assert storage._version_manager.get_head_version() == OPTUNA_REVISION
    revisions = storage._version_manager.get_all_versions()
    assert all(tables.OPTUNA_REVISIONS.fullmatch(each) for each in revisions)


def test_foreign_study_beside_ours_is_read(storage: Storage, database_url: str) -> None:
    make_foreign(storage, "theirs", (0.5,), directions=["maximize"])
    reading = open_storage(database_url, read_only=True)
    assert ledger(reading, 1).device_seconds == 0
