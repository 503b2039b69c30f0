"""Optuna's tables are known in one file, and written as Optuna's own storage would write them."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import orm

from studies.store.attributes import STUDY_SYSTEM, STUDY_USER, TRIAL_SYSTEM, TRIAL_USER, Attributes
from studies.store.storage import Storage
from studies.store.tables import write_report, write_value

ROOT = Path(__file__).parent.parent


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {
        f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_optunas_private_tables_are_imported_by_one_file_only() -> None:
    files = [file for package in ("model", "studies", "search") for file in (ROOT / package).rglob("*.py")]
    knowing = [file for file in files if any(name.startswith("optuna.storages._rdb") for name in imported(file))]
    assert [file.relative_to(ROOT).as_posix() for file in knowing] == ["studies/store/tables.py"]


@pytest.fixture
def study(storage: Storage) -> optuna.Study:
    study = optuna.create_study(storage=storage)
    study.enqueue_trial({})
    return study


@pytest.mark.parametrize("kind", [STUDY_USER, STUDY_SYSTEM, TRIAL_USER, TRIAL_SYSTEM])
def test_attributes_are_those_that_optuna_reads(storage: Storage, study: optuna.Study, kind: Attributes) -> None:
    (trial,) = study.trials
    owner = study._study_id if kind.owner == "study_id" else trial._trial_id

    def theirs() -> dict[str, Any]:
        (trial,) = study.trials
        return {
            STUDY_USER: study.user_attrs,
            STUDY_SYSTEM: storage.get_study_system_attrs(owner),
            TRIAL_USER: trial.user_attrs,
            TRIAL_SYSTEM: trial.system_attrs,
        }[kind]

    before = theirs()
    storage.transaction(lambda session: kind.write(session, owner, {"a_b": 1, "aXb": {"c": None}, "d": None}))
    assert theirs() == {**before, "a_b": 1, "aXb": {"c": None}, "d": None}
    storage.transaction(lambda session: kind.write(session, owner, {"d": "x", "a_b": 2}))
    storage.transaction(lambda session: kind.remove(session, owner, "aXb", "absent"))
    assert theirs() == {**before, "a_b": 2, "d": "x"}
    assert storage.read(lambda session: kind.read(session, owner, "d")) == "x"
    assert storage.read(lambda session: kind.read(session, owner, "absent")) is None
    assert storage.read(lambda session: kind.read_all(session, owner, "a_")) == {"a_b": 2}


def test_attribute_that_is_changed_keeps_its_place(storage: Storage, study: optuna.Study) -> None:
    def write(session: orm.Session) -> None:
        for values in ({"z": 1, "a": 1}, {"a": 2}, {"z": 2}):
            TRIAL_USER.write(session, 1, values)

    storage.transaction(write)
    assert list(study.trials[0].user_attrs) == ["z", "a"]


@pytest.mark.parametrize("value", [0.25, math.inf, -math.inf])
def test_value_and_reports_are_those_that_optuna_reads(storage: Storage, study: optuna.Study, value: float) -> None:
    trial_id = study.ask()._trial_id

    def write(session: orm.Session) -> None:
        for each in (0.5, value):
            write_report(session, trial_id, 3, each)
            write_value(session, trial_id, each)

    storage.transaction(write)
    storage.set_trial_state_values(trial_id, TrialState.COMPLETE)
    (trial,) = study.trials
    assert (trial.value, trial.intermediate_values) == (value, {3: value})
