"""The version of a database: built whole, or brought up from an earlier one, in one transaction.

Ours counts our tables and what we keep in attributes; Optuna keeps its own, of which nothing here knows.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from studies.store.schema import LATEST, VERSION, metadata

UNNUMBERED = frozenset({"alexsearch_slots", "alexsearch_epochs", "alembic_version"})
"""The tables of version 1, which kept no number."""


def stored_version(engine: sa.Engine) -> int:
    """0 if the tables are not there, or not all of them."""
    with engine.connect() as connection:
        present = set(sa.inspect(connection).get_table_names())
        number = connection.scalar(sa.select(VERSION.c.version_num)) if VERSION.name in present else None
    return int(number) if number is not None else int(present >= UNNUMBERED)


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
