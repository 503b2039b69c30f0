"""A worker process whose training is played; its host, slots, queue and storage are the real ones.

`work(orders)` runs `search.run.host.run_search` to its end, with three things put in their place from outside:

- the training process: a thread that "trains" as `search.training.trainer` does (checkpoint aside, synced, renamed;
  then the epoch is told; then a verdict is waited for, but not for long), with no TensorFlow in it;
- the queue: the same one, which writes down when the worker holds which trial and what was acknowledged;
- the clocks of life and death, where a test can't wait a minute.

What it writes down (one JSON line a moment, appended whole, so that `kill -9` cuts none) is what `fleet.py` judges by.
The worker can be told a point at which it kills itself.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue as queues
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

import search.run.host
import search.run.matching
import search.run.slot
import search.training.places
import studies.queue.queue
import studies.queue.standing
import studies.queue.undertaker
from model.config import EpochMetrics
from search.base.home import Home
from search.choosing.pausing import Pausing, Ranking, is_paused
from search.run.events import Event, Noted, Retried, Returned
from search.run.request import RunRequest
from search.space.space import SearchSpace
from search.training.child import ChildError
from search.training.messages import (
    DataFound,
    DeviceFound,
    Epoch,
    Finished,
    FromTrainer,
    Ready,
    Started,
    ToTrainer,
    Train,
    Validation,
    Verdict,
)
from search.training.places import Place
from studies.queue.queue import Queue, Taken
from studies.store.opening import open_storage
from studies.store.storage import Storage

READY = Ready(
    data=DataFound(
        source="synthetic",
        fingerprint="null",
        source_images=2000,
        train_images=1000,
        validation_images=100,
        classes=("a", "b"),
    ),
    device=DeviceFound(kind="cpu", name="null", precision="float32"),
)
DYING_POINTS = (
    *("create:before", "create:after", "join:after", "take:before", "take:middle", "take:after"),
    *("started:before", "describe:middle", "describe:after", "resume_at:middle", "resume_at:after"),
    *("record_epoch:before", "record_epoch:middle", "record_epoch:after", "checkpoint:before", "checkpoint:after"),
    *("settle:before", "settle:middle", "settle:after", "leave:before", "leave:after"),
    *("give_back:before", "give_back:middle", "give_back:after", "reap:before", "reap:middle", "reap:after"),
)
"""Where a worker can be told to die. `middle` is inside the transaction: all is written, nothing committed."""
PAUSING_POINTS = (
    *("pause:before", "pause:middle", "pause:after"),
    *("settle_paused:before", "settle_paused:middle", "settle_paused:after"),
)
"""The same where trials pause."""


@dataclass(frozen=True)
class Orders:
    """What a worker is to do."""

    url: str
    home: Path
    log: Path
    trials: int
    epochs: int
    epoch_seconds: float = 0.0
    verdict_seconds: float = 2.0
    slots: int = 1
    die_at: str | None = None
    die_on_visit: int = 1
    """At which time of coming to `die_at`, counted from 1."""
    crash_after: int | None = None
    """The played training process of a trial's first run dies after this epoch."""
    grace_seconds: float | None = None
    pruner: str = "none"
    pauses_best_three: bool = True
    """With the pruner "pause": goes on by `BestThree`, which leaves some to be settled and thinks in no time."""
    sampler: str = "tpe"
    timeout_seconds: float | None = None
    files: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    """Of a worker with pids of its host's own: what tells them from those of other hosts in the evidence."""


def value_of(number: int, epoch: int) -> float:
    """The val_accuracy that every worker reports for this epoch of this trial."""
    return round(0.3 + 0.6 * ((number * 7919 + epoch * 104729) % 1000) / 1000, 6)


def space_of(orders: Orders) -> SearchSpace:
    return SearchSpace.from_dict(
        {
            "study": {"name": "s", "trials": orders.trials},
            "data": {"source": "synthetic", "validation_images": 400},
            "space": {
                "batch_size": {"choices": [32, 64]},
                "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
                "epochs": orders.epochs,
            },
            "sampler": {"name": orders.sampler},
            "pruner": {"name": orders.pruner},
        }
    )


class Evidence:
    """The log that all workers append to. Moments are CLOCK_MONOTONIC, which the processes of a machine share."""

    def __init__(self, path: Path, host: str = "") -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._pid: int | str = f"{host}:{os.getpid()}" if host else os.getpid()

    def write(self, what: str, **values: Any) -> None:
        line = {"what": what, "pid": self._pid, "at": time.monotonic(), **values}
        os.write(self._file, (json.dumps(line) + "\n").encode())


class Reaper:
    """Kills this process when it comes to the point that its orders name."""

    def __init__(self, orders: Orders, evidence: Evidence) -> None:
        self._orders = orders
        self._evidence = evidence
        self._visits = 0
        self.inside = threading.local()

    def at(self, point: str) -> None:
        if point == self._orders.die_at:
            self._visits += 1
            if self._visits == self._orders.die_on_visit:
                self._evidence.write("dies", point=point)
                os.kill(os.getpid(), signal.SIGKILL)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.at(f"{name}:before")
        self.inside.step = name
        yield
        self.inside.step = None
        self.at(f"{name}:after")

    def watch(self, storage: Storage) -> None:
        """Have the transactions of `storage` come to the point `<step>:middle` before they are committed."""
        transaction = storage.transaction

        def watched(body: Callable[[Any], Any]) -> Any:
            def whole(session: Any) -> Any:
                result = body(session)
                session.flush()
                self.at(f"{getattr(self.inside, 'step', None)}:middle")
                return result

            return transaction(whole)

        create = storage.create_new_study

        def created(*arguments: Any) -> int:
            with self.step("create"):
                return create(*arguments)

        storage.transaction = watched  # type: ignore[method-assign]
        storage.create_new_study = created  # type: ignore[method-assign, assignment]


class WatchedQueue(Queue):
    """The real queue, which writes down what it acknowledged."""

    evidence: Evidence
    reaper: Reaper

    def join(self, device: str) -> str:
        with self.reaper.step("join"):
            return super().join(device)

    def leave(self, slot_id: str) -> None:
        with self.reaper.step("leave"):
            super().leave(slot_id)

    def take(self, slot_id: str, *, after: int = -1, wishes: Sequence[int | None] | None = None) -> Taken | None:
        begun = time.monotonic()
        with self.reaper.step("take"):
            taken = super().take(slot_id, after=after, wishes=wishes)
        if taken:
            self.evidence.write(
                "take", slot=slot_id, trial=taken.number, id=taken.trial_id, took=time.monotonic() - begun
            )
            self.reaper.at("started:before")
        return taken

    def describe(self, slot_id: str, trial_id: int, attributes: Mapping[str, Any]) -> bool:
        with self.reaper.step("describe"):
            return self._held("describe", slot_id, trial_id, super().describe(slot_id, trial_id, attributes))

    def resume_at(self, slot_id: str, trial_id: int, epoch: int) -> bool:
        with self.reaper.step("resume_at"):
            return self._held("resume_at", slot_id, trial_id, super().resume_at(slot_id, trial_id, epoch))

    def record_epoch(
        self,
        slot_id: str,
        trial_id: int,
        metrics: Mapping[str, Any],
        images_per_second: float = 0.0,
        optimised: str = "val_accuracy",
    ) -> bool:
        begun = time.monotonic()
        with self.reaper.step("record_epoch"):
            held = super().record_epoch(slot_id, trial_id, metrics, images_per_second, optimised)
            took = time.monotonic() - begun
            self._held("report", slot_id, trial_id, held, epoch=metrics["epoch"], took=took)
        return held

    def settle(self, slot_id: str, trial_id: int, state: Any, value: float | None, attributes: Any) -> bool:
        self.evidence.write("lets go", slot=slot_id, id=trial_id)
        with self.reaper.step("settle"):
            return self._held("settle", slot_id, trial_id, super().settle(slot_id, trial_id, state, value, attributes))

    def give_back(
        self, slot_id: str, trial_id: int, *, crashed: bool, failure: str = "crashed", reason: str = ""
    ) -> bool:
        self.evidence.write("lets go", slot=slot_id, id=trial_id)
        with self.reaper.step("give_back"):
            held = super().give_back(slot_id, trial_id, crashed=crashed, failure=failure, reason=reason)
            return self._held("give_back", slot_id, trial_id, held)

    def pause(self, slot_id: str, trial_id: int, epoch: int, attributes: Mapping[str, Any]) -> bool:
        self.evidence.write("lets go", slot=slot_id, id=trial_id)
        with self.reaper.step("pause"):
            return self._held("pause", slot_id, trial_id, super().pause(slot_id, trial_id, epoch, attributes))

    def settle_paused(self, reasons: Mapping[int, str]) -> list[int]:
        if not reasons:
            return []
        with self.reaper.step("settle_paused"):
            return super().settle_paused(reasons)

    def reap(self, slot_ids: Any) -> None:
        dead = list(slot_ids)
        if not dead:
            return
        self.evidence.write("reap", slots=dead)
        with self.reaper.step("reap"):
            super().reap(dead)

    def _held(self, what: str, slot_id: str, trial_id: int, held: bool, **values: Any) -> bool:
        self.evidence.write(what if held else "no longer held", slot=slot_id, id=trial_id, **values)
        return held


class BestThree(Pausing):
    """Begins all trials, each for an epoch; then those that reported the best three values go on, and no other."""

    def rungs(self, planned: int) -> tuple[int, ...]:
        return (1, 2) if planned > 2 else ()

    def rank(
        self,
        study_trials: Sequence[FrozenTrial],
        seconds_per_epoch: Callable[[FrozenTrial], float] | None = None,
        *,
        may_begin: bool,
        asking: int | None = None,
    ) -> Ranking:
        del seconds_per_epoch
        first = {t.number: t.intermediate_values.get(1, 0.0) for t in study_trials}
        best = sorted(first, key=lambda number: -first[number])[:3]
        there = [t.number for t in study_trials if is_paused(t) or t.number == asking]
        going = [number for number in there if number in best]
        order = (None, *going) if may_begin else tuple(going)
        return Ranking(order, {number: "three are better" for number in there if number not in best})


class NullChild:
    """Plays the training process of a slot."""

    orders: Orders
    evidence: Evidence
    reaper: Reaper

    def __init__(
        self, place: Place, data: Any, cache: Path, log: Path, validation: Validation = "held-out", own: Any = None
    ) -> None:
        del data, cache, validation, own
        self.place, self.log = place, log
        self._told: queues.Queue[FromTrainer | ChildError] = queues.Queue()
        self._verdicts: queues.Queue[Verdict] = queues.Queue()
        self._killed = threading.Event()

    def wait_ready(self, _stopping: threading.Event) -> Ready:
        return READY

    def send(self, message: ToTrainer) -> None:
        if isinstance(message, Train):
            self._verdicts = queues.Queue()  # one that came late was about the training before
            threading.Thread(target=self._train, args=(message,), daemon=True).start()
        elif isinstance(message, Verdict):
            self._verdicts.put(message)

    def receive(self, timeout: float) -> FromTrainer | None:
        try:
            message = self._told.get(timeout=timeout)
        except queues.Empty:
            return None
        if isinstance(message, ChildError):
            raise message
        return message

    def outgrown(self) -> bool:
        return False

    def kill(self) -> None:
        self._killed.set()

    def _train(self, message: Train) -> None:
        assert message.checkpoints is not None
        trial, file = message.trial, message.checkpoints / "history.json"
        history = [EpochMetrics(**one) for one in json.loads(file.read_text())] if file.exists() else []
        self._told.put(Started(trial=trial, config=message.config, history=tuple(history)))
        for epoch in range(len(history) + 1, message.config.epochs + 1):
            if self._killed.wait(self.orders.epoch_seconds):
                return
            history.append(_metrics(trial, epoch))
            self.reaper.at("checkpoint:before")
            _save(file, history)
            self.reaper.at("checkpoint:after")
            self.evidence.write("trained", trial=trial, epoch=epoch)
            self._told.put(Epoch(trial=trial, metrics=history[-1]))
            if not self._go(epoch):
                break
            if epoch == self.orders.crash_after and not (file.parent / "crashed").exists():
                (file.parent / "crashed").touch()
                self._told.put(ChildError("training process was killed by signal 9"))
                return
        self._told.put(Finished(trial=trial))

    def _go(self, epoch: int) -> bool:
        until = time.monotonic() + self.orders.verdict_seconds
        while (left := until - time.monotonic()) > 0 and not self._killed.is_set():
            with contextlib.suppress(queues.Empty):
                verdict = self._verdicts.get(timeout=min(left, 0.2))
                if not verdict.go:
                    return False
                if verdict.epoch >= epoch:
                    return True
        return True


def _metrics(trial: int, epoch: int) -> EpochMetrics:
    fixed = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "learning_rate": 0.01, "seconds": 0.1}
    return EpochMetrics(epoch=epoch, val_accuracy=value_of(trial, epoch), **fixed)


def _save(file: Path, history: list[EpochMetrics]) -> None:
    with contextlib.suppress(FileNotFoundError):  # settled meanwhile, and its checkpoints removed
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f"{file.name}.{os.getpid()}")
        aside.write_text(json.dumps([metrics.model_dump() for metrics in history]))
        aside.replace(file)


@dataclass
class _NullView:
    """Shows nothing, and writes down what people would be told."""

    evidence: Evidence
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        pass

    def opened(self, *_: Any) -> None:
        self.evidence.write("opened")

    def event(self, event: Event) -> None:
        if isinstance(event.what, (Noted, Retried, Returned)):
            self.evidence.write("told", kind=type(event.what).__name__, trial=event.number, text=str(event.what))

    def counted(self, *_: Any) -> None:
        pass


def work(orders: Orders) -> None:
    """Be a worker, to the end of the study or until SIGTERM. The process exits with 1 where it met an error."""
    evidence = Evidence(orders.log, orders.host)
    reaper = Reaper(orders, evidence)
    WatchedQueue.evidence = NullChild.evidence = evidence
    WatchedQueue.reaper = NullChild.reaper = reaper
    NullChild.orders = orders
    played: dict[str, Any] = {
        "Queue": WatchedQueue,
        "provenance": functools.partial(dict, host="null"),  # no `git describe` for every worker
    }
    if orders.pauses_best_three:
        played["Pausing"] = BestThree
    if orders.grace_seconds is not None:
        played |= {"GRACE_SECONDS": orders.grace_seconds, "BEAT_SECONDS": orders.grace_seconds / 12}
    for name, value in played.items():
        run = (search.run.host, search.run.matching, search.run.slot)
        for module in (*run, studies.queue.queue, studies.queue.standing, studies.queue.undertaker):
            if hasattr(module, name):
                setattr(module, name, value)
    os.environ[search.training.places.PRETEND] = str(orders.slots)
    os.environ.update(orders.environment)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    begun = time.monotonic()
    try:
        storage = open_storage(orders.url, opening_patience_seconds=60)
        reaper.watch(storage)
        evidence.write("storage open", took=time.monotonic() - begun)
        request = RunRequest(
            space=space_of(orders),
            home=Home(orders.home),
            storage=storage,
            timeout_seconds=orders.timeout_seconds,
            start=NullChild,
            files=orders.files,
        )
        outcome = search.run.host.run_search(request, _NullView(evidence), stopping)
        evidence.write("ends", settled=outcome.counts.settled)
    except BaseException as error:  # noqa: BLE001 - written down, and told by the exit code
        evidence.write("error", text=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        raise SystemExit(1) from None
