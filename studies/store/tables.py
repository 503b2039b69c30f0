"""Optuna's tables, under names of ours. No other file imports Optuna's private models of them.

`studies.store.schema` has our own tables, `studies.store.attributes` the four that hold attributes.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql, sqlite


class _Readable(sa.TypeDecorator[Any]):
    """A type of which nothing that stands in a row is an error: what it can't read is its `otherwise`.

    SQLite keeps any text in any column, and one row that is no date would have nobody read the others.
    """

    cache_ok = True
    otherwise: Any = None

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        read = super().result_processor(dialect, coltype)

        def readable(stored: Any) -> Any:
            try:
                return stored if read is None else read(stored)
            except (ValueError, TypeError, LookupError):
                return self.otherwise

        return readable


class _Date(_Readable):
    impl = sa.DateTime
    cache_ok = True


class _Name(_Readable):
    impl = sa.String
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> str:
        del dialect
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


class _Direction(_Readable):
    impl = sa.Enum
    cache_ok = True
    otherwise = StudyDirection.NOT_SET


STUDIES: sa.Table = models.StudyModel.__table__
DIRECTIONS: sa.Table = models.StudyDirectionModel.__table__
STUDY_USER: sa.Table = models.StudyUserAttributeModel.__table__
STUDY_SYSTEM: sa.Table = models.StudySystemAttributeModel.__table__
TRIALS: sa.Table = models.TrialModel.__table__
TRIAL_USER: sa.Table = models.TrialUserAttributeModel.__table__
TRIAL_SYSTEM: sa.Table = models.TrialSystemAttributeModel.__table__
PARAMS: sa.Table = models.TrialParamModel.__table__
VALUES: sa.Table = models.TrialValueModel.__table__
REPORTS: sa.Table = models.TrialIntermediateValueModel.__table__
"""Intermediate values, by step"""

TRIALS.c.datetime_start.type, TRIALS.c.datetime_complete.type = _Date(), _Date()
STUDIES.c.study_name.type = _Name(512)
DIRECTIONS.c.direction.type = _Direction(StudyDirection)

OPTUNA_REVISION = "v3.2.0.a"
"""Of the tables that this Optuna reads and writes: what its `alembic_version` holds."""
OPTUNA_REVISIONS = re.compile(r"v(\d+)\.(\d+)\.(\d+)\.[a-z]")
"""What Optuna's revisions look like; those of other programs that keep an `alembic_version` do not."""

FINITE = models.TrialValueModel.TrialValueType.FINITE
"""The `value_type` of a value that is neither of the infinities"""


def hold_study(session: orm.Session, study_id: int) -> None:
    """Hold the study's row until the transaction ends."""
    session.execute(sa.update(STUDIES).where(STUDIES.c.study_id == study_id).values(study_name=STUDIES.c.study_name))


def remove_study(session: orm.Session, study_id: int) -> None:
    """Remove the study, whose row the caller holds, and everything of Optuna's that depends on it."""
    trials = sa.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id)
    session.execute(trials.with_for_update())  # who is about to write to one waits, and then finds it gone
    for table in reversed(models.BaseModel.metadata.sorted_tables):
        if "study_id" in table.c:
            session.execute(sa.delete(table).where(table.c.study_id == study_id))
        elif "trial_id" in table.c:
            session.execute(sa.delete(table).where(table.c.trial_id.in_(trials)))


def write_value(session: orm.Session, trial_id: int, value: float) -> None:
    """Set the value of a trial with one objective."""
    stored, kind = models.TrialValueModel.value_to_stored_repr(value)
    row = {"trial_id": trial_id, "objective": 0, "value": stored, "value_type": kind}
    upsert(session, VALUES, ("trial_id", "objective"), [row])


def write_report(session: orm.Session, trial_id: int, step: int, value: float) -> None:
    """Set the trial's intermediate value at this step, whether it has one or not."""
    stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    row = {"trial_id": trial_id, "step": step, "intermediate_value": stored, "intermediate_value_type": kind}
    upsert(session, REPORTS, ("trial_id", "step"), [row])


def upsert(session: orm.Session, table: sa.Table, key: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, all of the same columns; a row whose `key` columns, which are unique, are there already is changed.

    What is changed keeps its place in the order of the table's ids.
    """
    if not rows:
        return
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table)
    changed = {name: insert.excluded[name] for name in rows[0] if name not in key}
    session.execute(insert.on_conflict_do_update(index_elements=key, set_=changed), rows)


def utc_now() -> datetime.datetime:
    """As Optuna stores times: in UTC, without saying so."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
