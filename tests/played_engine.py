"""An engine whose hosts are all this one: the same processes that Ray and Slurm have on theirs, without a cluster."""

from __future__ import annotations

from search.base.mistakes import InputError
from search.run.engines.engine import Ended, Order, Resources
from search.run.engines.process import WorkerProcess
from search.training.places import Place


class Processes:
    """A `Staff` of processes of this host."""

    def __init__(self, order: Order) -> None:
        self.workers: dict[int, WorkerProcess] = {}
        self._order = order

    def start(self, number: int) -> None:
        self.workers[number] = WorkerProcess(self._order, number)

    def ended(self) -> list[Ended]:
        found = [ended for worker in self.workers.values() if (ended := worker.wait(0.0))]
        for ended in found:
            del self.workers[ended.number]
        return found

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.stop()

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close(0.0)
        self.workers.clear()


class PlayedEngine:
    """Has room for so many workers."""

    name = "played"

    def __init__(self, room: int, *, here: bool = True) -> None:
        self.resources = Resources()
        self.staff: Processes | None = None
        self._room, self._here = room, here

    def places(self, workers: int | None) -> tuple[Place, ...]:
        if (workers or 0) > self._room:
            raise InputError(f"--workers: there is room for {self._room}")
        return tuple(Place(index, "played, 1 CPU each") for index in range(workers or self._room))

    def is_here(self) -> bool:
        return self._here

    def open(self, order: Order) -> Processes:
        self.staff = Processes(order)
        return self.staff
