"""What a database holds of a study, whatever ids it has there: its rows, their numbers, and a digest of them.

All that belongs to a study counts: what Optuna keeps of it and of its trials, and our epochs. Slots and heartbeats do
not: they say who works on it where it is.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from studies.store import tables
from studies.store.schema import EPOCHS
from studies.store.storage import Storage
from studies.store.tables import STUDIES, STUDY_SYSTEM, TRIALS

BATCH = 5_000
"""Rows that are held in memory at a time."""

Row = tuple[Any, ...]

# How optuna-dashboard names a trial by its id in the key of a study's system attribute: notes, artifacts of its earlier
# versions, and trials that nobody wants to compare.
_NAMES_A_TRIAL = re.compile(r"(dashboard:|dashboard:artifacts:|preference:skip_trial:)(\d{1,18})(|:.*)", re.DOTALL)
# Optuna's genetic samplers: the ids of a generation's parents, as the value.
_NAMES_PARENTS = re.compile(r".*:parent:\d+", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """The rows of one table that belong to a study, or to its trials."""

    called: str
    table: sa.Table

    @property
    def owner(self) -> sa.Column[Any]:
        return self.table.c["study_id" if "study_id" in self.table.c else "trial_id"]

    @property
    def columns(self) -> list[sa.Column[Any]]:
        """What it says: all but the owner, and the row's own id, which nobody refers to."""
        own_id = list(self.table.primary_key) if len(self.table.primary_key) == 1 else []
        return [column for column in self.table.columns if column is not self.owner and column not in own_id]

    def count(self, session: orm.Session, study_id: int) -> int:
        return session.scalar(self._of(study_id, sa.func.count())) or 0

    def rows(self, session: orm.Session, study_id: int) -> Iterator[list[Row]]:
        """Batches of its rows, in their order; of each its owner (of a trial itself, its own id), then the columns."""
        # As text: the kind of a row that no Optuna has written is no member of its Enum.
        plain = [sa.type_coerce(each, sa.String) if _is_enum(each) else each for each in self.columns]
        owner = TRIALS.c.trial_id if self.table is TRIALS else self.owner
        query = self._of(study_id, owner, *plain).order_by(owner, *self.table.primary_key)
        for batch in session.execute(query, execution_options={"yield_per": BATCH}).partitions():
            yield [tuple(row) for row in batch]

    def owned(self, rows: Sequence[Row], study: int, trials: Mapping[int, int]) -> list[Row]:
        """The rows, with the study called `study` and each of its trials, by its id, as `trials` calls it.

        What is said of a trial that is gone is left out.
        """
        if self.owner.name == "trial_id" or self.table is TRIALS:
            return [(trials[row[0]], *row[1:]) for row in rows]
        if self.table is STUDY_SYSTEM:
            return [(study, *renamed) for row in rows if (renamed := _renamed(row[1], row[2], trials))]
        return [(study, *row[1:]) for row in rows]

    def _of(self, study_id: int, *columns: Any) -> sa.Select[Any]:
        query = sa.select(*columns).select_from(self.table)
        if self.owner.name == "trial_id":
            return query.join(TRIALS, TRIALS.c.trial_id == self.owner).where(TRIALS.c.study_id == study_id)
        return query.where(self.owner == study_id)


OF_TRIALS = Part("trials", TRIALS)
PARTS = (
    OF_TRIALS,  # before all that names them
    Part("directions", tables.DIRECTIONS),
    Part("attributes of the study", tables.STUDY_USER),
    Part("system attributes of the study", STUDY_SYSTEM),
    Part("parameters", tables.PARAMS),
    Part("values", tables.VALUES),
    Part("reports", tables.REPORTS),
    Part("attributes of trials", tables.TRIAL_USER),
    Part("system attributes of trials", tables.TRIAL_SYSTEM),
    Part("epochs", EPOCHS),
)


@dataclass(frozen=True)
class Content:
    """What a database holds of a study."""

    name: str
    counts: Mapping[str, int]
    """Rows by what they are: "trials", "epochs", ..."""
    digests: Mapping[str, str]
    """SHA-256 of each of them."""

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        text = json.dumps([self.name, sorted(self.counts.items()), sorted(self.digests.items())])
        return hashlib.sha256(text.encode()).hexdigest()

    def told_from(self, other: Content) -> list[str]:
        """What is otherwise in `other`; nothing where they are the same."""
        told = [] if self.name == other.name else [f"name: {self.name!r} and {other.name!r}"]
        for part, count in self.counts.items():
            if count != other.counts[part]:
                told.append(f"{part}: {count:,} and {other.counts[part]:,}")
            elif self.digests[part] != other.digests[part]:
                told.append(f"{part}: {count:,} in both, but not the same")
        return told


def content_of(storage: Storage, study_id: int) -> Content:
    """What the database holds of the study at one moment. Raises KeyError if there is no such study."""
    return storage.read(lambda session: read_content(at_one_moment(session), study_id))


def at_one_moment(session: orm.Session) -> orm.Session:
    """The session, which has asked nothing yet: its queries all see the database as it is now."""
    if session.get_bind().dialect.name == "sqlite":
        session.connection().exec_driver_sql("BEGIN")  # the driver itself begins nothing before a write
    else:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    return session


def read_content(session: orm.Session, study_id: int) -> Content:
    """The same in a transaction that is open. A trial is called by its place among all, a study by nothing."""
    name = study_name(session, study_id)
    of_study = sa.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id).order_by(TRIALS.c.trial_id)
    places = {trial_id: place for place, trial_id in enumerate(session.scalars(of_study))}
    counts, digests = {}, {}
    for part in PARTS:
        count, digest = 0, hashlib.sha256()
        for rows in part.rows(session, study_id):
            owned = part.owned(rows, 0, places)
            digest.update("".join(map(_canonical, owned)).encode())
            count += len(owned)
        counts[part.called], digests[part.called] = count, digest.hexdigest()
    return Content(name, counts, digests)


def study_name(session: orm.Session, study_id: int) -> str:
    """Raises KeyError if there is no such study."""
    name: str | None = session.scalar(sa.select(STUDIES.c.study_name).where(STUDIES.c.study_id == study_id))
    if name is None:
        raise KeyError(study_id)
    return name


def _canonical(row: Row) -> str:
    """Says every bit of the row (the `repr` of a float is the float), but for two that SQLite does not keep."""
    return f"{[_kept(each) if type(each) is float else each for each in row]!r}\n"


def _kept(number: float) -> float | None:
    return None if math.isnan(number) else number + 0.0  # which is 0.0 for -0.0, and the number itself for all others


def _renamed(key: Any, value: Any, trials: Mapping[int, int]) -> tuple[Any, Any] | None:
    """A study's system attribute, which names its trials as `trials` do; None if it is about one that is gone."""
    if found := _NAMES_A_TRIAL.fullmatch(str(key)):
        start, trial_id, end = found.groups()
        return (f"{start}{trials[int(trial_id)]}{end}", value) if int(trial_id) in trials else None
    if _NAMES_PARENTS.fullmatch(str(key)):
        with suppress(ValueError, TypeError, RecursionError):
            parents = json.loads(value)
            if isinstance(parents, list) and all(isinstance(each, int) for each in parents):
                return key, json.dumps([trials[each] for each in parents if each in trials])
    return key, value


def _is_enum(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, sa.Enum) or isinstance(getattr(column.type, "impl", None), sa.Enum)
