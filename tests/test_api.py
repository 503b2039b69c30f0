"""alexsearch from Python: the example that the documentation shows, and what each function says when it can't."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState
from study_maker import SPACE, make_study

from search import api
from search.base.mistakes import InputError
from search.retraining.recipe import read_recipe
from studies.draw.study_figures import FIGURES
from studies.record.catalog import StudyError
from studies.store.errors import StorageError
from studies.store.opening import open_storage

EXAMPLE = Path(__file__).parents[1] / "docs" / "example.py"


@pytest.fixture
def study(tmp_path: Path) -> api.Study:
    storage = open_storage(f"sqlite:///{tmp_path / 'alexsearch.db'}")
    make_study(storage, 0.4, 0.6, TrialState.PRUNED, TrialState.FAIL, trials=5)
    return api.open_study(home=tmp_path)


@pytest.mark.slow
def test_example_of_the_documentation_runs(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ALEXSEARCH")}
    environment["PYTHONPATH"] = str(EXAMPLE.parents[1])
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "complete=4" in done.stdout
    assert "gain over the baseline: +" in done.stdout
    assert "on the test images: 0." in done.stdout
    assert read_recipe(tmp_path / "example.toml").study == "example"
    assert "</html>" in (tmp_path / "example.html").read_text()
    assert "\x1b" not in done.stdout


def test_importing_it_costs_nothing() -> None:
    heavy = {"optuna", "tensorflow", "plotly", "pydantic"}
    code = f"import sys, search.api; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_study_says_what_the_commands_say(study: api.Study) -> None:
    assert (study.name, len(study.trials), study.counts.settled, study.best.value) == ("small", 5, 4, 0.6)
    assert study.findings.ledger.device_seconds == pytest.approx(study.status["cost"]["device_seconds"], abs=20)
    study.stop(now=True)
    assert study.status["stop"] == "now"


def test_figures_report_and_recipe_are_those_of_the_commands(study: api.Study, tmp_path: Path) -> None:
    assert api.figure_names() == tuple(FIGURES)
    assert "best: trial 1" in api.figure(study).to_json()
    assert "</html>" in api.report(study, tmp_path / "r.html").read_text()
    assert (api.best_recipe(study).trial, api.best_recipe(study, 0).trial) == (1, 0)
    assert read_recipe(api.save_recipe(api.best_recipe(study), tmp_path / "best.toml")).trial == 1
    with pytest.raises(InputError, match="There are: learning-curves"):
        api.figure(study, "pie")
    with pytest.raises(StudyError, match="failed"):
        api.best_recipe(study, 3)


def test_what_is_not_there_is_said_with_the_way_out(study: api.Study, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="There are: small"):
        api.open_study("other", home=study.home)
    with pytest.raises(StorageError, match="alexsearch run quick"):
        api.open_study(home=tmp_path / "empty")
    with pytest.raises(InputError, match="there is no such file"):
        api.retrain(tmp_path / "none.toml", home=tmp_path)


def test_a_wrong_space_starts_nothing_and_says_all_that_is_wrong(tmp_path: Path) -> None:
    wrong = {**SPACE, "study": {"name": "x", "trials": 0}, "pruner": {"name": "magic"}}
    with pytest.raises(InputError) as caught:
        api.run(wrong, home=tmp_path / "home")
    assert len(caught.value.mistakes) == 2
    assert not (tmp_path / "home").exists()
    with pytest.raises(InputError, match='no preset "quik"'):
        api.run("quik", home=tmp_path / "home")
