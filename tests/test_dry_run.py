"""What a search would take is estimated from a few seconds of training, and nothing is left behind."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from scripted_child import READY, Script, epoch, failed, finished, started
from study_maker import SPACE, make_study

from search.base.home import Home
from search.base.mistakes import InputError
from search.base.terminal import Output
from search.cli.main import main
from search.run.estimating import Pace, estimate, measured, middle, nothing_written, told
from search.run.request import RunError, RunRequest
from search.screen.live import Screen
from search.space.space import SearchSpace
from search.training.messages import Progress, Train
from search.training.places import Place
from studies.store.opening import open_storage


class Clock:
    """A clock that a script turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> Any:
        def turned() -> None:
            self.now += seconds

        return turned


def progress(step: int, *, epoch: int = 1, trial: int = 0) -> Progress:
    return Progress(trial=trial, epoch=epoch, step=step, steps=100, images_per_second=320.0)


def space(**entries: Any) -> SearchSpace:
    return SearchSpace.from_dict({**SPACE, "space": {**SPACE["space"], **entries}})


def pace_of(*lines: Any) -> Pace | None:
    clock = Clock()
    turning = [clock.turn(line) if isinstance(line, (int, float)) else line for line in lines]
    child = Script([[READY, *turning]]).start(Place(0, "cpu"), space().data, Path(), Path())
    child.wait_ready(threading.Event())
    config = space().config({"learning_rate": 0.01}, 0)
    return measured(child, Train(trial=0, config=config, checkpoints=None), threading.Event(), clock)


def test_pace_is_that_of_the_last_whole_epoch() -> None:
    slow = epoch(1).metrics.model_copy(update={"seconds": 9.0})
    assert pace_of(started(), epoch(1).model_copy(update={"metrics": slow}), 6, epoch(2), 5) == Pace(2.0)
    assert pace_of(started(), epoch(1), finished()) == Pace(2.0)


def test_pace_of_an_epoch_that_is_not_done_comes_from_its_steps() -> None:
    assert pace_of(started(), progress(10), 4, progress(20), 8, progress(40)) == Pace(12 / 30 * 100, 320.0)


def test_what_shows_no_pace_in_time_has_none() -> None:
    assert pace_of(started(), 100, progress(10), 81) is None


def test_training_that_fails_is_told() -> None:
    with pytest.raises(RunError, match=r"what was tried failed \(diverged\): the loss became nan"):
        pace_of(started(), failed("diverged", "the loss became nan"))


def test_middle_of_a_space_is_a_point_of_it() -> None:
    asked = space(
        batch_size={"choices": [256, 16, 64]},
        learning_rate={"low": 0.001, "high": 0.1, "log": True},
        epochs={"low": 2, "high": 10, "step": 4},
        schedule={"choices": ["step", "constant"]},
        step_epochs={"choices": [3, [1, 2]]},
        step_factor={"low": 0.1, "high": 0.5},
    )
    found = middle(asked)
    assert found.pop("learning_rate") == pytest.approx(0.01)
    assert found == {"batch_size": 64, "epochs": 6, "schedule": "step", "step_epochs": "3", "step_factor": 0.3}
    asked.config({**found, "learning_rate": 0.01}, 0)


def test_estimate_multiplies_what_was_measured_and_leaves_nothing_behind(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    asked = space(epochs={"choices": [2, 4]})
    script = Script([[READY, started(), epoch(1), finished()]])
    with nothing_written(home, None) as (passing, storage):
        request = RunRequest(space=asked, home=passing, storage=storage, workers=1, gpus="none", start=script.start)
        found = estimate(request, Screen(Output(quiet=True)), threading.Event())
    assert found is not None
    assert found.mean_epochs == pytest.approx(3, abs=0.3)
    assert found.device_seconds == 4 * found.mean_epochs * 2.0
    assert (found.existing, found.trials) == (None, 4)
    text = "\n".join(told(found))
    assert "study small: not begun; 4 trials to train" in text
    assert "learning_rate: 0.001 to 0.1, log" in text
    assert "less what pruning will save" in text
    assert "1,600 training and 400 validation images of synthetic" in text
    assert list(tmp_path.iterdir()) == []
    assert not passing.folder.exists()
    train = next(message for message in script.sent if isinstance(message, Train))
    assert train.checkpoints is None


def test_study_that_is_there_is_only_read_and_what_it_has_left_is_estimated(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    make_study(open_storage(url), 0.4, 0.5)
    script = Script([[READY, started(), epoch(1), finished()]])
    with nothing_written(Home(tmp_path / "home"), open_storage(url, read_only=True)) as (passing, storage):
        request = RunRequest(space=space(), home=passing, storage=storage, workers=2, gpus="none", start=script.start)
        found = estimate(request, Screen(Output(quiet=True)), threading.Event())
        assert found is not None
        assert (found.trials, found.device_seconds) == (2, 2 * 3 * 2.0)
        assert "2 of 4 settled" in told(found)[0]
        other = RunRequest(space=space(epochs=5), home=passing, storage=storage, workers=1, start=script.start)
        with pytest.raises(InputError, match="started with another space"):
            estimate(other, Screen(Output(quiet=True)), threading.Event())


@pytest.mark.slow
def test_command_trains_a_little_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ALEXSEARCH_HOME", "ALEXSEARCH_STORAGE", "ALEXSEARCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    done = CliRunner().invoke(main, ["run", "quick", "--data", "synthetic", "--dry-run", "--gpus", "none"])
    assert done.exit_code == 0, done.output
    assert "measured: " in done.stdout
    assert "nothing was written" in done.stdout
    assert list(tmp_path.iterdir()) == []
