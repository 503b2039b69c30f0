"""The version of a database: built whole, or brought up from an earlier one, in one transaction.

Ours counts our tables and what we keep in attributes; Optuna keeps its own, of which nothing here knows.
"""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL

from studies.store.errors import StorageError
from studies.store.schema import LATEST, VERSION, metadata
from studies.store.tables import OPTUNA_REVISION, OPTUNA_REVISIONS
from studies.store.urls import redacted

UNNUMBERED = frozenset({"alexsearch_slots", "alexsearch_epochs", "alembic_version"})
"""The tables of version 1, which kept no number."""


def stored_version(engine: sa.Engine) -> int:
    """0 if the tables are not there, or not all of them."""
    with engine.connect() as connection:
        present = set(sa.inspect(connection).get_table_names())
        number = connection.scalar(sa.select(VERSION.c.version_num)) if VERSION.name in present else None
    return int(number) if number is not None else int(present >= UNNUMBERED)


def optuna_is_there(engine: sa.Engine, url: URL) -> bool:
    """Whether Optuna's tables are there, complete; False too while somebody makes them.

    Raises:
        StorageError: They are of another Optuna's version, or the database is another program's; with the way out.
    """
    with engine.connect() as connection:
        present = set(sa.inspect(connection).get_table_names())
        versions = sa.table("alembic_version", sa.column("version_num"))
        revisions = connection.scalars(sa.select(versions.c.version_num)).all() if versions.name in present else []
        theirs = sa.table("version_info", sa.column("library_version"))
        made_by = connection.scalar(sa.select(theirs.c["library_version"])) if theirs.name in present else None
    if not revisions:
        return False
    if revisions == [OPTUNA_REVISION] and made_by is not None:
        return True
    named = re.fullmatch(OPTUNA_REVISIONS, str(revisions[0])) if len(revisions) == 1 else None
    if named is None:
        raise StorageError(
            f"storage {redacted(url)}: is another program's database (MLflow's, or of others that keep an "
            f"`alembic_version`; it holds {str(revisions[0])[:40]!r}), which Optuna can't share. Nothing was changed. "
            "Name another database with --storage."
        )
    known = re.fullmatch(OPTUNA_REVISIONS, OPTUNA_REVISION)
    if known and [int(part) for part in named.groups()] > [int(part) for part in known.groups()]:
        raise StorageError(
            f"storage {redacted(url)}: a later Optuna ({made_by}) made its tables, and this one can't read them. "
            "Update alexsearch and Optuna on this host, or name another database with --storage. Nothing was changed."
        )
    as_optuna_takes_it = redacted(url).replace("postgresql://", "postgresql+psycopg://", 1)
    raise StorageError(
        f"storage {redacted(url)}: an earlier Optuna ({made_by}) made its tables, and this one can't read them. "
        "Nothing was changed. Upgrade them once, after a copy: `optuna storage upgrade --storage "
        f"{as_optuna_takes_it}`; or name another database with --storage."
    )


def bring_up(engine: sa.Engine, version: int) -> None:
    """Make our tables beside Optuna's, or bring those of `version` up to the latest. The caller holds the schema lock.

    Whoever dies in the middle leaves nothing of it behind.
    """
    with engine.begin() as connection:
        if engine.name == "sqlite":  # the driver itself would commit each new table on its own
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        if version:
            _upgrade(connection)
        else:
            metadata.create_all(connection)
            connection.execute(sa.insert(VERSION).values(version_num=str(LATEST)))


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
