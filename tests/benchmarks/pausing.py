"""What do a pause and going on cost a trial? Two trials in one training process, in turn or each in one go.

    python tests/benchmarks/pausing.py --data cifar10.npz --images 5000

A real study with one slot on a CPU: both trials are trained to their ends, once without a pause and once such that each
pauses after every epoch for the other. All else is the same, the database's transactions included. What the second took
longer, divided by the pauses, is the cost of one pause and of going on from it. Rounds are interleaved; the figure is
the median over the rounds, with the least and the most.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from search.base.home import Home
from search.choosing.pausing import Pausing, Ranking
from search.choosing.proposing import StudyOfLessons
from search.run.events import Event, Paused
from search.run.slot import Assignment, Slot
from search.run.thawing import Thawing
from search.space.space import SearchSpace
from search.training.child import Process
from search.training.places import Place
from search.training.starting import start_process
from studies.queue.queue import Queue
from studies.record.catalog import open_study
from studies.store.cache import BegunTrials
from studies.store.opening import open_storage


class Always(Pausing):
    """Has every trial pause after every epoch while another is left, or none ever."""

    def __init__(self, space: SearchSpace, *, pauses: bool) -> None:
        super().__init__(space)
        self._pauses = pauses

    def rungs(self, planned: int) -> tuple[int, ...]:
        return tuple(range(1, planned))

    def rank(
        self,
        study_trials: Sequence[FrozenTrial],
        seconds_per_epoch: Callable[[FrozenTrial], float] | None = None,
        *,
        may_begin: bool,
        asking: int | None = None,
    ) -> Ranking:
        del seconds_per_epoch
        if asking is not None and not self._pauses:
            return Ranking((asking,), {})
        waiting = [t.number for t in study_trials if t.state.name == "WAITING" and t.number != asking]
        others: list[int | None] = [None] if may_begin else []
        return Ranking((*others, *waiting, *([asking] if asking is not None else [])), {})


def seconds_of(
    folder: Path, child: Process, fingerprint: str, space: SearchSpace, *, pauses: bool
) -> tuple[float, int]:
    """How long two trials took, and how often one paused."""
    storage = open_storage(f"sqlite:///{folder / 'study.db'}")
    study, _ = open_study(storage, f"s-{time.monotonic_ns()}", {"space": space.to_dict(), "data": {}})
    queue, home, events = Queue(storage, study.study_id), Home(folder), list[Event]()
    queue.fill(2, [{"learning_rate": 0.01}, {"learning_rate": 0.02}])
    seen = BegunTrials(storage)
    work = Assignment(
        home=home,
        study_name=study.name,
        study_uid=study.attributes["uid"],
        space=space,
        data=space.data,
        fingerprint=fingerprint,
        provenance={"versions": {}, "git_commit": None, "host": "h"},
        queue=queue,
        storage=seen,
        pruner=optuna.pruners.NopPruner(),
        tell=events.append,
        stopping=threading.Event(),
    )
    thawing = Thawing(
        Always(space, pauses=pauses),
        queue,
        StudyOfLessons(study.name, seen),
        lambda number: home.checkpoints(study.name, study.attributes["uid"], number),
    )
    slot = Slot(child.place, Assignment(**{**vars(work), "thawing": thawing}), Kept(child))
    slot._device = {"device": "cpu", "threads": None}
    begun = time.monotonic()
    slot.run()
    return time.monotonic() - begun, sum(isinstance(event.what, Paused) for event in events)


class Kept:
    """A process that outlives its slot."""

    def __init__(self, child: Process) -> None:
        self._child = child
        self.place, self.log = child.place, child.log
        self.wait_ready, self.send, self.receive = child.wait_ready, child.send, child.receive

    def outgrown(self) -> bool:
        return False

    def kill(self) -> None:
        pass


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="synthetic", metavar="SOURCE")
    parser.add_argument("--images", type=int, default=1000, help="to train on")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = SearchSpace.from_dict(
        {
            "study": {"name": "s", "trials": 2},
            "data": {"source": arguments.data, "train_images": arguments.images, "validation_images": 200},
            "space": {
                "batch_size": 64,
                "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
                "epochs": arguments.epochs,
            },
            "pruner": {"name": "pause"},
        }
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child = start_process(Place(0, "cpu", threads=1), space.data, folder / "data", folder / "log")
        ready = child.wait_ready(threading.Event())
        assert ready is not None
        costs = []
        for round_ in range(arguments.rounds + 1):
            whole, _ = seconds_of(folder, child, ready.data.fingerprint, space, pauses=False)
            pausing, pauses = seconds_of(folder, child, ready.data.fingerprint, space, pauses=True)
            if round_:  # the first one compiles
                costs.append((pausing - whole) / pauses)
                print(
                    f"in one go {whole:.2f} s, with {pauses} pauses {pausing:.2f} s: {costs[-1]:.3f} s a pause",
                    flush=True,
                )
        child.kill()
    print(f"a pause and going on: {statistics.median(costs):.3f} s ({min(costs):.3f} to {max(costs):.3f})")


if __name__ == "__main__":
    main()
