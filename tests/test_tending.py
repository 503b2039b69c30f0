"""Who of the workers elsewhere is started again, and for how long."""

from __future__ import annotations

import pytest

from search.run.engines.engine import Ended
from search.run.tending import CRASHES, LIVED_SECONDS, OVER_SECONDS, REMOVALS, Tending


class Scripted:
    """A staff that says who ended when it is told to."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.stops = 0
        self.next: list[Ended] = []

    def start(self, number: int) -> None:
        self.started.append(number)

    def ended(self) -> list[Ended]:
        said, self.next = self.next, []
        return said

    def stop(self) -> None:
        self.stops += 1

    def close(self) -> None: ...


class Scene:
    def __init__(self, workers: int = 2, *, restarts: bool = True) -> None:
        self.staff, self.now, self.notes = Scripted(), 0.0, list[str]()
        self.tending = Tending(self.staff, self.notes.append, restarts=restarts, clock=lambda: self.now)
        self.tending.begin(workers)

    def ends(self, code: int | None, number: int = 0, after: float = 1.0, times: int = 1) -> None:
        for _ in range(times):
            self.now += after
            self.staff.next.append(Ended(number, code, "its last words"))
            self.tending.look()


def test_worker_that_is_done_is_not_started_again() -> None:
    scene = Scene()
    scene.ends(0)
    assert (scene.staff.started, scene.tending.working, scene.notes) == ([0, 1], 1, [])


@pytest.mark.parametrize("code", [1, -9, -11])
def test_worker_that_crashes_again_and_again_is_given_up(code: int) -> None:
    scene = Scene()
    scene.ends(code, times=CRASHES)
    assert scene.staff.started == [0, 1, *[0] * (CRASHES - 1)]
    assert scene.tending.working == 1
    assert scene.tending.failed is not None
    assert "3 times in a row, and is not started again: its last words" in scene.notes[-1]


def test_crashes_far_apart_are_not_in_a_row() -> None:
    scene = Scene()
    scene.ends(1, after=LIVED_SECONDS, times=5 * CRASHES)
    assert (scene.tending.working, scene.tending.failed) == (2, None)


@pytest.mark.parametrize("code", [None, 143, -15, 130])
def test_worker_that_was_ended_from_outside_is_started_more_often_but_not_for_ever(code: int | None) -> None:
    scene = Scene()
    scene.ends(code, times=REMOVALS - 1)
    assert scene.tending.working == 2
    scene.ends(code)
    assert (scene.tending.working, scene.tending.failed is not None) == (1, True)


def test_refused_worker_is_not_started_again() -> None:
    scene = Scene()
    scene.ends(2)
    assert scene.tending.working == 1
    assert scene.notes == ["worker 0 can't take part, and is not started again: its last words"]


def test_nobody_is_started_again_once_all_were_told_to_stop() -> None:
    scene = Scene()
    scene.tending.stop()
    scene.tending.stop()
    scene.ends(143)
    scene.ends(1, number=1)
    assert (scene.staff.started, scene.staff.stops, scene.tending.working, scene.notes) == ([0, 1], 1, 0, [])


def test_workers_that_wait_for_a_place_are_let_go_when_the_study_is_at_its_end() -> None:
    scene = Scene()
    scene.tending.over()
    assert scene.staff.stops == 0
    scene.now += OVER_SECONDS
    scene.tending.over()
    assert scene.staff.stops == 1


def test_error_of_a_thread_is_kept_and_the_thread_not_started_again() -> None:
    scene, error = Scene(restarts=False), ZeroDivisionError("a defect")
    scene.staff.next = [Ended(0, 1, "", error), Ended(1, 0)]
    scene.tending.look()
    assert (scene.tending.error, scene.tending.working, scene.staff.started) == (error, 0, [0, 1])
