"""Whole runs with real training processes on small data: what ends, what goes on, what is never lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
import pytest
from optuna.artifacts import get_all_artifact_meta
from optuna.trial import TrialState
from study_maker import make_study

import model.data
from search.run.stopping import ECHO_SECONDS
from studies.record.catalog import find_study
from studies.record.retrained import read as read_retrained
from studies.record.retrained import verified as read_verified
from studies.store.epochs import epoch_history
from studies.store.opening import open_storage

SPACE = """
[study]
name = "small"
trials = 2
seed = 3
[data]
source = "synthetic"
train_images = 320
validation_images = 100
[space]
batch_size = 32
learning_rate = { low = 0.005, high = 0.05, log = true }
epochs = 3
schedule = { choices = ["constant", "step"] }
step_epochs = { low = 1, high = 2 }
step_factor = 0.1
[pruner]
name = "none"
[baseline]
batch_size = 32
learning_rate = 0.01
epochs = 3
schedule = "constant"
"""
SLOW = SPACE.replace("train_images = 320", "train_images = 1000").replace("epochs = 3", "epochs = 4")
SLOW = SLOW.replace("trials = 2", "trials = 1")


def few_images(file: Path, training: int) -> str:
    """A data file of so many of synthetic's training images and 100 of its test images."""
    parts: dict[str, Any] = {}
    for name, images, count in (
        ("train", model.data.load_training("synthetic", file.parent), training),
        ("test", model.data.load_test("synthetic", file.parent), 100),
    ):
        parts |= {f"x_{name}": images.images[:count], f"y_{name}": images.labels[:count]}
    np.savez(file, **parts, allow_pickle=False)
    return str(file)


class Command:
    """`alexsearch` as a process of its own, over one home and one database."""

    def __init__(self, home: Path, storage: str | None = None) -> None:
        self.home = home
        self.url = storage or f"sqlite:///{home / 'alexsearch.db'}"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("ALEXSEARCH")}
        self.environment |= {"ALEXSEARCH_HOME": str(home), "ALEXSEARCH_STORAGE": self.url}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "search.cli.main", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, code: int = 0) -> str:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        assert process.returncode == code, f"{out}\n{err}"
        return out if code == 0 else err

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        return optuna.load_study(study_name="small", storage=open_storage(self.url)).trials

    def wait_for(self, process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 120
        while not condition():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until, "what was waited for did not happen"
            time.sleep(0.05)

    def epochs(self) -> int:
        """Epochs reported so far, of all trials."""
        try:
            return sum(len(trial.intermediate_values) for trial in self.trials())
        except (KeyError, Exception):  # noqa: BLE001 - the study is not there yet
            return 0


@pytest.fixture
def alexsearch(tmp_path: Path) -> Command:
    return Command(tmp_path / "home")


@pytest.fixture
def space(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(SPACE)
    return str(path)


@pytest.fixture
def slow_space(tmp_path: Path) -> str:
    path = tmp_path / "slow.toml"
    path.write_text(SLOW)
    return str(path)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    until = time.monotonic() + 30
    while orphans := [c for c in psutil.Process().children(recursive=True) if c.status() != psutil.STATUS_ZOMBIE]:
        trainers = [child for child in orphans if "search.training.trainer" in child.cmdline()]
        if not trainers:
            return
        assert time.monotonic() < until, trainers
        time.sleep(0.1)


@pytest.mark.slow
def test_from_search_to_a_verified_score(alexsearch: Command, space: str, tmp_path: Path) -> None:
    data = few_images(tmp_path / "few.npz", 420)
    out = alexsearch("run", space, "--data", data)
    assert "2 of 2 settled: 2 complete" in out
    assert "next: alexsearch dashboard --study small" in out

    status = alexsearch.json("status")
    assert (status["study"], status["budget"], status["counts"]["complete"]) == ("small", 2, 2)
    best = alexsearch.json("best")
    assert {"study", "number", "value", "params", "config"} <= set(best)
    baseline = alexsearch.trials()[0]
    assert baseline.params["learning_rate"] == 0.01
    assert best["value"] >= (baseline.value or 0)
    assert best["config"]["precision"] in ("float32", "bfloat16")
    shown = open_storage(alexsearch.url).get_study_system_attrs(1)
    assert "2 of 2 settled: 2 complete" in shown["dashboard:note_str:0"]
    assert "dashboard:plot_data:alexsearch-lanes:0" in shown
    artifacts = get_all_artifact_meta(baseline, storage=open_storage(alexsearch.url))
    assert (baseline.user_attrs["slot"], len(artifacts)) == ("slot-0", 2)

    recipe = tmp_path / "best.toml"
    alexsearch("export", "-o", str(recipe))
    verified = tmp_path / "verified"
    out = alexsearch("retrain", str(recipe), "--seeds", "2", "--workers", "2", "--out", str(verified))
    assert f"420 training images of {data}, 2 seeds" in out
    assert "written to study small" in out
    metrics = json.loads((verified / "metrics.json").read_text())
    assert len(metrics["seeds"]) == 2
    assert metrics["measured_images"] == 100
    assert len(metrics["seeds"][0]["history"]) == best["config"]["epochs"]
    assert "Plotly.newPlot" in (verified / "index.html").read_text()

    evaluation = alexsearch.json("evaluate", str(verified / "seed-0.keras"), "--data", data)
    assert evaluation["accuracy"] == metrics["seeds"][0]["accuracy"]
    assert sum(map(sum, evaluation["confusion"])) == 100

    loaded = optuna.load_study(study_name="small", storage=open_storage(alexsearch.url))
    kept = {meta.filename: meta.artifact_id for meta in optuna.artifacts.get_all_artifact_meta(loaded)}
    page = kept[f"trial-{best['number']}-test-index.html"]
    assert (alexsearch.home / "artifacts" / page).read_bytes() == (verified / "index.html").read_bytes()
    assert len(kept) == 4

    out = alexsearch("verify", "--top", "2", "--seeds", "2", "--workers", "2")
    assert re.search(r"Trial \d is picked.*Welch's t-test, 2 fresh seeds each, p = ", out)
    study = find_study(open_storage(alexsearch.url), "small")
    conclusion = read_verified(study)
    assert conclusion
    assert sorted(conclusion.candidates) == [0, 1]
    assert read_retrained(study)[conclusion.picked].split == "test"


@pytest.mark.slow
def test_ctrl_c_in_a_retraining_keeps_its_epochs_and_the_same_command_goes_on(
    alexsearch: Command, tmp_path: Path
) -> None:
    data = few_images(tmp_path / "few.npz", 1000)
    fingerprint = model.data.fingerprint(model.data.load_training(data, tmp_path))
    make_study(open_storage(alexsearch.url), 0.5, fingerprint=fingerprint)
    alexsearch("export", "-o", str(tmp_path / "best.toml"))
    command = ("retrain", str(tmp_path / "best.toml"), "--out", str(tmp_path / "out"), "--data", data)
    checkpoints = tmp_path / "out" / "checkpoints" / "seed-0"

    process = alexsearch.start(*command)
    alexsearch.wait_for(process, lambda: bool(list(checkpoints.glob("epoch-*"))))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "alexsearch: interrupted. Run the same command again: it goes on where it was.\n"
    first = json.loads(next(checkpoints.glob("epoch-*")).read_bytes().partition(b"\n")[0])["history"]

    alexsearch(*command)
    history = json.loads((tmp_path / "out" / "seed-0.json").read_text())["history"]
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[0]["seconds"] == first[0]["seconds"]  # it was not trained again
    assert not checkpoints.exists()


@pytest.mark.slow
def test_running_again_adds_nothing_and_a_larger_total_or_add_raises_it(alexsearch: Command, space: str) -> None:
    alexsearch("run", space, "--trials", "1")
    first = alexsearch.trials()
    assert "nothing was left to do" in alexsearch("run", space, "--trials", "1")
    assert alexsearch.trials() == first
    alexsearch("run", space)
    assert alexsearch.json("status")["counts"]["complete"] == 2
    alexsearch("run", space, "--add", "1")
    trials = alexsearch.trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert trials[0] == first[0]


@pytest.mark.slow
def test_other_space_or_other_data_is_refused_and_changes_nothing(alexsearch: Command, space: str) -> None:
    alexsearch("run", space, "--trials", "1")
    before = alexsearch.trials()
    changed = Path(space).with_name("changed.toml")
    changed.write_text(SPACE.replace("epochs = 3", "epochs = 4"))
    message = alexsearch("run", str(changed), code=2)
    assert "was started with another space" in message
    assert "[space] epochs: was 3, is now 4" in message
    assert "--study NAME" in message
    message = alexsearch("run", space, "--data", "digits", code=2)
    assert "[data] source: was synthetic, is now digits" in message
    assert "Go on with it by --data synthetic, or start another study with --study NAME" in message
    assert "the study has 1 trials, and may have 1,000,000" in alexsearch("run", space, "--add", "1000000", code=2)
    assert alexsearch.trials() == before


@pytest.mark.slow
def test_ctrl_c_gives_the_trial_back_and_the_next_run_goes_on_bit_for_bit(
    alexsearch: Command, slow_space: str, tmp_path: Path
) -> None:
    uninterrupted = Command(tmp_path / "other")
    uninterrupted("run", slow_space)

    process = alexsearch.start("run", slow_space)
    alexsearch.wait_for(process, lambda: alexsearch.epochs() >= 2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "went back into the queue" in out
    reported = alexsearch.epochs()
    assert alexsearch.json("status")["counts"]["waiting"] == 1
    alexsearch("run", slow_space)

    def history(command: Command) -> list[dict[str, Any]]:
        (trial,) = command.trials()
        rows = epoch_history(open_storage(command.url), trial._trial_id)
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    assert reported >= 2
    assert history(alexsearch) == history(uninterrupted)
    assert alexsearch.json("status")["counts"]["retried"] == 0


@pytest.mark.slow
def test_signal_that_comes_twice_at_once_is_one(alexsearch: Command, slow_space: str) -> None:
    process = alexsearch.start("run", slow_space)
    alexsearch.wait_for(process, lambda: alexsearch.epochs() >= 1)
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "went back into the queue" in out
    counts = alexsearch.json("status")["counts"]
    assert (counts["waiting"], counts["retried"]) == (1, 0)


@pytest.mark.slow
@pytest.mark.parametrize("signals", [(signal.SIGKILL,), (signal.SIGTERM, signal.SIGINT)], ids=["killed", "told twice"])
def test_run_that_ends_at_once_loses_no_reported_epoch_and_its_trial_is_retried(
    alexsearch: Command, slow_space: str, signals: tuple[signal.Signals, ...]
) -> None:
    process = alexsearch.start("run", slow_space)
    alexsearch.wait_for(process, lambda: alexsearch.epochs() >= 1)
    locker = sqlite3.connect(alexsearch.url.removeprefix("sqlite:///"), isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")  # nothing can be given back
    for number in signals:
        process.send_signal(number)
        time.sleep(2 * ECHO_SECONDS)
    process.communicate(timeout=30)
    locker.close()
    assert process.returncode == (130 if len(signals) == 2 else -signal.SIGKILL)
    before = alexsearch.trials()[0].intermediate_values
    alexsearch("run", slow_space)
    counts = alexsearch.json("status")["counts"]
    assert (counts["complete"], counts["running"], counts["retried"]) == (1, 0, 1)
    first = alexsearch.trials()[0]
    assert set(first.intermediate_values) == set(range(1, 5))
    assert before.items() <= first.intermediate_values.items()


def test_killed_training_process_is_replaced_within_the_run(alexsearch: Command, slow_space: str) -> None:
    process = alexsearch.start("run", slow_space)
    alexsearch.wait_for(process, lambda: alexsearch.epochs() >= 1)
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "killed by signal 9" in out
    counts = alexsearch.json("status")["counts"]
    assert (counts["complete"], counts["retried"]) == (1, 1)


@pytest.fixture
def group_without_memory() -> Iterator[Path]:
    """A control group whose processes are killed by the kernel as soon as they want more memory."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root) / f"alexsearch-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(4 * 2**20))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no control group can be made here: that takes root and a writable /sys/fs/cgroup")


@pytest.mark.slow
def test_training_process_that_the_kernel_kills_for_want_of_memory_is_replaced_and_the_reason_told(
    alexsearch: Command, slow_space: str, group_without_memory: Path
) -> None:
    process = alexsearch.start("run", slow_space)
    alexsearch.wait_for(process, lambda: alexsearch.epochs() >= 1)
    for child in psutil.Process(process.pid).children(recursive=True):
        (group_without_memory / "cgroup.procs").write_text(str(child.pid))
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "out-of-memory: the kernel killed the training process" in out
    counts = alexsearch.json("status")["counts"]
    assert (counts["complete"], counts["retried"]) == (1, 1)


@pytest.mark.slow
def test_two_runs_share_the_budget_of_one_study_on_postgres(tmp_path: Path, space: str, postgres_url: str) -> None:
    first, second = Command(tmp_path / "a", postgres_url), Command(tmp_path / "b", postgres_url)
    processes = [command.start("run", space, "--trials", "5") for command in (first, second)]
    for process in processes:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, f"{out}\n{err}"
    trials = first.trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 5
    assert [trial.number for trial in trials] == list(range(5))
    assert first.json("status")["slots"] == []


@pytest.mark.slow
def test_two_workers_on_one_cpu_settle_each_trial_once(alexsearch: Command, space: str) -> None:
    alexsearch("run", space, "--trials", "4", "--workers", "2")
    assert alexsearch.json("status")["counts"]["complete"] == 4


@pytest.mark.slow
def test_diverging_trial_fails_for_good_and_the_study_goes_on(alexsearch: Command, space: str) -> None:
    text = Path(space).read_text().replace("low = 0.005, high = 0.05", "low = 0.005, high = 900.0")
    Path(space).write_text(text.replace("learning_rate = 0.01\n", "learning_rate = 900.0\n"))
    alexsearch("run", space)
    counts = alexsearch.json("status")["counts"]
    assert counts["failed"] >= 1
    assert counts["failed"] + counts["complete"] == 2
    assert alexsearch.trials()[0].user_attrs["failure"] == "diverged"
