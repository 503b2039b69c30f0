"""A run whose workers are elsewhere: real `alexsearch worker` processes, placed by an engine that is played."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from elsewhere import Study, Watching, kill_one, study_of
from played_engine import PlayedEngine

from search import api
from search.base.mistakes import InputError
from search.cli.main import main
from search.run.events import Begun, Completed, EpochDone
from search.run.request import RunError
from studies.queue.queue import Queue
from studies.record.catalog import all_studies


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return study_of(tmp_path)


@pytest.mark.slow
def test_killed_worker_is_started_again_and_the_budget_is_exact(study: Study) -> None:
    view = Watching(20, lambda: kill_one(study))
    outcome = study.run(PlayedEngine(2), view)
    assert (outcome.counts.settled, outcome.counts.complete, outcome.interrupted) == (4, 4, False)
    assert [note for note in view.notes if "was killed by signal 9, and is started again" in note]
    study.check()
    assert sorted(event.number for event in view.of(Completed)) == list(range(4))
    told = [(event.number, event.what.metrics.epoch) for event in view.of(EpochDone)]  # type: ignore[union-attr]
    assert len(told) == len(set(told))
    assert len(told) >= 4 * 30 - 1  # one may have been saved by the killed worker, and is recorded by the next


@pytest.mark.slow
def test_run_told_to_stop_has_its_workers_give_back_what_they_train(study: Study) -> None:
    stopping = threading.Event()
    engine = PlayedEngine(2)
    outcome = study.run(engine, Watching(5, stopping.set), stopping)
    assert outcome.interrupted
    assert (outcome.counts.running, outcome.counts.budget) == (0, 4)
    assert outcome.counts.retried == 0
    assert engine.staff
    assert engine.staff.workers == {}
    again = Watching()
    assert study.run(PlayedEngine(2), again).counts.complete == 4
    assert len(again.of(Begun)) <= 4
    study.check()


def test_worker_that_is_refused_is_told_with_its_own_words_and_the_run_ends_whole(study: Study) -> None:
    def spoil() -> None:
        (study.fleet.folder / "train.py").write_text("def train(trial):\n    pass\n")

    class Spoiling(PlayedEngine):
        def open(self, order: Any) -> Any:
            spoil()
            return super().open(order)

    with pytest.raises(RunError, match="no worker is left") as failed:
        study.run(Spoiling(2), Watching())
    assert "another version of its training" in str(failed.value)
    counts = Queue(study.storage, all_studies(study.storage)[0].study_id).counts()
    assert (counts.waiting, counts.running) == (4, 0)


def test_nothing_is_begun_where_the_engine_lacks_room_or_an_sqlite_file_would_be_shared(study: Study) -> None:
    for engine, told in (
        (PlayedEngine(1), "there is room for 1"),
        (PlayedEngine(2, here=False), "Use a Postgres database"),
    ):
        with pytest.raises(InputError, match=told):
            study.run(engine, Watching())
    assert all_studies(study.storage) == []


def test_python_has_its_workers_elsewhere_too(study: Study, tmp_path: Path) -> None:
    file, home = study.fleet.folder / "s.toml", tmp_path / "home"
    engine = PlayedEngine(2)
    done = api.run(file, home=home, storage=study.fleet.url, trials=2, workers=2, engine=engine, quiet=True)
    assert (done.counts.complete, done.counts.settled) == (2, 2)
    assert engine.staff


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--ray-address", "auto"], "--ray-address goes with --engine ray"),
        (["--engine", "ray", "--gpus", "0,2"], "must be all or none"),
        (["--engine", "ray", "--trials-per-gpu", "auto"], "must be a number"),
        (["--engine", "ray", "--dry-run"], "leave --engine ray out"),
        (["--engine", "ray", "--ray-address", "ray://x:1"], "must be auto, local or HOST:PORT"),
        (["--engine", "ray", "--ray-address", "127.0.0.1:1"], "there is no Ray cluster to be reached"),
    ],
)
def test_engine_that_is_asked_wrongly_is_one_message_and_no_study(
    options: list[str], told: str, study: Study, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    space, home = str(study.fleet.folder / "s.toml"), ["--home", str(tmp_path / "home")]
    result = CliRunner().invoke(main, ["run", space, *home, "--storage", study.fleet.url, *options])
    assert (result.exit_code, told in result.output) == (2, True), result.output
    assert all_studies(study.storage) == []


def test_engine_whose_package_is_not_installed_says_what_to_install(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    space, home = str(study.fleet.folder / "s.toml"), ["--home", str(tmp_path / "home")]
    result = CliRunner().invoke(main, ["run", space, *home, "--engine", "ray"])
    assert result.exit_code == 2
    assert "pip install 'alexsearch[ray]'" in result.output
