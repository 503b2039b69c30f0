"""The contract of an engine: so many workers with these resources, running; tell me when one ends; end them.

A run asks its engine three things, in this order:

    places = engine.places(workers)      # can it be done? Nothing is started, nothing made, before this says yes
    engine.is_here()                     # all of it on this host? Else an SQLite file won't do
    staff = engine.open(order)           # the study is there, its queue filled
    staff.start(0); staff.start(1); ...  # and again for one that has ended
    for ended in staff.ended(): ...      # every fraction of a second
    staff.stop()                         # Ctrl-C, or the run's time is over: trials go back, workers end
    staff.close()                        # whoever is still there ends now

What holds for every engine, and is tested for each by `tests/test_engines.py`:

- `places` raises InputError, with what there is and the way out, if the engine's package is not installed, its cluster
  does not answer within seconds, or it can't hold so many workers. A cluster may lose hosts later: what can't be
  placed then waits for room.
- A worker that was started is told of by `ended` exactly once, whatever ended it, and only after its process is gone or
  its host given up for lost. Its number may then be started anew.
- `stop` returns at once. A worker gets SIGTERM, gives its trial back with the checkpoint, and ends with 143; one that
  waits for a place never starts. `ended` tells of each.
- After `close` no process of theirs is left on a host that can be reached. It may be called at any time, and twice.
- Nothing secret is on a command line or in a message: the database's URL is in the environment of the worker alone.

One thread uses an engine. Never imports TensorFlow.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from search.training.places import Place

TOLD_LINES = 5
"""So many of the last lines of its log are told of a worker that failed."""


class EngineError(Exception):
    """The engine can't go on: its cluster is gone. The study is whole."""


@dataclass(frozen=True)
class Resources:
    """What one worker is given."""

    gpus: float = 0.0
    """1 is a GPU of its own, 1/K its share of one; 0 is none."""
    cpus: float = 1.0


@dataclass(frozen=True)
class Order:
    """What every worker of a run is started with, on whatever host. Can be pickled."""

    arguments: tuple[str, ...]
    """After the program's name: `worker --study NAME --workers 1 ...`. No secret is among them. See `orders.py`."""
    environment: Mapping[str, str] = field(repr=False)
    """What the worker's environment has besides its host's: the database's URL, with its password, among it."""
    folder: Path
    """Where the run was started. The worker is started there too, if its host has such a folder."""
    logs: Path
    """Folder, on the worker's own host, of the files to which what workers print is appended."""
    program: tuple[str, ...] = ("-m", "search.cli.main")
    """What the Python of the worker's host runs: `alexsearch`. Tests have a played worker."""

    def log(self, number: int) -> Path:
        return self.logs / f"worker-{number}.log"


@dataclass(frozen=True)
class Ended:
    """How a worker ended."""

    number: int
    code: int | None
    """The process' exit code, negative for a signal; None if nothing can be known: its host is lost, or its job was
    cancelled, preempted or out of time."""
    told: str = ""
    """Where it was, its log, and the log's last lines, for people."""
    error: BaseException | None = None
    """What a thread of this process raised."""

    @property
    def is_done(self) -> bool:
        """It found nothing left to do, or the study told to stop."""
        return self.code == 0

    @property
    def is_refused(self) -> bool:
        """It can't take part as it is: other data, another version, no way to the database. It would be so again."""
        return self.code == 2

    @property
    def is_innocent(self) -> bool:
        """It was ended from outside: by its host, its job's end, or a signal that has trials given back."""
        asked = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        return self.code is None or self.code in [128 + number for number in asked] + [-number for number in asked]


class Staff(Protocol):
    """The workers of one run, by number."""

    def start(self, number: int) -> None:
        """Have this worker run, as soon as there is a place for it. Returns at once.

        Raises:
            EngineError: the engine can't be reached any more.
        """

    def ended(self) -> list[Ended]:
        """Those that ended since the last call. Returns within a fraction of a second. Raises EngineError."""

    def stop(self) -> None:
        """Have all of them give their trials back and end."""

    def close(self) -> None:
        """End those that are still there at once, and let go of the engine. Raises nothing."""


class Engine(Protocol):
    """A way to have workers somewhere. Making one touches nothing, and imports nothing optional."""

    name: str
    """As typed: --engine NAME."""
    resources: Resources
    """What each worker is given. Final once `places` has answered."""

    def places(self, workers: int | None) -> tuple[Place, ...]:
        """One a worker: as many as asked for, or as the engine finds fit; what is known of where, as people read it.

        Raises:
            InputError: it can't be done.
        """

    def is_here(self) -> bool:
        """Whether all that `places` found is on this very host. Called after it."""

    def open(self, order: Order) -> Staff:
        """Ready to start workers. Raises EngineError."""
