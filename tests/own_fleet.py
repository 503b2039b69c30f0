"""Real `alexsearch run` and `worker` processes that train a real function, killed at random, and the judge over them.

The function appends each of its steps to one file, whole lines at a time, so that no `kill -9` cuts one. By that file,
and not by what we say ourselves, the judge knows what was trained, and by whom.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import psutil
import sqlalchemy as sa
from null_worker import value_of
from optuna.trial import FrozenTrial, TrialState

from search.training.own_trial import MARK
from studies.queue.standing import RETRIES
from studies.store.epochs import epoch_history
from studies.store.opening import open_storage
from studies.store.schema import SLOTS

TRAIN = f"""
import json, os, time

MARK = os.environ["{MARK}"]

{inspect.getsource(value_of)}

def tell(what, trial, **more):
    line = {{"what": what, "trial": trial.number, "pid": os.getpid(), "mark": MARK, "at": time.monotonic(), **more}}
    os.write(EVIDENCE, (json.dumps(line) + "\\n").encode())

def train(trial):
    folder = trial.restore()
    tell("begins", trial, after=int((folder / "epoch").read_text()) if folder else 0)
    for epoch in trial.epochs():
        time.sleep(0.003)
        tell("trained", trial, epoch=epoch)
        trial.save(lambda folder: (folder / "epoch").write_text(str(epoch)))
        trial.report(epoch, score=value_of(trial.number, epoch), loss=1.0)
        tell("reported", trial, epoch=epoch)
    tell("ends", trial)
"""
SPACE = """
[study]
name = "s"
trials = {trials}
[train]
function = "train.py:train"
metric = "score"
epochs = {epochs}
[space]
lr = {{ low = 1e-4, high = 0.1, log = true }}
[pruner]
name = "none"
"""


@dataclass
class OwnFleet:
    """The processes at work on one study."""

    folder: Path
    url: str
    trials: int
    epochs: int
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _read: int = 0
    _lines: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = self.folder / "evidence"
        opened = f"EVIDENCE = os.open({str(self._file)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)\n"
        (self.folder / "train.py").write_text(TRAIN + opened)
        (self.folder / "s.toml").write_text(SPACE.format(trials=self.trials, epochs=self.epochs))

    def start(self) -> subprocess.Popen[bytes]:
        """One more process: of one or two slots, by `alexsearch run` or `alexsearch worker`."""
        number = len(self.workers)
        slots = "2" if number % 3 == 0 else "1"
        what = ["worker", "--study", "s"] if number % 2 and self.evidence() else ["run", "s.toml"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ALEXSEARCH")}
        environment |= {"ALEXSEARCH_HOME": str(self.folder / "home"), "ALEXSEARCH_STORAGE": self.url}
        with (self.folder / f"worker-{number}").open("wb") as output:
            worker = subprocess.Popen(
                [sys.executable, "-m", "search.cli.main", *what, "--workers", slots],
                cwd=self.folder,
                env=environment,
                stdout=output,
                stderr=output,
            )
        self.workers.append(worker)
        return worker

    def evidence(self) -> list[dict[str, Any]]:
        """All that the function wrote down so far."""
        with contextlib.suppress(FileNotFoundError), self._file.open("rb") as file:
            file.seek(self._read)
            new = file.read()
            self._read += len(new)
            self._lines += [json.loads(line) for line in new.splitlines()]
        return self._lines

    def kill_at_random(self, kills: int, workers: int, chance: random.Random) -> Counter[str]:
        """Kill a training process, or the worker that has started it, until so many are killed or all is settled.

        From the first epoch of such a process on: two that crash alike before it would end their run.
        """
        killed: Counter[str] = Counter()
        while killed.total() < kills and not any(worker.poll() == 0 for worker in self.workers):
            while sum(worker.poll() is None for worker in self.workers) < workers:
                self.start()
            time.sleep(chance.uniform(0.02, 0.6))
            reported = {line["mark"] for line in self.evidence() if line["what"] == "reported"}
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                if training := sorted(marked(reported)):
                    process = psutil.Process(chance.choice(training)[0])
                    chosen, what = chance.choice([(process, "training processes"), (process.parent(), "workers")])
                    if chosen and (what != "workers" or chosen.pid in {worker.pid for worker in self.workers}):
                        chosen.kill()
                        killed[what] += 1
        return killed

    def finish(self, seconds: float) -> None:
        """Have those that are left, and one more, settle the study."""
        self.start()
        for worker in self.workers:
            worker.wait(seconds)

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


def marked(marks: set[str]) -> set[tuple[int, str]]:
    """The running processes that have one of these marks of a training, with it."""
    found = set()
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(folder.name)
            for name, _, value in (each.partition(b"=") for each in (folder / "environ").read_bytes().split(b"\0")):
                if name == MARK.encode() and value.decode() in marks:
                    found.add((pid, value.decode()))
    return found


@dataclass(frozen=True)
class OwnVerdict:
    """What became of a study, each kind of what may be wrong in words."""

    states: dict[str, int]
    attempts: int
    reports: int
    budget: list[str]
    lost: list[str]
    """Epochs that the function reported and that the database lacks, or has otherwise."""
    twice: list[str]
    """Trials that two processes trained at one time, and epochs that were trained again though they were saved."""
    left: list[str]
    errors: list[str]


def judge(fleet: OwnFleet) -> OwnVerdict:
    """Hold what is in the database against what the function wrote down; all workers have ended."""
    evidence = fleet.evidence()
    storage = open_storage(fleet.url)
    trials = optuna.load_study(study_name="s", storage=storage).trials
    with storage.engine.connect() as connection:
        slots = connection.execute(sa.select(SLOTS)).all()
    stored = {trial.number: epoch_history(storage, trial._trial_id) for trial in trials}
    storage.engine.dispose()
    budget = []
    if [trial.number for trial in trials] != list(range(fleet.trials)):
        budget.append(f"{len(trials)} trials instead of {fleet.trials}")
    budget += [f"trial {trial.number} is {trial.state.name}" for trial in trials if not _settled(trial)]
    lost = []
    for trial in trials:
        told = {line["epoch"] for line in evidence if (line["what"], line["trial"]) == ("reported", trial.number)}
        due = set(range(1, fleet.epochs + 1)) if trial.state == TrialState.COMPLETE else told
        rows = [(row["epoch"], row["score"]) for row in stored[trial.number]]
        values = {epoch: value_of(trial.number, epoch) for epoch in range(1, fleet.epochs + 1)}
        once = len(rows) == len(dict(rows)) and dict(rows) == trial.intermediate_values
        if not (once and due <= dict(rows).keys() and dict(rows).items() <= values.items()):
            lost.append(
                f"trial {trial.number}, {trial.state.name}: has {rows}, but the function reported {sorted(told)}"
            )
    marks, until = {line["mark"] for line in evidence}, time.monotonic() + 10
    while (left := marked(marks)) and time.monotonic() < until:  # those of a worker killed last are about to end
        time.sleep(0.05)
    return OwnVerdict(
        states=dict(Counter(trial.state.name.lower() for trial in trials)),
        attempts=sum(_attempts(trial) for trial in trials),
        reports=sum(line["what"] == "reported" for line in evidence),
        budget=budget,
        lost=lost,
        twice=_twice(evidence),
        left=[f"slot {slot.slot_id} is left" for slot in slots] + [f"process {pid} is left" for pid, _ in left],
        errors=[
            f"a worker ended with {worker.returncode}: {(fleet.folder / f'worker-{number}').read_text()[-2000:]}"
            for number, worker in enumerate(fleet.workers)
            if worker.returncode not in (0, -signal.SIGKILL)
        ],
    )


def _attempts(trial: FrozenTrial) -> int:
    return int(trial.system_attrs.get("alexsearch:attempts", 0))


def _settled(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE or (trial.state == TrialState.FAIL and _attempts(trial) > RETRIES)


def _twice(evidence: list[dict[str, Any]]) -> list[str]:
    problems = []
    by_trial: dict[int, list[dict[str, Any]]] = {}
    for line in sorted(evidence, key=lambda line: line["at"]):
        by_trial.setdefault(line["trial"], []).append(line)
    for number, lines in by_trial.items():
        reported, mark = 0, ""
        gone: set[str] = set()
        for line in lines:
            if line["mark"] != mark:
                if line["mark"] in gone:
                    problems.append(f"trial {number} was trained by two processes at a time, at {line['at']:.3f}")
                gone.add(mark)
                mark = line["mark"]
            if line["what"] == "begins" and line["after"] < reported:
                problems.append(f"trial {number} began after {line['after']}, but epoch {reported} was reported")
            if line["what"] == "reported":
                reported = line["epoch"]
    return problems
