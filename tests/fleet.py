"""Starts null workers as processes, kills them, and judges by what they wrote down whether anything was lost."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from multiprocessing.process import BaseProcess
from typing import Any

import optuna
import sqlalchemy as sa
from null_worker import Orders, value_of, work
from optuna.trial import FrozenTrial, TrialState

from studies.queue.standing import RETRIES
from studies.store.opening import open_storage
from studies.store.schema import EPOCHS, SLOTS

# A process a worker, as in earnest; but forked from one that has imported Optuna and SQLAlchemy already.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["search.run.host", "search.choosing.proposing", "optuna.samplers", "studies.record.catalog"]
)


@dataclass
class Fleet:
    """The workers of one study."""

    orders: Orders
    workers: list[BaseProcess] = field(default_factory=list)
    _lines: list[dict[str, Any]] = field(default_factory=list)
    _read: int = 0

    def start(self, **changes: Any) -> BaseProcess:
        worker = _context.Process(target=work, args=(replace(self.orders, **changes),), daemon=True)
        worker.start()
        self.workers.append(worker)
        return worker

    def run(self, seconds: float = 120, **changes: Any) -> None:
        """Start a worker and have it finish the study."""
        ended(self.start(**changes), seconds)

    def kill(self, worker: BaseProcess) -> None:
        """`kill -9`, written down beforehand."""
        assert worker.pid is not None
        line = {"what": "killed", "pid": worker.pid, "at": time.monotonic()}
        with self.orders.log.open("a") as log:
            log.write(json.dumps(line) + "\n")
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)
        worker.join(30)

    def close(self) -> None:
        for worker in self.workers:
            if worker.is_alive() and worker.pid:
                os.kill(worker.pid, signal.SIGCONT)
                worker.kill()
            worker.join(30)

    def evidence(self) -> list[dict[str, Any]]:
        """All that was written down so far; what was read before is not read again."""
        if self.orders.log.exists():
            with self.orders.log.open("rb") as log:
                log.seek(self._read)
                new = log.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            self._lines += [json.loads(line) for line in whole.splitlines()]
        return self._lines

    def seen(self, what: str, **values: Any) -> list[dict[str, Any]]:
        return [
            line
            for line in self.evidence()
            if line["what"] == what and all(line.get(key) == value for key, value in values.items())
        ]

    def wait(self, condition: Callable[[], Any], seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"what was waited for did not happen; the last: {self.evidence()[-5:]}"
            time.sleep(0.05)

    def kill_at_random(self, kills: int, workers: int, chance: random.Random, between: tuple[float, float]) -> int:
        """Keep `workers` running and kill one after another, until the study is settled or so many are killed."""
        done = 0
        while done < kills:
            live = [worker for worker in self.workers if worker.is_alive()]
            if any(worker.exitcode == 0 for worker in self.workers):
                break
            while len(live) < workers:
                live.append(self.start())
            time.sleep(chance.uniform(*between))
            self.kill(chance.choice(live))
            done += 1
        return done


@dataclass(frozen=True)
class Verdict:
    """What became of a study."""

    trials: list[FrozenTrial]
    problems: list[str]
    overlaps: list[str]
    """Those of the problems that are a trial run by two live workers at a time."""
    errors: list[str]
    reports: list[float]
    """Seconds of each acknowledged report."""
    takes: int
    attempts: int

    @property
    def states(self) -> dict[str, int]:
        return dict(Counter(trial.state.name.lower() for trial in self.trials))


def judge(fleet: Fleet, *, to_the_end: bool = True) -> Verdict:
    """Hold what is in the database against what the workers wrote down; all of them are gone.

    `to_the_end` False: they were told to stop before the study was settled, so trials may wait.
    """
    orders, evidence = fleet.orders, fleet.evidence()
    storage = open_storage(orders.url)
    trials = optuna.load_study(study_name="s", storage=storage).trials
    with storage.engine.connect() as connection:
        slots = connection.execute(sa.select(SLOTS)).all()
        stored = {(row.trial_id, row.epoch): row.val_accuracy for row in connection.execute(sa.select(EPOCHS))}
    storage.engine.dispose()
    problems = []
    if [trial.number for trial in trials] != list(range(orders.trials)):
        problems.append(f"budget: {len(trials)} trials instead of {orders.trials}")
    allowed = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, *([] if to_the_end else [TrialState.WAITING]))
    problems += [f"trial {t.number} is {t.state.name}" for t in trials if t.state not in allowed]
    problems += [f"slot {slot.slot_id} is left" for slot in slots]
    by_id = {trial._trial_id: trial for trial in trials}
    for line in evidence:
        if line["what"] != "report":
            continue
        trial, epoch = by_id[line["id"]], line["epoch"]
        expected = value_of(trial.number, epoch)
        if (stored.get((trial._trial_id, epoch)), trial.intermediate_values.get(epoch)) != (expected, expected):
            problems.append(f"trial {trial.number}: the acknowledged report of epoch {epoch} is lost")
    for trial in trials:
        attempts = trial.system_attrs.get("alexsearch:attempts", 0)
        if trial.state == TrialState.FAIL and attempts <= RETRIES:
            problems.append(f"trial {trial.number} failed for good after {attempts} crashes: {trial.user_attrs}")
        if trial.state == TrialState.COMPLETE and set(trial.intermediate_values) != set(range(1, orders.epochs + 1)):
            problems.append(f"trial {trial.number} is complete with epochs {sorted(trial.intermediate_values)}")
    overlaps = _overlaps(evidence)
    return Verdict(
        trials=trials,
        overlaps=overlaps,
        problems=problems + overlaps,
        errors=[line["text"] for line in evidence if line["what"] == "error"],
        reports=[line["took"] for line in evidence if line["what"] == "report"],
        takes=sum(line["what"] == "take" for line in evidence),
        attempts=sum(trial.system_attrs.get("alexsearch:attempts", 0) for trial in trials),
    )


def _overlaps(evidence: list[dict[str, Any]]) -> list[str]:
    """The trials that two live workers held at one time.

    A worker surely holds a trial from the moment that taking it returned until it began the call that settled it or
    gave it back with success, or until it was killed; where neither happened (it froze), until it began the last call
    that told it so.
    """
    holds: dict[int, list[tuple[float, float, str]]] = defaultdict(list)
    since: dict[str, tuple[int, int, float]] = {}
    until: dict[str, float] = {}
    letting_go: dict[str, float] = {}

    def close(slot: str, at: float) -> None:
        if slot in since:
            trial_id, _, begun = since.pop(slot)
            holds[trial_id].append((begun, at, slot))

    for line in sorted(evidence, key=lambda line: line["at"]):
        slot, at = line.get("slot", ""), line["at"]
        match line["what"]:
            case "take":
                close(slot, until.get(slot, at))
                since[slot], until[slot] = (line["id"], line["pid"], at), at
            case "report" | "describe" | "resume_at":
                until[slot] = max(until[slot], at - line.get("took", 0.0))
            case "lets go":
                letting_go[slot] = at
            case "settle" | "give_back" | "pause":
                close(slot, letting_go[slot])
            case "killed" | "dies":
                for other in [key for key in since if since[key][1] == line["pid"]]:
                    close(other, at)
    for slot in list(since):
        close(slot, until[slot])
    return [
        f"trial id {trial_id} was held by {one[:6]} until {end:.3f} and taken by {other[:6]} at {begin:.3f}"
        for trial_id, spans in holds.items()
        for (_, end, one), (begin, _, other) in pairwise(sorted(spans))
        if begin < end
    ]


def ended(worker: BaseProcess, seconds: float = 120) -> None:
    """Wait for a worker that is to end well."""
    worker.join(seconds)
    assert worker.exitcode == 0, f"worker ended with {worker.exitcode}"
