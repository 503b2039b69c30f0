"""The trials of a study out of their tables, as Optuna's own storage gives them, in an eighth of the time.

Optuna's makes an object of its mapper for every row: 10,000 trials with 20 reports each are 320,000 of them, and the
first page of a dashboard waited for that. Here a row is a tuple, and a distribution that many trials share is parsed
once.

Anybody may have written to them: a row that holds no trial's state, a parameter or a number that is none is left out,
and so is what `studies.store.shapes` finds odd among the attributes of a study of ours.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import orm

from studies.store import shapes
from studies.store.tables import (
    DIRECTIONS,
    PARAMS,
    REPORTS,
    STUDIES,
    STUDY_SYSTEM,
    STUDY_USER,
    TRIAL_SYSTEM,
    TRIAL_USER,
    TRIALS,
    VALUES,
)

TRIAL, PARAM, VALUE, REPORT = TRIALS.c, PARAMS.c, VALUES.c, REPORTS.c
USER, SYSTEM, STUDY = TRIAL_USER.c, TRIAL_SYSTEM.c, STUDY_USER.c

# By the name of their kind, what a database that knows no such numbers can't hold. Finite ones are there as they are.
UNUSUAL = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}

Rows = Mapping[int, Sequence[Any]]


def read_trials(session: orm.Session, which: sa.ColumnElement[bool]) -> list[FrozenTrial]:
    """The trials for which `which`, a condition on Optuna's `trials`, holds; by their ids.

    All of it is read in the session's transaction: where that is SQLite's, a trial's parts belong together.
    """
    distribution = cache(json_to_distribution)
    columns = (TRIAL.trial_id, TRIAL.study_id, TRIAL.number, TRIAL.state, TRIAL.datetime_start, TRIAL.datetime_complete)
    trials = session.execute(
        sa.select(*columns).where(which, TRIAL.state.in_(list(TrialState))).order_by(TRIAL.trial_id)
    ).all()

    def parts(table: Any, *columns: Any, order: Any = None) -> Rows:
        """Rows by trial; the trial's id, then `columns`."""
        query = sa.select(table.trial_id, *columns).join(TRIALS, TRIAL.trial_id == table.trial_id)
        found: dict[int, list[Any]] = defaultdict(list)
        for row in session.execute(query.where(which) if order is None else query.where(which).order_by(order)):
            found[row[0]].append(row)
        return found

    params = parts(PARAM, PARAM.param_name, PARAM.param_value, PARAM.distribution_json, order=PARAM.param_id)
    user_attrs = parts(USER, USER.key, USER.value_json, order=USER.trial_user_attribute_id)
    system_attrs = parts(SYSTEM, SYSTEM.key, SYSTEM.value_json)
    # As text: turning each kind into a member of its Enum took as long as all else together.
    kind = sa.type_coerce(VALUE.value_type, sa.String)
    values = parts(VALUE, VALUE.value, kind, order=VALUE.objective)
    kind = sa.type_coerce(REPORT.intermediate_value_type, sa.String)
    reports = parts(REPORT, REPORT.step, REPORT.intermediate_value, kind)

    owners = sa.select(TRIAL.study_id).where(which).distinct()
    ours = set(session.scalars(sa.select(STUDY.study_id).where(STUDY.key == "uid", STUDY.study_id.in_(owners))))

    def built(trial: Any) -> FrozenTrial:
        trial_id, is_ours = trial.trial_id, trial.study_id in ours
        distributions: dict[str, BaseDistribution] = {}
        given: dict[str, Any] = {}
        for _, name, value, text in params.get(trial_id, ()):
            if not isinstance(value, (int, float)):
                continue
            with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):  # what no Optuna has written
                known = distribution(text)
                given[name] = known.to_external_repr(value)
                distributions[name] = known
        points = ((step, _value(value, kind)) for _, step, value, kind in reports.get(trial_id, ()))
        came_to = [_value(value, kind) for _, value, kind in values.get(trial_id, ())]
        came_to = came_to[:1] if is_ours else came_to  # which has one objective
        return FrozenTrial(
            # One that is none gets one that no trial has: it is shown, and is nobody's.
            number=trial.number if shapes.is_whole(trial.number) else -trial_id,
            state=trial.state,
            value=None,
            values=None if None in came_to else came_to or None,  # type: ignore[arg-type]
            datetime_start=_local(trial.datetime_start),
            datetime_complete=_local(trial.datetime_complete),
            params=given,
            distributions=distributions,
            user_attrs=_attributes(user_attrs.get(trial_id, ()), shapes.TRIAL if is_ours else {}),
            system_attrs=_attributes(system_attrs.get(trial_id, ()), shapes.TRIAL_SYSTEM if is_ours else {}),
            intermediate_values={step: value for step, value in points if value is not None and isinstance(step, int)},
            trial_id=trial_id,
        )

    return [built(trial) for trial in trials]


def read_studies(session: orm.Session) -> list[FrozenStudy]:
    """All studies, by their ids; of their attributes, those that hold JSON."""
    directions: dict[int, list[Any]] = defaultdict(list)
    kept = sa.select(DIRECTIONS.c.study_id, DIRECTIONS.c.direction).order_by(DIRECTIONS.c.objective)
    for study_id, direction in session.execute(kept.where(DIRECTIONS.c.direction.in_(list(StudyDirection)))):
        directions[study_id].append(direction)

    def attributes(table: Any) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = defaultdict(dict)
        for study_id, key, text in session.execute(sa.select(table.study_id, table.key, table.value_json)):
            with contextlib.suppress(ValueError, RecursionError, TypeError):
                found[study_id][key] = json.loads(text)
        return found

    user_attrs, system_attrs = attributes(STUDY), attributes(STUDY_SYSTEM.c)
    return [
        FrozenStudy(
            str(name), None, user_attrs[study_id], system_attrs[study_id], study_id, directions=directions[study_id]
        )
        for study_id, name in session.execute(
            sa.select(STUDIES.c.study_id, STUDIES.c.study_name).order_by(STUDIES.c.study_id)
        )
    ]


def _value(stored: Any, kind: str) -> float | None:
    """An objective's value or a report; None if the row holds no number."""
    if kind in UNUSUAL:
        return UNUSUAL[kind]
    return stored if isinstance(stored, (int, float)) else None


def _attributes(rows: Sequence[Any], known: Mapping[str, shapes.Shape]) -> dict[str, Any]:
    found = {}
    for _, key, text in rows:
        with contextlib.suppress(ValueError, RecursionError):
            found[key] = shapes.decoded(text)
    return shapes.sound(found, known)


def _local(utc: datetime.datetime | None) -> datetime.datetime | None:
    """Stored times are UTC, a trial's are local; neither says so."""
    with contextlib.suppress(OverflowError, ValueError):  # of the year 1 or 9999
        return None if utc is None else utc.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=None)
    return None
