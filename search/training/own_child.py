"""The process of a training of one's own: a function in an interpreter of the user's, or a program in any language.

    process = OwnChild(place, program, log)

It is a `search.training.child.Process` as any other: what it says in the dialect of docs/training-process.md is handed
on as if a network of ours were trained. Whatever its code does, each ending is told in words, and nothing that it has
started outlives it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue as queues
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from model.config import Failure
from model.device import cpu_name
from search.space.own import OwnConfig, OwnEpoch, Program
from search.training import own_trial
from search.training.child import Piped, RefusedError
from search.training.messages import (
    Begun,
    DeviceFound,
    Epoch,
    Failed,
    Finished,
    FromTrainer,
    OpenOwn,
    OwnReady,
    ProgramFound,
    Ready,
    Refused,
    Reported,
    Started,
    ToTrainer,
    Train,
    from_own,
    line,
)
from search.training.places import Place
from search.training.surroundings import own_environment


class OwnChild(Piped):
    """The process of `program`.

    A program that is missing, has changed or can't be started is refused by `wait_ready`, as one that says so itself.
    """

    def __init__(self, place: Place, program: Program, log: Path) -> None:
        self._program, self._called = program, program.called
        self._train: Train | None = None
        self._judge: own_trial.Judge | None = None
        self._begun = False
        self._since = time.monotonic()
        self._reusable = True
        self._outbox: queues.SimpleQueue[str | None] = queues.SimpleQueue()
        mark = secrets.token_hex(16)
        self._mark = f"{own_trial.MARK}={mark}"
        environment = own_environment(cuda_devices=place.gpu or "-1", threads=place.threads) | {own_trial.MARK: mark}
        refusal = _refusal(program)
        try:
            super().__init__(place, log, _no_command() if refusal else _command(program), environment)
        except OSError as error:
            setting, what = ("python", program.python) if program.python else ("command", program.file)
            refusal = f"[train] {setting}: {what} can't be started ({error.strerror})"
            super().__init__(place, log, _no_command(), environment)
        self._refused = Refused(message=refusal) if refusal else None
        threading.Thread(target=self._write, daemon=True).start()
        self.send(
            OpenOwn(
                file=program.file,
                function=program.function,
                sha256=program.sha256,
                params=program.params,
                metric=program.metric,
                has_epochs=program.has_epochs,
                device="cuda:0" if place.on_gpu else "cpu",
                threads=place.threads,
            )
        )

    def wait_ready(self, stopping: threading.Event) -> Ready | None:
        if self._refused:  # the process that stands for it may have ended already
            raise RefusedError(self._refused)
        return super().wait_ready(stopping)

    def send(self, message: ToTrainer) -> None:
        if isinstance(message, Train):
            assert isinstance(message.config, OwnConfig)  # noqa: S101 - for the type checker
            self._train, self._begun, self._since = message, False, time.monotonic()
            self._judge = own_trial.Judge(
                self._called,
                self._program.metric,
                message.config.epochs,
                self._program.has_epochs,
                message.final,
            )
        self._outbox.put(line(message))

    def _write(self) -> None:
        """In a thread, for a program need not read what it is told: its slot must not wait for that."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        with contextlib.suppress(OSError, ValueError):
            while (text := self._outbox.get()) is not None:
                self._process.stdin.write(text)
                self._process.stdin.flush()
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _understood(self, text: str) -> Iterable[FromTrainer]:
        if self._program.function is not None:
            return self._translated(from_own(text))
        said = _object(text)
        if said is None:  # what it prints for people
            with self.log.open("a", encoding="utf-8") as log:
                log.write(text)
            return ()
        if self._train is not None and said["kind"] in ("begun", "report", "log", "finished", "failed"):
            said.setdefault("trial", self._train.trial)
            if said["trial"] != self._train.trial:
                return ()
        try:
            return self._translated(self._judged(said))
        except own_trial.Wrong as wrong:
            return self._wrong(wrong)

    def _judged(self, said: dict[str, Any]) -> Any:
        """What a command says, held to what a function may say. Raises own_trial.Wrong."""
        if said["kind"] == "report" and self._judge:
            epoch = said.get("epoch", self._judge.last + 1)
            said["epoch"], said["values"], left_out = self._judge.judged(epoch, said.get("values"))
            if left_out:
                with self.log.open("a", encoding="utf-8") as log:
                    log.write(f"not finite in epoch {epoch}, and left out: {', '.join(left_out)}\n")
        message = from_own(json.dumps(said))
        if isinstance(message, Begun) and self._judge and message.reports:
            self._judge.last = message.reports[-1].epoch
        if isinstance(message, Finished) and self._judge and not self._judge.last:
            raise self._judge.nothing()
        return message

    def _wrong(self, wrong: own_trial.Wrong) -> Iterable[FromTrainer]:
        assert self._train is not None  # noqa: S101 - for the type checker
        failure = Failure.model_validate({"kind": wrong.kind, "text": str(wrong)})
        yield from self._started(())
        yield Failed(trial=self._train.trial, failure=failure, retry=False, reusable=False)  # it may be training yet

    def _translated(self, message: Any) -> Iterable[FromTrainer]:
        match message:
            case OwnReady():
                yield self._ready(message)
            case Begun():
                yield from self._started(message.reports)
            case Reported():
                yield from self._started(())
                now = time.monotonic()
                seconds = now - self._since if message.seconds is None else message.seconds
                self._since = now
                metrics = OwnEpoch(epoch=message.epoch, values=message.values, seconds=seconds)
                yield Epoch(trial=message.trial, metrics=metrics)
            case _:
                yield message

    def _started(self, reports: tuple[OwnEpoch, ...]) -> Iterable[FromTrainer]:
        """The training begins: a program may leave it at its first report."""
        if self._train is not None and not self._begun:
            self._begun = True
            yield Started(trial=self._train.trial, config=self._train.config, history=reports)

    def _ready(self, message: OwnReady) -> Ready:
        on_gpu = self.place.on_gpu
        name = self.place.device.partition(": ")[2] if on_gpu else cpu_name()
        if message.device not in ("cpu", "cuda:0"):
            name = message.device
        return Ready(
            data=ProgramFound(source=self._called, fingerprint=self._program.fingerprint, versions=message.versions),
            device=DeviceFound(
                kind="gpu" if on_gpu else "cpu",
                name=name or self.place.device,
                precision="own",
                threads=self.place.threads,
            ),
            notes=message.notes,
        )

    def receive(self, timeout: float) -> FromTrainer | None:
        message = super().receive(timeout)
        if isinstance(message, Finished | Failed):
            self._reusable = self._reusable and message.reusable
        elif message is None and self._process.poll() is not None:
            own_trial.kill_family(None, self._mark)  # one that it had started holds its end of the pipe
        return message

    def outgrown(self) -> bool:
        """Whether the last training left threads behind, or can't be stopped. Its memory is its own matter."""
        return not self._reusable

    def kill(self) -> None:
        """End it at once, with all that it started, whatever session that is in now."""
        self._outbox.put(None)
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                os.kill(self._process.pid, signal.SIGSTOP)  # it starts nothing more
            own_trial.kill_family(self._process.pid, self._mark)
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        own_trial.kill_family(None, self._mark)


def _command(program: Program) -> list[str]:
    if program.function is not None:
        return [program.python or sys.executable, str(Path(own_trial.__file__).resolve())]
    return [program.file, *program.arguments]


def _no_command() -> list[str]:
    """Ends at once: it stands for a program that is refused."""
    return [sys.executable, "-S", "-E", "-c", ""]


def _refusal(program: Program) -> str | None:
    """Why a command is not started. A function's file is checked by the process that has read it."""
    if program.function is not None:
        return None
    for file, sha256 in ((program.file, program.sha256), *program.files):
        try:
            with Path(file).open("rb") as opened:
                found = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            return f"[train] command: {file} can't be read ({error.strerror})"
        if found != sha256:
            return own_trial.changed(file, found, sha256)
    if not os.access(program.file, os.X_OK):
        return f"[train] command: {program.file} is not executable: chmod +x {program.file}"
    return None


def _object(text: str) -> dict[str, Any] | None:
    """A line as a message; None if it is something else that a program has printed."""
    with contextlib.suppress(ValueError):
        said = json.loads(text)
        if isinstance(said, dict) and isinstance(said.get("kind"), str):
            return said
    return None
