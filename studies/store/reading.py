"""The trials of a study out of their tables, as Optuna's own storage gives them, in an eighth of the time.

Optuna's makes an object of its mapper for every row: 10,000 trials with 20 reports each are 320,000 of them, and the
first page of a dashboard waited for that. Here a row is a tuple, and a distribution that many trials share is parsed
once.
"""

from __future__ import annotations

import datetime
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial
from sqlalchemy import orm

from studies.store.tables import PARAMS, REPORTS, TRIAL_SYSTEM, TRIAL_USER, TRIALS, VALUES

TRIAL, PARAM, VALUE, REPORT = TRIALS.c, PARAMS.c, VALUES.c, REPORTS.c
USER, SYSTEM = TRIAL_USER.c, TRIAL_SYSTEM.c

# By the name of their kind, what a database that knows no such numbers can't hold. Finite ones are there as they are.
UNUSUAL = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}

Rows = Mapping[int, Sequence[Any]]


def read_trials(session: orm.Session, which: sa.ColumnElement[bool]) -> list[FrozenTrial]:
    """The trials for which `which`, a condition on Optuna's `trials`, holds; by their ids.

    All of it is read in the session's transaction: where that is SQLite's, a trial's parts belong together.
    """
    distribution = cache(json_to_distribution)
    columns = (TRIAL.trial_id, TRIAL.number, TRIAL.state, TRIAL.datetime_start, TRIAL.datetime_complete)
    trials = session.execute(sa.select(*columns).where(which).order_by(TRIAL.trial_id)).all()

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

    def built(trial: Any) -> FrozenTrial:
        trial_id = trial.trial_id
        distributions: dict[str, BaseDistribution] = {
            name: distribution(text) for _, name, _, text in params.get(trial_id, ())
        }
        return FrozenTrial(
            number=trial.number,
            state=trial.state,
            value=None,
            values=[UNUSUAL.get(kind, value) for _, value, kind in values.get(trial_id, ())] or None,
            datetime_start=_local(trial.datetime_start),
            datetime_complete=_local(trial.datetime_complete),
            params={
                name: distributions[name].to_external_repr(value) for _, name, value, _ in params.get(trial_id, ())
            },
            distributions=distributions,
            user_attrs=_attributes(user_attrs.get(trial_id, ())),
            system_attrs=_attributes(system_attrs.get(trial_id, ())),
            intermediate_values={step: UNUSUAL.get(kind, value) for _, step, value, kind in reports.get(trial_id, ())},
            trial_id=trial_id,
        )

    return [built(trial) for trial in trials]


def _attributes(rows: Sequence[Any]) -> dict[str, Any]:
    return {key: json.loads(text) for _, key, text in rows}


def _local(utc: datetime.datetime | None) -> datetime.datetime | None:
    """Stored times are UTC, a trial's are local; neither says so."""
    return None if utc is None else utc.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=None)
