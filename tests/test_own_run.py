"""What the user's code may do wrong in a whole `alexsearch run`: it is told, nothing is lost, and the study goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from textwrap import dedent, indent

import optuna
import psutil
import pytest
from click.testing import CliRunner
from optuna.trial import FrozenTrial
from postgres_server import PostgresServer

from search.cli.main import main
from studies.record.catalog import find_study
from studies.store.epochs import epoch_history
from studies.store.opening import open_storage
from studies.words import failure_of

TRAIN = """
import os, signal, sys, time
from pathlib import Path

HERE = Path(__file__).parent

def once(name):
    "Whether it is asked this for the first time, by any process."
    try:
        os.close(os.open(HERE / name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

def train(trial):
    x = trial.params["x"]
    for epoch in trial.epochs():
{epoch}
"""
GOOD = """
trial.save(lambda folder: (folder / "net").write_text(str(epoch)))
if not trial.report(epoch, score=x + epoch / 10, loss=1.0):
    return
"""
SPACE = """
[study]
name = "s"
trials = 4
[train]
function = "train.py:train"
metric = "score"
epochs = 3
epoch_seconds = {epoch_seconds}
[space]
x = {{ choices = [0, 1, 2, 3] }}
[sampler]
name = "grid"
[pruner]
name = "none"
"""


def slow(*values: object) -> object:
    """A case for `pytest -m slow`: another shape of one that is always tried."""
    return pytest.param(*values, marks=pytest.mark.slow)


class Runs:
    """A folder with a function of a user's, and the command line over it."""

    def __init__(self, folder: Path, epoch: str, epoch_seconds: float = 30) -> None:
        """`epoch` is what the function does in each epoch."""
        self.folder, self.storage = folder, f"sqlite:///{folder / 'runs' / 'alexsearch.db'}"
        self.train = folder / "train.py"
        self.train.write_text(TRAIN.format(epoch=indent(dedent(epoch), " " * 8)))
        self.space = folder / "s.toml"
        self.space.write_text(SPACE.format(epoch_seconds=epoch_seconds))

    def run(self, *words: str, code: int = 0) -> str:
        """What `alexsearch run` prints, on lines as long as they are."""
        typed = ["run", str(self.space), *words, "--home", str(self.folder / "runs")]
        environment = {"ALEXSEARCH_STORAGE": self.storage, "COLUMNS": "400"}
        result = CliRunner().invoke(main, typed, env=environment, catch_exceptions=False)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.output

    def start(self) -> subprocess.Popen[str]:
        """The same as a process of its own."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ALEXSEARCH")}
        return subprocess.Popen(
            [sys.executable, "-m", "search.cli.main", "run", str(self.space), "--home", str(self.folder / "runs")],
            env=environment | {"ALEXSEARCH_STORAGE": self.storage},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def trials(self) -> list[FrozenTrial]:
        """Of the study, each with the epochs that are recorded of it as those that Optuna has."""
        storage = open_storage(self.storage)
        trials = storage.get_all_trials(find_study(storage, "s").study_id)
        for trial in trials:
            recorded = {row["epoch"]: row["score"] for row in epoch_history(storage, trial._trial_id)}
            assert recorded == trial.intermediate_values
        storage.engine.dispose()
        return trials

    def states(self) -> dict[str, int]:
        return dict(Counter(trial.state.name for trial in self.trials()))

    def retried(self) -> int:
        return sum(trial.system_attrs.get("alexsearch:attempts", 0) for trial in self.trials())

    def log(self) -> str:
        return "".join(file.read_text() for file in (self.folder / "runs" / "s" / "logs").iterdir())

    def whole(self, retried: int = 0) -> None:
        """Every trial was trained to its end, each epoch recorded once, after so many crashes."""
        trials = self.trials()
        assert [sorted(trial.intermediate_values) for trial in trials] == [[1, 2, 3]] * 4
        assert (self.states(), self.retried()) == ({"COMPLETE": 4}, retried)


@pytest.mark.parametrize(
    ("epoch", "told"),
    [
        ("raise ValueError(f'no file for {x}')", "ValueError: no file for"),
        slow("sys.exit(3)", "train.py:train called sys.exit(3)"),
        slow("os._exit(0)", "training process ended with code 0"),
        ("return", "train.py:train returned nothing and reported nothing. Report score"),
        slow(
            "trial.report(epoch, loss=1.0)",
            "train.py:train reported loss in epoch 1, but not score, the study's metric",
        ),
        slow(
            "trial.report(epoch, score='0.5')",
            "train.py:train reported score = '0.5' in epoch 1, which is not a number",
        ),
    ],
)
def test_function_that_can_not_train_anything_ends_the_run_with_the_reason_and_costs_no_trial(
    tmp_path: Path, epoch: str, told: str
) -> None:
    runs = Runs(tmp_path, epoch)
    output = runs.run(code=1)
    assert told in output
    assert "no trial's fault. Both are back in the queue" in output
    assert (runs.states(), runs.retried()) == ({"WAITING": 4}, 0)
    assert all("failure" not in trial.user_attrs for trial in runs.trials())
    runs.train.write_text(TRAIN.format(epoch=indent(dedent(GOOD), " " * 8)))
    assert "another version of its training" in runs.run(code=2)


@pytest.mark.slow
def test_function_that_asks_for_what_the_space_lacks_is_refused_before_anything_starts(tmp_path: Path) -> None:
    runs = Runs(tmp_path, "trial.params['y']")
    output = runs.run(code=2)
    assert "train.py: train asks trial.params for y, which [space] does not have. [space] has x" in output
    assert not (tmp_path / "runs" / "s").exists() or not list((tmp_path / "runs" / "s").rglob("trial-*"))


@pytest.mark.parametrize(
    ("epoch", "why", "retried"),
    [
        slow(
            "if x == 2: raise RuntimeError('bad x')", "error: RuntimeError: bad x (train.py, line 18); the last of 4", 4
        ),
        slow("if x == 2 and epoch == 2: trial.report(1, score=1)", "error: train.py:train reported epoch 1 twice", 0),
        ("if x == 2: trial.report(epoch, score=float('nan'))", "diverged: score became nan in epoch 1", 0),
        slow("if x == 2: raise MemoryError('8 GB')", "out-of-memory: MemoryError: 8 GB", 0),
    ],
)
def test_values_that_can_not_be_trained_fail_for_good_and_the_study_goes_on(
    tmp_path: Path, epoch: str, why: str, retried: int
) -> None:
    runs = Runs(tmp_path, epoch + GOOD)
    assert "4 of 4 settled: 3 complete, 1 failed" in runs.run()
    assert (runs.states(), runs.retried()) == ({"COMPLETE": 3, "FAIL": 1}, retried)
    (failed,) = [trial for trial in runs.trials() if trial.state.name == "FAIL"]
    assert failed.params["x"] == 2
    assert why in failure_of(failed.user_attrs)
    assert "nothing was left to do" in runs.run()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        slow("import ctypes; ctypes.string_at(0)", "killed by signal 11"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
        slow("os._exit(7)", "ended with code 7"),
        slow("time.sleep(60)", "no report for 1 s: taken for hung (epoch_seconds in [train]"),
        slow("raise OSError('the server is away')", "OSError: the server is away"),
        slow("os.write(1, b'not a message'); os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
    ],
)
def test_training_that_breaks_off_once_goes_on_after_its_last_save(tmp_path: Path, wrong: str, told: str) -> None:
    began = "(HERE / 'trained').open('a').write(f'{trial.number} {epoch}\\n')"
    runs = Runs(
        tmp_path, f"if epoch == 2 and once('broke'):\n    {wrong}\n{began}{GOOD}", 1 if "sleep" in wrong else 30
    )
    assert told in runs.run()
    runs.whole(retried=1)
    trained = (tmp_path / "trained").read_text().splitlines()
    assert len(trained) == len(set(trained)) == 12


def test_training_that_saves_nothing_starts_anew_and_says_so_once(tmp_path: Path) -> None:
    runs = Runs(
        tmp_path,
        """
        if epoch == 3 and once('broke'):
            os.kill(os.getpid(), signal.SIGKILL)
        trial.report(epoch, score=x)
        """,
    )
    assert runs.run().count("starts anew: nothing was saved before it was interrupted (trial.save saves)") == 1
    runs.whole(retried=1)


@pytest.mark.slow
def test_processes_that_it_leaves_are_gone_when_the_trial_is(tmp_path: Path) -> None:
    starts = """
    if epoch == 1:
        import subprocess
        left = subprocess.Popen(['sleep', '1000'], start_new_session=True)
        (HERE / 'left').open('a').write(f'{left.pid}\\n')
    """
    runs = Runs(tmp_path, dedent(starts) + GOOD)
    runs.run()
    runs.whole()
    left = [int(pid) for pid in (tmp_path / "left").read_text().split()]
    assert len(left) == 4
    there = [each.info for each in psutil.process_iter(["pid", "status"]) if each.pid in left]
    assert [each for each in there if each["status"] != psutil.STATUS_ZOMBIE] == []
    assert "left 1 processes, which were ended: the next has a new process" in runs.log()


def test_file_that_changes_while_it_is_trained_ends_the_run_and_is_told(tmp_path: Path) -> None:
    changes = """
    if epoch == 2:
        Path(__file__).open('a').write('# changed')
        os._exit(1)
    """
    runs = Runs(tmp_path, dedent(changes) + GOOD)
    before = runs.train.read_text()
    output = runs.run(code=1)
    assert "train.py: has changed, or is another version" in output
    assert "The study is whole" in output
    assert (runs.states(), runs.retried()) == ({"WAITING": 4}, 1)
    runs.train.write_text(before + "#")
    assert "Bring that version back, or start another study with --study NAME" in runs.run(code=2)


def test_ctrl_c_gives_the_trial_back_and_the_next_run_goes_on(tmp_path: Path) -> None:
    interrupts = "if epoch == 3 and once('interrupted'):\n    os.kill(os.getppid(), signal.SIGINT); time.sleep(60)"
    runs = Runs(tmp_path, interrupts + GOOD)
    process = runs.start()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "went back into the queue" in output
    (waiting,) = [trial for trial in runs.trials() if trial.intermediate_values]
    assert (waiting.state.name, sorted(waiting.intermediate_values)) == ("WAITING", [1, 2])
    assert "after epoch 2" in runs.run()
    runs.whole()


def test_trial_that_another_program_has_asked_for_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.run.host.cores_here", lambda: 1)
    runs = Runs(tmp_path, GOOD)
    runs.run("--trials", "1")
    storage = open_storage(runs.storage)
    optuna.load_study(study_name="s", storage=storage).ask()
    storage.engine.dispose()
    output = runs.run("--workers", "2")
    assert "2 workers share 1 core: they take turns" in output
    assert "4 of 4 settled" not in output
    assert "3 of 4 settled: 3 complete; 1 running" in output
    assert "trial 1 of this study was taken by another program (Optuna's study.ask) and is running there" in output
    assert [trial.state.name for trial in runs.trials()] == ["COMPLETE", "RUNNING", "COMPLETE", "COMPLETE"]


@pytest.mark.slow
def test_postgres_that_is_restarted_meanwhile_costs_nothing(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "server")
    try:
        runs = Runs(tmp_path, "(HERE / f'{trial.number}-{epoch}').touch(); time.sleep(0.1)" + GOOD)
        runs.storage = server.database()
        process = runs.start()
        until = time.monotonic() + 60
        while not (tmp_path / "0-3").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        server.stop()
        server.start()
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        runs.whole()
    finally:
        server.stop()
