"""Keeps databases as this code makes them, for the tests of all code to come: see tests/test_versions.py.

    python tests/keep_database.py            tests/databases/version-N.db and .sql, N the version of this code
    python tests/keep_database.py optuna     optuna-REVISION.db of the Optuna that is installed, and of tables before it

A file that is there stays as it is: it was kept for ever. Nothing of this machine gets into one.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

import optuna
import sqlalchemy as sa
from optuna.trial import TrialState
from postgres_server import PostgresServer
from study_maker import make_foreign, make_own_study, make_study

from search.base.provenance import alexsearch_version
from studies.queue.limits import Limits
from studies.queue.queue import Queue
from studies.record.catalog import StudyRecord, keep_version
from studies.record.retrained import record, summarised
from studies.store.opening import open_storage
from studies.store.schema import LATEST, SLOTS
from studies.store.storage import Storage

DATABASES = Path(__file__).parent / "databases"
EARLIER_TABLES = "v3.0.0.d"
"""Optuna's before those of today; its own scripts go back to them."""


def fill(storage: Storage) -> None:
    """Studies with all that one can have: "old", "own" and one of another program, "theirs"."""
    old = make_study(storage, 0.4, 0.6, TrialState.PRUNED, TrialState.FAIL, None, name="old", trials=7)
    queue = Queue(storage, old.study_id)
    queue.begin(Limits(max_device_hours=100.0, patience=50))
    queue.enqueue({"learning_rate": 0.05})
    _pause(queue)
    scores = {0: 0.5, 1: 0.52}
    record(storage, old, summarised(trial=1, searched=0.6, split="test", scores=scores, images=2000, finished="then"))
    _give_back(storage, make_own_study(storage))
    keep_version(storage, old, alexsearch_version())
    make_foreign(storage, "theirs", (1.0, 2.0), (3.0, float("inf")), directions=["minimize", "maximize"])


def _pause(queue: Queue) -> None:
    slot = queue.join("cpu")
    taken = queue.take(slot)
    assert taken is not None
    queue.record_epoch(slot, taken.trial_id, {"epoch": 1, "seconds": 2.0, "val_accuracy": 0.3})
    pause = {"epoch": 1, "paused": "2026-01-01T00:00:00+00:00", "machine": "here"}
    queue.describe(slot, taken.trial_id, {"pauses": [pause]})
    queue.leave(slot)


def _give_back(storage: Storage, study: StudyRecord) -> None:
    for slot in storage.read(lambda session: session.scalars(sa.select(SLOTS.c.slot_id)).all()):
        Queue(storage, study.study_id).leave(slot)


def keep_ours(folder: Path) -> None:
    """As SQLite's file, and as what makes it in Postgres."""
    made = folder / "made.db"
    storage = open_storage(f"sqlite:///{made}")
    fill(storage)
    storage.engine.dispose()
    keep(made, f"version-{LATEST}.db")
    server = PostgresServer(folder / "postgres")
    url = server.database()
    storage = open_storage(url)
    fill(storage)
    storage.engine.dispose()
    (folder / "made.sql").write_text(server.dump(url))
    server.stop()
    keep(folder / "made.sql", f"version-{LATEST}.sql")


def keep_optunas(folder: Path) -> None:
    """Plain Optuna's, and the same with its tables as they were before."""
    from alembic import command

    made = folder / "made.db"
    storage = optuna.storages.RDBStorage(f"sqlite:///{made}")
    study = optuna.create_study(study_name="theirs", storage=storage, direction="minimize")
    study.set_user_attr("why", "äöü")
    study.enqueue_trial({"x": 0.5, "kind": "a"})

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 1e-5, 1.0, log=True)
        trial.suggest_categorical("kind", ["a", "b", None])
        trial.report(x, 1)
        if trial.number == 2:
            raise optuna.TrialPruned
        return float("inf") if trial.number == 3 else x * trial.suggest_int("n", 1, 9, step=2)

    study.optimize(objective, n_trials=6)
    study.enqueue_trial({"x": 0.25})
    now = storage.get_current_version()
    storage.engine.dispose()
    keep(made, f"optuna-{now}.db")
    with storage.engine.begin() as connection:  # a new database has the name of the model, one that was upgraded this:
        connection.exec_driver_sql("CREATE INDEX trials_study_id_key ON trials (study_id)")
        connection.exec_driver_sql("DROP INDEX ix_trials_study_id")
    command.downgrade(storage._version_manager._create_alembic_config(), EARLIER_TABLES)
    storage.engine.dispose()
    keep(made, f"optuna-{EARLIER_TABLES}.db")


def keep(made: Path, name: str) -> None:
    kept = DATABASES / name
    if made.suffix == ".db":
        with contextlib.closing(sqlite3.connect(made)) as connection:
            for statement in ("PRAGMA journal_mode = DELETE", "PRAGMA page_size = 1024", "VACUUM"):
                connection.execute(statement)  # one small file, and nothing beside it
    if kept.exists():
        print(f"{kept} is there already and stays")
    else:
        shutil.copyfile(made, kept)
        print(f"{kept} is kept")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as passing:
        (keep_optunas if sys.argv[1:] == ["optuna"] else keep_ours)(Path(passing))
