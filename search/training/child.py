"""The training process of one place: started, spoken to over its pipes, watched, killed.

    process = Child(place, data, cache, log)
    process.wait_ready(stopping)
    process.send(Train(trial=3, config=..., checkpoints=...))
    for message in heard(process, 3, stopping): ...

What is said is in `search.training.messages`, what runs on the other side in `search.training.trainer`. Never imports
TensorFlow.
"""

from __future__ import annotations

import contextlib
import queue as queues
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, get_args

import psutil

from model.config import DataSpec, Failure, NetworkSpec
from search.space.own import Program
from search.training.messages import (
    FromTrainer,
    OfTraining,
    Open,
    Ready,
    Refused,
    ToTrainer,
    Validation,
    from_trainer,
    line,
)
from search.training.places import Place
from search.training.surroundings import child_environment, python_command

START_SECONDS = 600.0
"""How long a child may take to start TensorFlow and read its data; decoding a large image folder is in it."""
HANG_SECONDS = 600.0
"""How long a child may be silent while it trains. It gives a sign of life every few seconds; the first of a batch size
comes after its program is compiled."""
GROWTH_MB = 96.0
"""A child on a CPU that grew by more since its first trial is replaced between two trials, which takes 4 seconds:
oneDNN keeps its kernels for each batch size that it met, about 4.5 MB, until the process ends. Not on a GPU, where the
programs that XLA compiled for those batch sizes are worth more than the memory."""


STOPPED_SECONDS = 0.5
"""A run whose training process ended so shortly before it was told to stop was stopped: the signal was to all processes
of its job, unit or terminal, and reached that one first."""


class ChildError(Exception):
    """The child is gone or hangs: its training can go on in another one, but not for ever."""

    def __init__(self, failure: Failure | str) -> None:
        self.failure = Failure(kind="crashed", text=failure) if isinstance(failure, str) else failure
        super().__init__(self.failure.text)


class StartError(Exception):
    """The child did not get ready, or can't work here: no trial's fault."""


class RefusedError(Exception):
    """The child can't use the data."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.download = refused.download


class Process(Protocol):
    """A training process as its slot sees it. One thread uses it; `kill` may come from another.

    Whatever happens to it, `receive` says so by a ChildError, and its last epoch's checkpoint is on the disk.
    """

    place: Place
    log: Path

    def wait_ready(self, stopping: threading.Event) -> Ready | None:
        """Its first answer; None if `stopping` was set before.

        Raises:
            RefusedError: the data can't be used.
            StartError: it ended or did not get ready in time.
        """

    def send(self, message: ToTrainer) -> None:
        """Say something. Where it is gone, `receive` tells."""

    def receive(self, timeout: float) -> FromTrainer | None:
        """The next message; None after `timeout` seconds without one. Raises ChildError if it is gone."""

    def outgrown(self) -> bool:
        """Whether its memory is worth a new process. Asked after each training."""

    def kill(self) -> None:
        """End it at once. Nothing is lost."""


class Start(Protocol):
    """Starts a training process: `Child`, or what a test has in its place."""

    def __call__(
        self,
        place: Place,
        data: DataSpec,
        cache: Path,
        log: Path,
        validation: Validation = "held-out",
        own: Program | NetworkSpec | None = None,
    ) -> Process:
        """`own` is a network of one's own, trained on these data, or training of one's own, which reads its own."""


class Piped:
    """A `Process` that is spoken to over its pipes, in a session of its own. What it says is for others to read."""

    def __init__(self, place: Place, log: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start `command`. Raises OSError if there is no such program, or it can't be started."""
        self.place = place
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                text=True,
                encoding="utf-8",
                errors="backslashreplace",
                start_new_session=True,  # a Ctrl-C in the terminal is the host's to answer
            )
        self._kills_before = kernel_kills()
        self._said: queues.Queue[FromTrainer | ChildError | None] = queues.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _understood(self, text: str) -> Iterable[FromTrainer]:
        """What a line says. Raises ValueError if it is no message."""
        raise NotImplementedError

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        for text in self._process.stdout:
            try:
                for message in self._understood(text):
                    self._said.put(message)
            except ValueError as error:
                if text.endswith("\n"):  # else a kill cut it off
                    self._said.put(ChildError(f"training process said what is not a message of ours: {error}"))
        self._said.put(None)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self, stopping: threading.Event) -> Ready | None:
        until = time.monotonic() + START_SECONDS
        while not stopping.is_set():
            try:
                message = self.receive(0.2)
            except ChildError as error:
                raise StartError(str(error)) from None
            if isinstance(message, Refused):
                raise RefusedError(message)
            if isinstance(message, Ready):
                return message
            if time.monotonic() > until:
                raise StartError(f"training process not ready within {START_SECONDS:.0f} s, see {self.log}")
        return None

    def send(self, message: ToTrainer) -> None:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        with contextlib.suppress(BrokenPipeError, ValueError):  # it is gone: `receive` says so
            self._process.stdin.write(line(message))
            self._process.stdin.flush()

    def receive(self, timeout: float) -> FromTrainer | None:
        try:
            message = self._said.get(timeout=timeout)
        except queues.Empty:
            return None
        if message is None:
            self._said.put(None)
            code = self._process.wait()
            if code == -signal.SIGKILL and kernel_kills() > self._kills_before:
                # Retried all the same: what took the memory may have been another process.
                text = "the kernel killed the training process to free memory"
                raise ChildError(Failure(kind="out-of-memory", text=text))
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            raise ChildError(f"training process {how}, see {self.log}")
        if isinstance(message, ChildError):
            raise message
        return message

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError, ValueError):
                if pipe:
                    pipe.close()


class Child(Piped):
    """The process that trains networks of ours, or of the user's, on our data."""

    def __init__(
        self,
        place: Place,
        data: DataSpec,
        cache: Path,
        log: Path,
        validation: Validation = "held-out",
        network: NetworkSpec | None = None,
    ) -> None:
        command = python_command("-m", "search.training.trainer")
        super().__init__(place, log, command, child_environment(cuda_devices=place.gpu or "-1", threads=place.threads))
        self._first_megabytes: float | None = None
        self.send(
            Open(
                data=data,
                validation=validation,
                network=network,
                cache=cache,
                threads=place.threads,
                gpu_memory_mb=place.gpu_memory_mb,
            )
        )

    def _understood(self, text: str) -> Iterable[FromTrainer]:
        return [from_trainer(text)]

    def outgrown(self) -> bool:
        if self.place.on_gpu:
            return False
        with contextlib.suppress(psutil.Error):  # it is gone: `receive` says so
            megabytes: float = psutil.Process(self.pid).memory_info().rss / 2**20
            self._first_megabytes = self._first_megabytes or megabytes
            return megabytes - self._first_megabytes > GROWTH_MB
        return False


def heard(
    process: Process, trial: int, stopping: threading.Event, epoch_seconds: float | None = None
) -> Iterator[OfTraining]:
    """What a process says of training `trial`, until `stopping` is set or the reader has enough.

    Training of one's own may be silent for `epoch_seconds`; None is ours, which gives a sign of life every few seconds.

    Raises:
        ChildError: it is gone, or said nothing at all for so long, or for `HANG_SECONDS`.
    """
    last = time.monotonic()
    while not stopping.is_set():
        try:
            message = process.receive(0.2)
        except ChildError:
            if stopping.wait(STOPPED_SECONDS):
                return
            raise
        if message is not None:
            last = time.monotonic()
            if isinstance(message, get_args(OfTraining)) and message.trial == trial:
                yield message
        elif epoch_seconds is not None and time.monotonic() - last > epoch_seconds:
            limit = "epoch_seconds in [train] is how long an epoch may take"
            raise ChildError(f"no report for {epoch_seconds:,.12g} s: taken for hung ({limit}), see {process.log}")
        elif epoch_seconds is None and time.monotonic() - last > HANG_SECONDS:
            raise ChildError(f"gave no sign of life for {HANG_SECONDS:.0f} s, see {process.log}")


def kernel_kills() -> int:
    """How many processes of this machine the kernel has killed for want of memory; 0 if it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for text in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if text.startswith("oom_kill "):
                return int(text.split()[1])
    return 0
