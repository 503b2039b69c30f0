"""Trainings of one's own for tests: a file is written, its process started and spoken to as a slot does.

with Own(tmp_path, "def train(trial): return 0.5") as own:
    assert own.train() == [started(), epoch(1, score=0.5), Finished(trial=0)]
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

from model.config import Failure
from search.space.own import OwnConfig, OwnEpoch, Program
from search.training.child import RefusedError, heard
from search.training.messages import Epoch, Failed, Finished, OfTraining, Ready, Started, Train, Verdict
from search.training.own_child import OwnChild
from search.training.places import Place

PARAMS = {"lr": 0.1, "layers": 2}


def program(
    file: Path,
    *,
    function: str | None = "train",
    python: str = sys.executable,
    arguments: Sequence[str] = (),
    has_epochs: bool = True,
    epoch_seconds: float = 20,
    params: Sequence[str] = tuple(PARAMS),
) -> Program:
    """What a space would say of a training in `file`, whose metric is `score`."""
    return Program(
        called=f"{file.name}:{function}" if function else f"./{file.name}",
        file=str(file),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        function=function,
        python=python if function else None,
        arguments=tuple(arguments),
        metric="score",
        has_epochs=has_epochs,
        epoch_seconds=epoch_seconds,
        params=tuple(params),
    )


class Own:
    """The process of one training of one's own, killed in the end."""

    def __init__(self, folder: Path, source: str | None, *, name: str = "train.py", **about: Any) -> None:
        """`source` None: the file is there."""
        folder.mkdir(exist_ok=True)
        self.folder, self.file = folder, folder / name
        if source is not None:
            self.file.write_text(dedent(source))
            self.file.chmod(0o755)
        self.program = program(self.file, **about)
        self.process = self.started()

    def started(self) -> OwnChild:
        """A new process of the same program."""
        return OwnChild(Place(0, "cpu", threads=1), self.program, self.folder / "slot.log")

    def __enter__(self) -> Own:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()

    def again(self) -> None:
        """Kill it, and start it again."""
        self.process.kill()
        self.process = self.started()

    def ready(self) -> Ready:
        ready = self.process.wait_ready(threading.Event())
        assert ready is not None
        return ready

    def refusal(self) -> str:
        """Why it does not begin."""
        try:
            raise AssertionError(f"it is ready: {self.ready()}")
        except RefusedError as refused:
            return str(refused)

    def train(
        self,
        trial: int = 0,
        *,
        epochs: int = 3,
        params: Mapping[str, Any] | None = None,
        checkpoints: Path | None = None,
        final: bool = False,
        goes_on: Callable[[int], bool] = lambda _: True,
    ) -> list[OfTraining]:
        """What it says of one trial. Raises ChildError if it is gone, with all that it said before as `said`."""
        config = OwnConfig(params=dict(params or PARAMS), epochs=epochs, seed=7)
        self.process.send(Train(trial=trial, config=config, checkpoints=checkpoints, final=final))
        said: list[OfTraining] = []
        for message in heard(self.process, trial, threading.Event(), self.program.epoch_seconds):
            said.append(message)
            if isinstance(message, Epoch):
                number = message.metrics.epoch
                self.process.send(Verdict(trial=trial, epoch=number, go=goes_on(number)))
            if isinstance(message, Finished | Failed):
                break
        return said

    def trained(self, **given: Any) -> list[OfTraining]:
        """The same by a process that is just started."""
        self.ready()
        return self.train(**given)

    @property
    def log(self) -> str:
        return (self.folder / "slot.log").read_text()


def epochs(said: Sequence[OfTraining]) -> dict[int, dict[str, float]]:
    """What was reported, by epoch."""
    return {each.metrics.epoch: _own(each.metrics).values for each in said if isinstance(each, Epoch)}


def history(said: Sequence[OfTraining]) -> list[int]:
    """The epochs that it went on after."""
    (begun,) = [each for each in said if isinstance(each, Started)]
    return [each.epoch for each in begun.history]


def failure(said: Sequence[OfTraining]) -> tuple[Failure, bool]:
    """Why it failed, and whether the same could succeed."""
    last = said[-1]
    assert isinstance(last, Failed), said
    return last.failure, last.retry


def _own(metrics: object) -> OwnEpoch:
    assert isinstance(metrics, OwnEpoch)
    return metrics
