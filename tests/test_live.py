"""The screen of a run, fed with a slot's events: on a terminal, in a pipe, and where nobody can read it any more."""

from __future__ import annotations

import errno
import io
import threading
from typing import Any

import pytest

from model.config import EpochMetrics, Failure, TrainConfig
from search.base.configs import short
from search.base.terminal import Output
from search.run.events import (
    Begun,
    Completed,
    EpochDone,
    Event,
    FailedForGood,
    Happening,
    Noted,
    Pruned,
    Resumed,
    Retried,
    Returned,
)
from search.screen.live import Screen
from search.training.messages import Progress
from search.training.places import Place
from studies.queue.standing import Counts
from studies.record.catalog import StudyRecord
from studies.words import duration

STUDY = StudyRecord(1, "small", {"data": {"train_images": 1600, "validation_images": 400, "source": "synthetic"}})
PLACES = (Place(0, "gpu 0: NVIDIA H100 80GB HBM3", gpu="GPU-a"), Place(1, "gpu 1: NVIDIA H100 80GB HBM3", gpu="GPU-b"))
CONFIG = TrainConfig(
    batch_size=128, learning_rate=0.0123456, epochs=50, schedule="step", step_epochs=(10, 20), step_factor=0.1
)


class Recorded(Output):
    """An `Output` of a given width that is read afterwards."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.file = self.text = io.StringIO()
        self.width = width

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.text.getvalue().splitlines()]


@pytest.fixture
def pipe() -> Recorded:
    return Recorded(160)


def play(screen: Screen, *happened: Happening, number: int = 7, place: Place = PLACES[0]) -> None:
    for what in happened:
        screen.event(Event(place, number, what))


def opened(console: Output, **counts: int) -> Screen:
    screen = Screen(console)
    known = {"waiting": 10, "running": 2, "complete": 0, "pruned": 0, "failed": 0, "retried": 0}
    screen.opened(STUDY, PLACES, Counts(**{**known, **counts}))
    return screen


def epoch(number: int, value: float = 0.5) -> EpochDone:
    fixed = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "learning_rate": 0.1, "seconds": 2.0}
    return EpochDone(EpochMetrics(epoch=number, val_accuracy=value, **fixed), 50)


def table(screen: Screen, console: Recorded) -> list[str]:
    """The live table as it is drawn now."""
    console.text.seek(0)
    console.text.truncate()
    console.print(screen._table())
    return console.lines()


@pytest.mark.parametrize("width", [80, 140])
def test_live_table_fits_the_terminal_with_long_names_and_numbers(width: int) -> None:
    console = Recorded(width)
    screen = opened(console, waiting=123, complete=877)
    screen.before((0.7654, 1000), [0.7654], 0.0)
    progress = Progress(trial=1002, epoch=12, step=30, steps=60, images_per_second=12345.6)
    for place in PLACES:
        play(screen, Begun(CONFIG), epoch(11, 0.7123), progress, number=1002, place=place)
    lines = table(screen, console)
    assert len(lines) == 5  # progress, best and time, heading, two slots: nothing was broken over two lines
    assert all(len(line) <= width for line in lines)
    assert "877/1002 settled  2 running, 123 waiting" in lines[0]
    assert "best 0.7654 (trial 1000)" in lines[1]
    for word in ("gpu 1", "1002", "12/50  50%", "0.7123", "12346", "128", "0.0123"):
        assert word in lines[4]
    assert ("x 0.1 after 10, 20" in lines[4]) == (width > 100)


def test_slot_without_a_trial_is_shown_as_free(pipe: Recorded) -> None:
    screen = opened(pipe)
    play(screen, Begun(CONFIG))
    lines = table(screen, pipe)
    assert lines[-1].split() == ["gpu", "1", "-"]


def test_table_says_when_the_run_is_stopping(pipe: Recorded) -> None:
    stopping = threading.Event()
    screen = Screen(pipe, stopping)
    screen.opened(STUDY, PLACES, Counts(1, 1, 0, 0, 0, 0))
    assert "1 running, 1 waiting" in table(screen, pipe)[0]
    stopping.set()
    assert "stopping: running trials go back into the queue" in table(screen, pipe)[0]


def test_pipe_gets_plain_lines_and_rare_epochs(pipe: Recorded) -> None:
    screen = opened(pipe)
    with screen:
        play(screen, Begun(CONFIG), *(epoch(number) for number in range(1, 51)))
        play(screen, Completed(0.5, 200.0))
    lines = pipe.lines()
    assert "\x1b" not in pipe.text.getvalue()
    assert "2 workers on gpu 0: NVIDIA H100 80GB HBM3, gpu 1: NVIDIA H100 80GB HBM3" in lines[0]
    assert lines[1].startswith("trial 7 started: batch_size 128, learning_rate 0.0123, epochs 50, x 0.1 after 10, 20")
    assert [line for line in lines if "epoch" in line and "val_accuracy" in line] == [
        "trial 7 epoch 1/50 val_accuracy 0.5000"
    ]
    assert lines[-1] == "trial 7 complete val_accuracy 0.5000 in 3 min 20 s; best 0.5000 (trial 7)"


def test_resumed_trial_says_after_which_epoch_it_goes_on(pipe: Recorded) -> None:
    screen = opened(pipe)
    play(screen, Begun(CONFIG), Resumed(20))
    assert pipe.lines()[-1] == "trial 7 goes on after epoch 20 of 50"
    assert "20/50 100%" in table(screen, pipe)[3]


@pytest.mark.parametrize(
    ("played", "said"),
    [
        ((Returned(),), "trial 7 went back into the queue"),
        ((epoch(1), epoch(2), Returned()), "trial 7 went back into the queue and goes on after epoch 2"),
        ((Retried(Failure(kind="crashed", text="killed"), 2),), "trial 7 will be run again (crash 2): killed"),
        ((FailedForGood("diverged"),), "trial 7 failed: diverged"),
        ((Noted("no longer ours"),), "trial 7: no longer ours"),
    ],
)
def test_end_of_a_trial_is_told_in_a_line(pipe: Recorded, played: tuple[Any, ...], said: str) -> None:
    screen = opened(pipe)
    play(screen, Begun(CONFIG), *played)
    assert pipe.lines()[-1] == said
    assert table(screen, pipe)[3].split() == ["gpu", "0", "-"]


def test_best_is_only_replaced_by_a_better_complete_trial(pipe: Recorded) -> None:
    screen = opened(pipe)
    screen.before((0.6, 1), [0.6], 0.0)
    play(screen, Completed(0.5, 0.0), number=2)
    play(screen, Pruned("pruned after epoch 2", 0.0), number=3)
    assert pipe.lines()[-1] == "trial 3 pruned after epoch 2; best 0.6000 (trial 1)"
    play(screen, Completed(0.7, 0.0), number=4)
    assert "best 0.7000 (trial 4)" in pipe.lines()[-1]


def test_square_brackets_of_a_name_or_error_are_printed_as_they_are(pipe: Recorded) -> None:
    screen = opened(pipe)
    play(screen, FailedForGood("error: [bold]x[/bold] :smile:"))
    assert pipe.lines()[-1] == "trial 7 failed: error: [bold]x[/bold] :smile:"


def test_full_disk_under_the_log_ends_the_printing_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Recorded(160)
    dropped: list[bool] = []
    monkeypatch.setattr("search.base.terminal.drop_output", lambda: dropped.append(True))
    screen = opened(console)
    console.file = FullDisk()
    with screen:
        play(screen, Begun(CONFIG), epoch(1), Completed(0.5, 0.0))
    assert dropped == [True]


class FullDisk(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_durations_are_said_as_people_say_them() -> None:
    assert [duration(seconds) for seconds in (0.4, 59.4, 59.6, 200, 3599.6, 7500)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "3 min 20 s",
        "1 h 00 min",
        "2 h 05 min",
    ]


def test_short_configuration_says_what_decides_it() -> None:
    config = CONFIG.model_dump()
    assert short(config) == "batch_size 128, learning_rate 0.0123, epochs 50, x 0.1 after 10, 20"
    constant = {"batch_size": 32, "learning_rate": 1e-5, "epochs": 2, "schedule": "constant"}
    assert short(constant) == "batch_size 32, learning_rate 1e-05, epochs 2, constant"
    assert short({**config, "step_epochs": 4}).endswith("x 0.1 every 4")
    more = {**constant, "optimizer": "adam", "dropout": 0.123456, "momentum": 0.0}
    assert short(more).endswith(", epochs 2, constant, optimizer adam, dropout 0.123")


def test_result_that_was_taken_over_says_whose_it_is(pipe: Recorded) -> None:
    play(opened(pipe), Completed(0.5, 0.0, same_as=3))
    assert any("val_accuracy 0.5000, the result of trial 3, which had the same values" in line for line in pipe.lines())
