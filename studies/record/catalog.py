"""The studies of a database: made, found and described. What a study was asked is kept in its user attributes.

space     the search space, as `SearchSpace.to_dict` gives it
data      fingerprint, counts and classes of its data
uid       tells this study from any other of the same name
folder    the name it was begun with, if it has another one now: that of its folder in a home
alexsearch  the version that made it; of a study that was made before this was kept, that which went on with it first

`studies.record.retrained` adds what retrainings came to.
"""

from __future__ import annotations

import contextlib
import shlex
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import exc, orm

from studies.queue.queue import Queue
from studies.queue.standing import Counts
from studies.record.curves import best_so_far
from studies.record.metric import UNNAMED, Metric
from studies.store import shapes
from studies.store.attributes import STUDY_SYSTEM, STUDY_USER, TRIAL_USER
from studies.store.storage import Storage
from studies.store.tables import DIRECTIONS, FINITE, STUDIES, TRIALS, VALUES, hold_study
from studies.words import FOREIGN, check_study_name, failure_of

VERSION = "alexsearch"
MAXIMIZED = (StudyDirection.MAXIMIZE,)
LARGEST = 1e308
"""No finite value is larger; in SQLite every text is, and in Postgres NaN."""
LARGEST_NUMBER = 2**31 - 1
"""Of a trial: the largest that the column has in Postgres."""
FILES = "files"
"""Attribute of a study: an address, without any secret."""
LISTED = 20
"""How many studies an error message names."""


class StudyError(Exception):
    """The study that was asked for is not there, or not ready for what was asked. The message says the way out."""


@dataclass(frozen=True)
class StudyRecord:
    """A study of the database."""

    study_id: int
    name: str
    attributes: Mapping[str, Any]
    directions: tuple[StudyDirection, ...] = MAXIMIZED
    """One an objective. Ours have one; another program's may have several."""

    @property
    def is_ours(self) -> bool:
        """Whether alexsearch made it, and nobody changed what it was asked: others may write to the same database."""
        return "space" in self.attributes and not self.odd

    @cached_property
    def odd(self) -> str:
        """What of a study of ours was changed so that it can't be used, as "space, uid"; else empty."""
        if "space" not in self.attributes:
            return ""
        missing = [key for key in shapes.STUDY if key not in self.attributes]
        return ", ".join([*missing, *shapes.odd_ones(self.attributes, {**shapes.STUDY, **shapes.STUDY_FOLDER})])

    @cached_property
    def metric(self) -> Metric:
        """What its trials are measured by; of another program's study, a value that goes where its objective does."""
        if self.is_ours:
            return Metric.of(self.attributes)
        return Metric(UNNAMED, "minimize" if self.directions[0] is StudyDirection.MINIMIZE else "maximize")

    @property
    def origin(self) -> str:
        """Why it is none of ours, in words; empty if it is."""
        if self.odd:
            return f"odd: another program changed its {self.odd}"
        return "" if self.is_ours else FOREIGN

    @property
    def not_ours(self) -> str:
        """What to say of a study that is none of ours: "was not made by alexsearch", or what was changed."""
        return f"is {self.origin}" if self.odd else "was not made by alexsearch"

    @property
    def folder(self) -> str:
        """The name that it was begun with, under which a home keeps its checkpoints and logs."""
        changed = shapes.odd_ones(self.attributes, shapes.STUDY_FOLDER)
        return self.name if changed else self.attributes.get("folder", self.name)

    @property
    def files(self) -> str | None:
        """Where its checkpoints and artifacts follow it (`--files`); None if each host keeps its own."""
        kept = self.attributes.get(FILES)
        return kept if isinstance(kept, str) and kept else None

    def is_same(self, other: StudyRecord) -> bool:
        """Whether it is the other one, perhaps renamed since: SQLite gives the id of a deleted study to a new one."""
        return self.study_id == other.study_id and self.attributes.get("uid") == other.attributes.get("uid")

    @property
    def shown(self) -> str:
        """The name as it may be printed: another program's may hold line breaks or a terminal's control codes."""
        return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in self.name)


@dataclass(frozen=True)
class Failure:
    """A trial that failed for good."""

    number: int
    reason: str
    """Kind and text in words"""


def all_studies(storage: Storage) -> list[StudyRecord]:
    """Every study of the database, oldest first. Notes and figures, which may be large, are not read."""
    study, attribute, direction = STUDIES.c, STUDY_USER.table.c, DIRECTIONS.c

    def body(session: orm.Session) -> list[StudyRecord]:
        attributes: dict[int, dict[str, Any]] = defaultdict(dict)
        for study_id, key, value in session.execute(sa.select(attribute.study_id, attribute.key, attribute.value_json)):
            with contextlib.suppress(ValueError, RecursionError):
                attributes[study_id][key] = shapes.decoded(value)
        directions: dict[int, list[StudyDirection]] = defaultdict(list)
        ordered = sa.select(direction.study_id, direction.direction).order_by(direction.study_id, direction.objective)
        ordered = ordered.where(direction.direction.in_(list(StudyDirection)))
        for study_id, each in session.execute(ordered):
            directions[study_id].append(each)
        names = session.execute(sa.select(study.study_id, study.study_name).order_by(study.study_id)).all()
        return [StudyRecord(each, name, attributes[each], tuple(directions[each]) or MAXIMIZED) for each, name in names]

    return storage.read(body)


def find_study(storage: Storage, name: str | None) -> StudyRecord:
    """The study called `name`; without a name, the only one of ours there is, or the only one at all.

    Raises:
        StudyError: there is none, or without a name, more than one.
    """
    studies = all_studies(storage)
    if name is not None:
        for study in studies:
            if study.name == name:
                return study
        there = f"There are: {_names(studies)}." if studies else "It has none yet: `alexsearch run quick` starts one."
        raise StudyError(f"study {name!r} is not in {storage.name}. {there}")
    candidates = [study for study in studies if study.is_ours] or studies
    if not candidates:
        raise StudyError(f"no study in {storage.name} yet. Start one with `alexsearch run quick`.")
    if len(candidates) > 1:
        raise StudyError(f"{storage.name} has several studies. Say which with --study NAME: {_names(candidates)}.")
    return candidates[0]


def study_by_uid(storage: Storage, uid: str) -> StudyRecord | None:
    """The study with this `uid`, whatever it is called by now; None if it is not here."""
    return next((each for each in all_studies(storage) if each.attributes.get("uid") == uid), None)


def _names(studies: Sequence[StudyRecord]) -> str:
    names = [shlex.quote(study.shown) for study in sorted(studies, key=lambda study: study.name)]
    more = f" and {len(names) - LISTED} more, see `alexsearch studies`" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def open_study(storage: Storage, name: str, attributes: Mapping[str, Any]) -> tuple[StudyRecord, bool]:
    """The study called `name`, made with these attributes if there is none, and whether it was made now.

    Of several processes that make it at once, one's attributes are kept by all.
    """
    metric = Metric.of(attributes)
    direction = StudyDirection.MINIMIZE if metric.smaller_is_better else StudyDirection.MAXIMIZE
    with contextlib.suppress(optuna.exceptions.DuplicatedStudyError):
        storage.create_new_study([direction], name)
    study_id = storage.get_study_id_from_name(name)

    def body(session: orm.Session) -> bool:
        hold_study(session, study_id)
        if STUDY_USER.read(session, study_id, "uid"):
            return False
        STUDY_USER.write(session, study_id, {**attributes, "uid": uuid.uuid4().hex})
        # What Optuna's set_metric_names writes, in the same transaction as the rest; so is the direction, for another
        # process may have made the study to be asked something else.
        STUDY_SYSTEM.write(session, study_id, {"study:metric_names": [metric.name]})
        of_study = DIRECTIONS.c.study_id == study_id
        session.execute(sa.update(DIRECTIONS).where(of_study).values(direction=direction))
        return True

    made = storage.transaction(body)
    attributes = storage.read(lambda session: STUDY_USER.read_all(session, study_id))
    return StudyRecord(study_id, name, attributes, tuple(storage.get_study_directions(study_id))), made


def keep_version(storage: Storage, study: StudyRecord, version: str) -> StudyRecord:
    """The study, which keeps this version unless it has one already."""

    def body(session: orm.Session) -> Any:
        hold_study(session, study.study_id)
        kept = STUDY_USER.read(session, study.study_id, VERSION)
        if kept is None:
            STUDY_USER.write(session, study.study_id, {VERSION: version})
        return kept or version

    return replace(study, attributes={**study.attributes, VERSION: storage.transaction(body)})


def rename_study(storage: Storage, study_id: int, name: str) -> None:
    """Call the study `name`, in one transaction: its trials stay the rows that they are, so their epochs stay theirs.

    Workers that are at it go on: they know it by its id, and its folder keeps the name that it was begun with.

    Raises:
        KeyError: there is no such study.
        StudyError: the name is another study's, or none that a study of ours may have.
    """

    def body(session: orm.Session) -> None:
        hold_study(session, study_id)
        before = session.scalar(sa.select(STUDIES.c.study_name).where(STUDIES.c.study_id == study_id))
        if before is None:
            raise KeyError(study_id)
        space = STUDY_USER.read(session, study_id, "space")
        if isinstance(space, dict) and isinstance(space.get("study"), dict):
            check_study_name(name)
            folder = STUDY_USER.read(session, study_id, "folder") or before
            space["study"]["name"] = name
            STUDY_USER.write(session, study_id, {"space": space, "folder": folder})
        session.execute(sa.update(STUDIES).where(STUDIES.c.study_id == study_id).values(study_name=name))

    try:
        storage.transaction(body)
    except exc.IntegrityError:
        raise StudyError("Study name already exists.") from None
    except ValueError as error:
        raise StudyError(f"The name {error}.") from None


def best_trial(storage: Storage, study: StudyRecord) -> FrozenTrial:
    """The complete trial with the best value.

    Raises:
        StudyError: no trial is complete yet, or the study has several objectives and thus no best trial.
    """
    if len(study.directions) > 1:
        raise StudyError(
            f"study {study.shown!r} has {len(study.directions)} objectives, so no trial of it is the best. alexsearch "
            "did not make it: look at it in `alexsearch dashboard`."
        )
    trials = top_trials(storage, study, 1)
    if trials:
        return trials[0]
    counts = Queue(storage, study.study_id).counts()
    raise StudyError(
        f"study {study.shown!r} has no complete trial with a value yet ({described(counts)}). "
        "Wait for one, or go on with `alexsearch run`."
    )


def top_trials(storage: Storage, study: StudyRecord, count: int) -> list[FrozenTrial]:
    """The `count` complete trials with the best finite values, the best first; of equals, the earlier.

    Empty if the study, another program's, has several objectives.
    """
    if len(study.directions) > 1:
        return []
    trial, value = TRIALS.c, VALUES.c
    best_first = value.value.asc() if study.directions[0] is StudyDirection.MINIMIZE else value.value.desc()
    query = (
        sa.select(value.trial_id)
        .join(TRIALS, trial.trial_id == value.trial_id)
        .where(
            trial.study_id == study.study_id,
            trial.state == TrialState.COMPLETE,
            value.value_type == FINITE,
            value.value.between(-LARGEST, LARGEST),
        )
        .order_by(best_first, trial.number)
        .limit(count)
    )
    return [storage.get_trial(trial_id) for trial_id in storage.read(lambda session: session.scalars(query).all())]


def best_over_time(storage: Storage, study: StudyRecord) -> list[float]:
    """The best value after each complete trial, in the order in which they were; empty with several objectives."""
    if len(study.directions) > 1:
        return []
    trial, value = TRIALS.c, VALUES.c
    query = (
        sa.select(value.value)
        .join(TRIALS, trial.trial_id == value.trial_id)
        .where(
            trial.study_id == study.study_id,
            trial.state == TrialState.COMPLETE,
            value.value_type == FINITE,
            value.value.between(-LARGEST, LARGEST),
        )
        .order_by(trial.datetime_complete, trial.number)
    )
    values = storage.read(lambda session: session.scalars(query).all())
    return best_so_far(values, smallest=study.directions[0] is StudyDirection.MINIMIZE)


def last_failures(storage: Storage, study: StudyRecord, count: int) -> list[Failure]:
    """The `count` trials with the highest numbers among those that failed for good, the last first."""
    trial = TRIALS.c
    query = sa.select(trial.trial_id, trial.number).where(
        trial.study_id == study.study_id, trial.state == TrialState.FAIL
    )

    def body(session: orm.Session) -> list[Failure]:
        rows = session.execute(query.order_by(trial.number.desc()).limit(count)).all()
        failures = (
            (number, failure_of(shapes.sound(TRIAL_USER.read_all(session, trial_id), shapes.TRIAL)))
            for trial_id, number in rows
        )
        return [Failure(number, text or "not recorded") for number, text in failures]

    return storage.read(body)


def trial_by_number(storage: Storage, study: StudyRecord, number: int) -> FrozenTrial:
    """The complete or pruned trial with this number.

    Raises:
        StudyError: there is none, or it is not finished or failed.
    """
    try:
        trial = storage.get_trial(storage.get_trial_id_from_study_id_trial_number(study.study_id, number))
    except KeyError:
        last = last_number(storage, study)
        numbers = "it has none yet" if last is None else f"its numbers are 0 to {last}"
        if last is not None and number < last:
            numbers = "somebody deleted it"
        raise StudyError(f"study {study.shown!r} has no trial {number}: {numbers}.") from None
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
        return trial
    is_now = f"is {trial.state.name.lower()}"
    if trial.state is TrialState.FAIL:
        is_now = f"failed ({failure_of(trial.user_attrs) or 'for no recorded reason'})"
    raise StudyError(
        f"trial {number} of study {study.shown!r} {is_now}: only a complete or pruned one has a value. "
        "`alexsearch best` shows the best."
    )


def last_number(storage: Storage, study: StudyRecord) -> int | None:
    """The highest number of a trial of the study; None if it has none."""
    # In SQLite every text is larger than any number.
    number = TRIALS.c.number
    query = sa.select(sa.func.max(number)).where(TRIALS.c.study_id == study.study_id, number <= LARGEST_NUMBER)
    found: int | None = storage.read(lambda session: session.scalar(query))
    return found


def described(counts: Counts) -> str:
    """The counts in words: "3 of 8 settled: 2 complete, 1 pruned; 1 running, 4 waiting"."""
    settled = [f"{getattr(counts, kind)} {kind}" for kind in ("complete", "pruned", "failed") if getattr(counts, kind)]
    kinds = {"running": counts.running, "paused": counts.paused, "waiting": counts.waiting - counts.paused}
    open_ = [f"{count} {kind}" for kind, count in kinds.items() if count]
    text = f"{counts.settled} of {counts.budget} settled"
    text += f": {', '.join(settled)}" if settled else ""
    text += f"; {', '.join(open_)}" if open_ else ""
    return text + (f"; {counts.retried} retried" if counts.retried else "")
