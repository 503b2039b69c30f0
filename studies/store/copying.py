"""A study copied from one database into another, in one transaction: whole, and as it was, or not at all.

Its trials keep their numbers and their order; ids are the new database's own, and an attribute that names a trial by
its id names the same trial there. Values are those that were, bit for bit, but that SQLite's columns keep neither NaN
nor the sign of zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc, orm

from studies.store.contents import (
    OF_TRIALS,
    PARTS,
    Content,
    Part,
    Row,
    at_one_moment,
    content_of,
    read_content,
    study_name,
)
from studies.store.problems import database_problem, explained, is_passing
from studies.store.schema import EPOCHS, SLOTS
from studies.store.storage import Storage
from studies.store.tables import STUDIES, TRIALS


class CopyError(Exception):
    """A study can't be copied, or the copy would not be what it was copied from. The message says why.

    Nothing of it is kept.
    """


def copy_study(source: Storage, target: Storage, study_id: int, progress: Callable[[int, int], None]) -> Content:
    """Copy a study into `target`, and give what was read back of both, which is the same.

    `progress` is called with the number of rows that are copied, and of all that are to be.

    Raises:
        CopyError: what was read back differs; or the target has a study of this name, or can't keep one of its values.
        StorageError: one of the databases stayed away.
    """

    def body(session: orm.Session) -> Content:
        # Not `source.read`: of the two that may go away here it would wait for its own, whichever it was.
        with orm.Session(source.engine) as reading, reading.begin():
            copied = _copied(_Source(source, at_one_moment(reading), study_id), session, progress)
        # Read anew, not what was copied: somebody may have changed the study since.
        here, there = content_of(source, study_id), read_content(session, copied)
        if differences := here.told_from(there):
            raise CopyError(
                f"differs from its copy: {'; '.join(differences)}. If somebody is at work on it, end that and type the "
                "same again"
            )
        return there

    return target.transaction(body)


@dataclass(frozen=True)
class _Source:
    """A study to be read."""

    storage: Storage
    session: orm.Session
    study_id: int

    def rows(self, part: Part) -> Iterator[list[Row]]:
        """As `part` gives them. What no waiting mends is said of this database, not of the one that is written to."""
        batches = part.rows(self.session, self.study_id)
        while True:
            try:
                batch = next(batches, None)
            except exc.SQLAlchemyError as error:
                problem = database_problem(error)
                if problem is None or is_passing(problem):
                    raise
                raise explained(problem, self.storage.safe_url) from None
            if batch is None:
                return
            yield batch


def _copied(source: _Source, session: orm.Session, progress: Callable[[int, int], None]) -> int:
    """Copy it, and return its id in the new database."""
    name = study_name(source.session, source.study_id)
    total = sum(part.count(source.session, source.study_id) for part in PARTS)
    done = 0
    with _refused_in_words():
        new_id: int = session.scalars(sa.insert(STUDIES).values(study_name=name).returning(STUDIES.c.study_id)).one()
        trials: dict[int, int] = {}
        for part in PARTS:
            for rows in source.rows(part):
                if part is OF_TRIALS:
                    ids = _insert_trials(session, [(new_id, *row[1:]) for row in rows])
                    trials |= zip((row[0] for row in rows), ids, strict=True)
                elif owned := part.owned(rows, new_id, trials):
                    session.execute(sa.insert(part.table), _named(part, owned))
                done += len(rows)
                progress(done, total)
            if part is OF_TRIALS:
                _forget_what_had_their_ids(session, new_id)
    return new_id


def _insert_trials(session: orm.Session, rows: Sequence[Row]) -> Sequence[int]:
    """The ids of the new rows, in the order of `rows`."""
    insert = sa.insert(TRIALS).returning(TRIALS.c.trial_id, sort_by_parameter_order=True)
    return session.scalars(insert, _named(OF_TRIALS, rows)).all()


def _named(part: Part, rows: Sequence[Row]) -> list[dict[str, Any]]:
    names = [part.owner.name, *(column.name for column in part.columns)]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _forget_what_had_their_ids(session: orm.Session, study_id: int) -> None:
    """SQLite gives the id of what was deleted to what is new, and rows of ours may still name the old."""
    new = sa.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id)
    session.execute(sa.delete(EPOCHS).where(EPOCHS.c.trial_id.in_(new)))
    session.execute(sa.delete(SLOTS).where(SLOTS.c.study_id == study_id))
    session.execute(sa.update(SLOTS).where(SLOTS.c.trial_id.in_(new)).values(trial_id=None))


@contextmanager
def _refused_in_words() -> Iterator[None]:
    """What the database refuses to keep is said at once: no waiting would help."""
    try:
        yield
    except exc.IntegrityError as error:
        raise CopyError(
            f"is there meanwhile, or has a row that can't be kept there ({_first_line(error.orig)})"
        ) from None
    except (exc.DataError, UnicodeError) as error:
        what = _first_line(getattr(error, "orig", error))
        raise CopyError(f"has something that can't be kept there ({what}); another program wrote it") from None


def _first_line(error: object) -> str:
    return str(error).partition("\n")[0][:200]
