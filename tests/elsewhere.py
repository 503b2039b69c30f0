"""A study of training of one's own that is run with its workers elsewhere, by real `alexsearch worker` processes."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from own_fleet import OwnFleet, judge

from search.base.home import Home
from search.run.engines.engine import Engine
from search.run.events import EpochDone, Event
from search.run.host import run_search
from search.run.request import RunOutcome, RunRequest
from search.space.files import load_space
from search.space.own_files import own_of
from studies.queue.queue import Queue
from studies.record.catalog import all_studies
from studies.store.opening import open_storage
from studies.store.storage import Storage


@dataclass
class Watching:
    """A view that keeps what it is told, and does something at an epoch."""

    at_epochs: int = 10**9
    then: Any = None
    notes: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def opened(self, *_: object) -> None: ...
    def counted(self, _counts: object) -> None: ...

    def event(self, event: Event) -> None:
        self.events.append(event)
        if self.then and len(self.of(EpochDone)) >= self.at_epochs:
            then, self.then = self.then, None
            then()

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event.what, kind)]


@dataclass
class Study:
    """A study of training of one's own, and how it is run."""

    fleet: OwnFleet
    storage: Storage
    request: RunRequest

    def run(
        self, engine: Engine, view: Watching, stopping: threading.Event | None = None, workers: int = 2
    ) -> RunOutcome:
        return run_search(replace(self.request, engine=engine, workers=workers), view, stopping or threading.Event())

    def check(self) -> None:
        """Exactly the budget, nothing lost, nothing twice, nothing left."""
        verdict = judge(self.fleet)
        assert (verdict.budget, verdict.lost, verdict.twice, verdict.left) == ([], [], [], [])


def study_of(folder: Path, trials: int = 4, epochs: int = 30) -> Study:
    url = f"sqlite:///{folder / 'study.db'}"
    fleet = OwnFleet(folder / "own", url, trials, epochs)
    space = load_space(str(fleet.folder / "s.toml"))
    storage = open_storage(url)
    own = own_of(space, (fleet.folder,))
    request = RunRequest(space, Home(folder / "home"), storage, workers=2, own=own, code=fleet.folder)
    return Study(fleet, storage, request)


def kill_one(study: Study) -> None:
    """`kill -9` of a worker that has a trial."""
    queue = Queue(study.storage, all_studies(study.storage)[0].study_id)
    os.kill(next(slot.pid for slot in queue.slots() if slot.trial is not None), signal.SIGKILL)
