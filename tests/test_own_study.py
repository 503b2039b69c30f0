"""A study of one's own training, from its space file to its retrained best: real processes, no TensorFlow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from search import api
from search.base.mistakes import InputError
from search.cli.main import main
from search.retraining.recipe import OwnRecipe, read_recipe
from studies.record.catalog import find_study
from studies.store.epochs import epoch_history
from studies.store.opening import open_storage
from studies.words import why

TRAIN = """
import math

def train(trial):
    p = trial.params
    for epoch in trial.epochs():
        error = abs(math.log10(p["lr"]) + 2) + p["layers"] / 10 + 1 / epoch + trial.seed % 7 / 100
        if p["optimizer"] == "sgd":
            error += p["momentum"] / 10
        trial.save(lambda folder: (folder / "net.txt").write_text(str(epoch)))
        more = {"test_rmse": error + 1} if trial.final else {}
        if not trial.report(epoch, rmse=error, loss=error**2, **more):
            return
"""
SPACE = """
[study]
name = "mine"
trials = 6
[train]
function = "train.py:train"
metric = "rmse"
direction = "minimize"
epochs = "rounds"
[space]
lr = { low = 1e-4, high = 0.1, log = true }
layers = { low = 1, high = 4 }
bias = { choices = [true, false] }
optimizer = { choices = ["sgd", "adam"] }
momentum = { low = 0.0, high = 0.99, when = { optimizer = ["sgd"] } }
rounds = { low = 2, high = 4 }
[baseline]
lr = 0.03
layers = 2
bias = true
optimizer = "sgd"
momentum = 0.5
rounds = 4
"""


class Place:
    """A folder with a training of one's own, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "train.py").write_text(TRAIN)
        (folder / "my.toml").write_text(SPACE)

    def type(self, *words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [*words, "--home", str(self.folder / "runs")], catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("own"))
    place.type("run", str(place.folder / "my.toml"), "--workers", "2")
    return place


@pytest.fixture
def place(searched: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A copy of the searched folder, which is the working folder."""
    shutil.copytree(searched.folder, tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    copied = Place.__new__(Place)
    copied.folder = tmp_path / "own"
    return copied


def recipe_in(place: Place) -> OwnRecipe:
    place.type("export", "-o", "best.toml")
    recipe = read_recipe(place.folder / "best.toml")
    assert isinstance(recipe, OwnRecipe)
    return recipe


def test_study_is_searched_to_its_budget_and_its_best_is_the_smallest(place: Place) -> None:
    storage = open_storage(f"sqlite:///{place.folder / 'runs' / 'alexsearch.db'}")
    study = find_study(storage, "mine")
    trials = storage.get_all_trials(study.study_id)
    assert len(trials) == 6
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert min(trial.value or 0.0 for trial in complete) == recipe_in(place).value
    for trial in trials:
        config = trial.user_attrs["config"]
        assert ("momentum" in config["params"]) == (config["params"]["optimizer"] == "sgd")
        assert config["params"] == trial.params
        assert config["epochs"] == trial.params["rounds"]
        rows = epoch_history(storage, trial._trial_id)
        assert {row["epoch"]: row["rmse"] for row in rows} == trial.intermediate_values
        assert rows[0].keys() == {"epoch", "seconds", "rmse", "loss"}
        assert "tensorflow" not in trial.user_attrs["versions"]
    assert trials[0].params["lr"] == 0.03
    storage.engine.dispose()


def test_running_it_again_finds_nothing_left_to_do(place: Place) -> None:
    assert "nothing was left to do" in place.type("run", "my.toml").output


def test_recipe_names_the_file_and_tells_that_it_was_edited(place: Place) -> None:
    recipe = recipe_in(place)
    assert recipe.train.function == "train.py:train"
    assert not recipe.edited
    text = (place.folder / "best.toml").read_text()
    (place.folder / "best.toml").write_text(text.replace("layers = ", "layers = 1"))
    assert read_recipe(place.folder / "best.toml").edited


def test_export_tells_the_metric_and_its_recipe_speaks_of_no_images(place: Place) -> None:
    output = place.type("export", "-o", "again.toml").output
    text = (place.folder / "again.toml").read_text()
    recipe = read_recipe(place.folder / "again.toml")
    assert f"of study mine, rmse {recipe.value:.4g}: " in output
    assert "accuracy" not in text
    assert "images" not in text


def test_retraining_is_final_and_is_measured_by_the_tests_score(place: Place) -> None:
    recipe = recipe_in(place)
    output = place.type("retrain", "best.toml", "--seeds", "2").output
    folder = place.folder / "runs/mine/retrain" / f"trial-{recipe.trial:05d}"
    document = json.loads((folder / "metrics.json").read_text())
    assert document["metric"] == "rmse"
    assert [seed["value"] for seed in document["seeds"]] == [
        seed["history"][-1]["test_rmse"] for seed in document["seeds"]
    ]
    assert document["mean"] == pytest.approx(recipe.value + 1, abs=0.1)
    assert (folder / "seed-0" / "net.txt").read_text() == str(recipe.config.epochs)
    assert "written to study mine" in output
    page = (folder / "index.html").read_text()
    assert "rmse" in page
    assert "0.7081" not in page


def test_retraining_says_that_the_file_has_changed_and_keeps_its_score_out_of_the_study(place: Place) -> None:
    recipe_in(place)
    (place.folder / "train.py").write_text(TRAIN + "\n# changed\n")
    output = place.type("retrain", "best.toml").output
    assert "train.py:train has changed since the search" in output
    assert "not written to a study: its file has changed since" in output


def test_verify_picks_the_smallest_mean(place: Place) -> None:
    output = place.type("verify", "--top", "2", "--seeds", "2").output
    assert f"Trial {recipe_in(place).trial} is picked" in output


def test_replay_of_what_its_seed_decides_is_equal_in_every_bit(place: Place) -> None:
    assert "equal, bit for bit" in place.type("replay", "--trial", "0").output


def test_replay_of_something_else_says_how_far_off_it_is(place: Place) -> None:
    (place.folder / "train.py").write_text(TRAIN.replace("1 / epoch", "2 / epoch"))
    result = place.type("replay", "--trial", "0", code=2)
    assert "has changed since the search" in result.output


def test_worker_without_the_file_or_with_another_version_is_refused(place: Place) -> None:
    place.type("run", "my.toml", "--add", "1", "--timeout", "1s", code=0)
    (place.folder / "train.py").rename(place.folder / "elsewhere.py")
    assert "train.py: there is no such file in" in place.type("worker", code=2).output
    (place.folder / "train.py").write_text(TRAIN + "#")
    result = place.type("run", "my.toml", code=2)
    assert "another version of its training: train.py:train has changed since" in result.output


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("def train(trial, other): pass", "train must take one argument, the trial"),
        ("def trian(trial): pass", "has no function train. Did you mean trian?"),
        ("def train(trial:", "line 1: is not Python that can be read"),
    ],
)
def test_file_that_can_not_be_it_is_told_before_anything_starts(tmp_path: Path, function: str, told: str) -> None:
    place = Place(tmp_path)
    (tmp_path / "train.py").write_text(function)
    result = place.type("run", str(tmp_path / "my.toml"), code=2)
    assert told in result.output
    assert len(result.output.splitlines()) <= 3


def test_training_without_epochs_is_one_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text("def score(trial):\n    return -(trial.params['x'] - 2) ** 2\n")
    space: dict[str, Any] = {
        "study": {"name": "plain", "trials": 4},
        "train": {"function": "score.py:score", "metric": "score"},
        "space": {"x": {"low": -5.0, "high": 5.0}},
    }
    study = api.run(space, home=tmp_path / "runs", quiet=True)
    recipe = api.best_recipe(study)
    assert isinstance(recipe, OwnRecipe)
    assert recipe.value == -((recipe.config.params["x"] - 2) ** 2)  # type: ignore[operator]
    assert recipe.config.epochs == 1
    assert {why(trial) for trial in study.trials} == {"Trained to its end."}


def test_images_do_not_go_with_it(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with pytest.raises(InputError, match=r"--data: training of one's own \(\[train\]\) reads its own data"):
        api.run(tmp_path / "my.toml", data="digits", home=tmp_path / "runs", quiet=True)
    assert not (place.folder / "runs").exists()
