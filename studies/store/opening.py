"""Opening the database, for any number of processes at once, on an empty one too."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy import exc
from sqlalchemy.engine import URL

from studies.store.errors import StorageError
from studies.store.patience import Patience
from studies.store.problems import database_problem, explained
from studies.store.schema import LATEST
from studies.store.storage import PATIENCE_SECONDS, SQLITE_BUSY_SECONDS, Storage, engine_arguments
from studies.store.upgrading import bring_up, stored_version
from studies.store.urls import redacted, storage_url

log = logging.getLogger(__name__)

OPENING_PATIENCE_SECONDS = 5.0
SCHEMA_LOCK = 0x616C6578  # an advisory lock's number is any 64-bit integer: "alex"


def open_storage(
    url: URL | str,
    *,
    create: bool = True,
    opening_patience_seconds: float = OPENING_PATIENCE_SECONDS,
    patience_seconds: float = PATIENCE_SECONDS,
    connections: int = 1,
) -> Storage:
    """Open the database. What is missing of file and schema is built first, and an earlier version upgraded.

    Args:
        url: As `storage_url` returns it; a text is taken through it.
        create: False raises `StorageError` if there is no SQLite file yet.
        opening_patience_seconds: How long a database that does not answer is waited for while it is opened.
        patience_seconds: How long it is waited for in every later call.
        connections: How many this process holds to Postgres at most, once it is open. Its threads take turns; a call
            takes milliseconds. While it opens, it needs up to three.

    Raises:
        StorageError: It can't be opened, or is of a later version; with the way out.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # It prints the statement that an outage broke, on many lines; what does not mend is raised, and said once.
    logging.getLogger("optuna.storages._rdb.storage").setLevel(logging.ERROR)
    if isinstance(url, str):
        url = storage_url(url, Path.cwd())
    sqlite_file = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
    if sqlite_file is not None:
        _prepare_sqlite_file(sqlite_file, create)

    def once() -> Storage:
        try:
            return _open_once(url, sqlite_file, patience_seconds, connections)
        except (exc.ProgrammingError, ValueError, TypeError) as error:
            if database_problem(error):
                raise
            # The driver looks at a URL's options only now: it may not know one of them, or not so.
            raise explained(error, url) from None

    return Patience(url, opening_patience_seconds)(once)


def _prepare_sqlite_file(file: Path, create: bool) -> None:
    """Make the file readable to its owner only: SQLite itself would make it readable to everybody."""
    if file.exists():
        if file.is_dir() or not os.access(file, os.R_OK | os.W_OK):
            raise StorageError(f"storage {file}: is no file that can be read and written. Check its permissions.")
        return
    if not create:
        raise StorageError(
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


def _open_once(url: URL, sqlite_file: Path | None, patience_seconds: float, connections: int) -> Storage:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, **engine_arguments(url))
    try:
        version = _known_version(engine, url)
        if version == LATEST:
            return Storage(url, skip_table_creation=True, patience_seconds=patience_seconds, connections=connections)
        with _schema_lock(engine, sqlite_file):
            version = _known_version(engine, url)  # another may have brought it up, while this one waited
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
            with engine.connect() as connection:
                # WAL, which the file remembers: readers never wait for the writer. `synchronous` stays FULL: NORMAL
                # was only 16% faster and may lose the last commits when the power fails.
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            yield
        return
    with engine.connect() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_lock(SCHEMA_LOCK)))
        yield  # closing the connection gives the lock back, whatever happened
