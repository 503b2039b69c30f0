"""Reading and writing the attributes of studies and trials within a transaction.

Optuna's own calls take a transaction each, and refuse to write to a trial that is settled.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from studies.store import tables
from studies.store.shapes import decoded
from studies.store.tables import upsert


@dataclass(frozen=True)
class Attributes:
    """One of Optuna's four tables of attributes: each has an owner, a study or a trial, a key and a JSON value."""

    table: sa.Table
    owner: str
    """The column that names the owner"""

    def read(self, session: orm.Session, owner_id: int, key: str) -> Any:
        """The attribute's value; None if it is absent, or no JSON."""
        query = sa.select(self.table.c.key, self.table.c.value_json)
        return _decoded(session.execute(query.where(self._of(owner_id), self.table.c.key == key))).get(key)

    def read_all(self, session: orm.Session, owner_id: int, prefix: str = "") -> dict[str, Any]:
        """The attributes whose keys begin so; what is no JSON is left out."""
        query = sa.select(self.table.c.key, self.table.c.value_json).where(self._of(owner_id))
        return _decoded(session.execute(query.where(self.table.c.key.startswith(prefix, autoescape=True))))

    def write(self, session: orm.Session, owner_id: int, values: Mapping[str, Any]) -> None:
        """Set these attributes. The caller holds the owner's row."""
        rows = [{self.owner: owner_id, "key": key, "value_json": json.dumps(values[key])} for key in values]
        upsert(session, self.table, (self.owner, "key"), rows)

    def remove(self, session: orm.Session, owner_id: int, *keys: str) -> None:
        """Remove these attributes, if they are there. The caller holds the owner's row."""
        session.execute(sa.delete(self.table).where(self._of(owner_id), self.table.c.key.in_(keys)))

    def _of(self, owner_id: int) -> sa.ColumnElement[bool]:
        return self.table.c[self.owner] == owner_id


def _decoded(rows: Iterable[Any]) -> dict[str, Any]:
    found = {}
    for key, value in rows:
        with contextlib.suppress(ValueError, RecursionError):
            found[key] = decoded(value)
    return found


STUDY_USER = Attributes(tables.STUDY_USER, "study_id")
STUDY_SYSTEM = Attributes(tables.STUDY_SYSTEM, "study_id")
TRIAL_USER = Attributes(tables.TRIAL_USER, "trial_id")
TRIAL_SYSTEM = Attributes(tables.TRIAL_SYSTEM, "trial_id")
