"""Opening the database, for any number of processes at once, on an empty one too."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.engine import URL

from studies.store.errors import NothingYetError, StorageError
from studies.store.only_reading import take_for_empty
from studies.store.patience import Patience
from studies.store.problems import database_problem, explained
from studies.store.schema import EPOCHS, LATEST, SLOTS
from studies.store.storage import PATIENCE_SECONDS, SQLITE_BUSY_SECONDS, Storage, engine_arguments
from studies.store.upgrading import bring_up, optuna_is_there, stored_version
from studies.store.urls import redacted, storage_url

log = logging.getLogger(__name__)

OPENING_PATIENCE_SECONDS = 5.0
SCHEMA_LOCK = 0x616C6578  # an advisory lock's number is any 64-bit integer: "alex"


def open_storage(
    url: URL | str,
    *,
    create: bool = True,
    read_only: bool = False,
    opening_patience_seconds: float = OPENING_PATIENCE_SECONDS,
    patience_seconds: float = PATIENCE_SECONDS,
    connections: int = 1,
    waiting: Callable[[str], None] | None = None,
) -> Storage:
    """Open the database. What is missing of file and schema is built first, and an earlier version upgraded.

    With `read_only` nothing is built, upgraded or changed, and nothing is left beside an SQLite file; a file that may
    only be read, and a role of Postgres that may only SELECT, will do. What another Optuna study's database lacks of
    our tables is taken for empty.

    Args:
        url: As `storage_url` returns it; a text is taken through it.
        create: False raises `StorageError` if there is no SQLite file yet.
        opening_patience_seconds: How long a database that does not answer is waited for while it is opened.
        patience_seconds: How long it is waited for in every later call.
        connections: How many this process holds to Postgres at most, once it is open. Its threads take turns; a call
            takes milliseconds. While it builds the tables, it needs up to three.
        waiting: See `Patience.waiting`; of the opening.

    Raises:
        NothingYetError: There is nothing to be read yet.
        StorageError: It can't be opened, or is of a later version; with the way out.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # It prints the statement that an outage broke, on many lines; what does not mend is raised, and said once.
    logging.getLogger("optuna.storages._rdb.storage").setLevel(logging.ERROR)
    if isinstance(url, str):
        url = storage_url(url, Path.cwd())
    sqlite_file = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
    if sqlite_file is not None:
        _prepare_sqlite_file(sqlite_file, create and not read_only, read_only)

    def once() -> Storage:
        try:
            if read_only:
                return _open_to_read(url, patience_seconds, connections)
            return _open_once(url, sqlite_file, patience_seconds, connections)
        except Exception as error:
            if isinstance(error, StorageError) or database_problem(error):
                raise
            # The driver looks at a URL's options only now: it may not know one of them, or not so. Or the tables are
            # not what their names promise.
            inner = error.__cause__
            raise explained(inner if isinstance(inner, Exception) else error, url) from None

    patience = Patience(url, opening_patience_seconds)
    patience.waiting = waiting
    return patience(once)


def _prepare_sqlite_file(file: Path, create: bool, read_only: bool) -> None:
    """Make the file readable to its owner only: SQLite itself would make it readable to everybody."""
    if file.exists():
        wanted, words = (os.R_OK, "read") if read_only else (os.R_OK | os.W_OK, "read and written")
        if file.is_dir() or not os.access(file, wanted):
            raise StorageError(f"storage {file}: can't be {words}. Check its permissions.")
        return
    if not create:
        raise NothingYetError(
            f"storage {file}: there is no study yet. Start one with `alexsearch run quick`, or name another place "
            "with --home or --storage."
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StorageError(
            f"storage {file}: can't be made ({error.strerror}). Name a folder you can write with --home, or a "
            "database with --storage."
        ) from None


def _open_to_read(url: URL, patience_seconds: float, connections: int) -> Storage:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, **engine_arguments(url, read_only=True))
    try:
        if not optuna_is_there(engine, url):
            raise NothingYetError(
                f"storage {redacted(url)}: there is no study yet. Start one with `alexsearch run quick`, or name "
                "another place with --home or --storage."
            )
        version = _known_version(engine, url)
    finally:
        engine.dispose()
    if 0 < version < LATEST:
        raise StorageError(
            f"storage {redacted(url)}: an earlier alexsearch made it version {version}, and this one reads version "
            f"{LATEST}. End that one's workers and upgrade it once, after a copy: `alexsearch upgrade`, with the same "
            "--home or --storage. Nothing was changed."
        )
    storage = Storage(
        url, skip_table_creation=True, patience_seconds=patience_seconds, connections=connections, read_only=True
    )
    if not version:
        take_for_empty(storage.engine, (SLOTS, EPOCHS))
    return storage


def _open_once(url: URL, sqlite_file: Path | None, patience_seconds: float, connections: int) -> Storage:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, **engine_arguments(url))
    try:
        version = _known_version(engine, url)
        if version == LATEST and optuna_is_there(engine, url):
            return Storage(url, skip_table_creation=True, patience_seconds=patience_seconds, connections=connections)
        with _schema_lock(engine, sqlite_file):
            version = _known_version(engine, url)  # another may have brought it up, while this one waited
            optuna_is_there(engine, url)  # or it is none that we may add to
            storage = Storage(
                url, skip_table_creation=version > 0, patience_seconds=patience_seconds, connections=connections
            )
            if version < LATEST:  # our own tables are made last, so they tell that Optuna's are complete
                bring_up(engine, version)
                done = f"upgraded from version {version} to" if version else "tables built, version"
                log.info("storage %s: %s %d", redacted(url), done, LATEST)
            return storage
    finally:
        engine.dispose()


def _known_version(engine: sa.Engine, url: URL) -> int:
    version = stored_version(engine)
    if version > LATEST:
        raise StorageError(
            f"storage {redacted(url)}: a later alexsearch made it version {version}, and this one knows version "
            f"{LATEST} at most. Update alexsearch on this host; nothing was changed."
        )
    return version


@contextmanager
def _schema_lock(engine: sa.Engine, sqlite_file: Path | None) -> Iterator[None]:
    """Of several processes on an empty or earlier database, one brings the schema up and the others wait for it."""
    if sqlite_file is not None:
        with FileLock(f"{sqlite_file}.lock", timeout=SQLITE_BUSY_SECONDS):
            optuna_is_there(engine, engine.url)  # before the file is turned to WAL
            with engine.connect() as connection:
                # WAL, which the file remembers: readers never wait for the writer. `synchronous` stays FULL: NORMAL
                # was only 16% faster and may lose the last commits when the power fails.
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            yield
        return
    with engine.connect() as connection:
        # The transaction's, not the session's, which PgBouncer would keep for others; and asked for again instead of
        # waited for, since those who wait would hold the few connections that it gives, and the holder needs three.
        while not connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(SCHEMA_LOCK))):
            connection.rollback()
            time.sleep(random.uniform(0.02, 0.2))  # noqa: S311 - not a secret
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")  # an upgrade may take its time
        yield  # closing the connection ends the transaction, whatever happened
