"""The training process of one place: started, spoken to over its pipes, watched, killed.

    child = Child(place, data, cache, log)
    child.wait_ready(stopping)
    child.send("train", trial=3, config=..., checkpoints=...)
    for message in messages(child, 3, stopping): ...

What is said is in `search.training.trainer`, which is what runs on the other side. Never imports TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue as queues
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from model.config import DataSpec, OutOfMemoryError
from search.training.places import Place

START_SECONDS = 600.0
"""How long a child may take to start TensorFlow and read its data; decoding a large image folder is in it."""
HANG_SECONDS = 600.0
"""How long a child may be silent while it trains. It gives a sign of life every few seconds; the first of a batch size
comes after its program is compiled."""
GROWTH_MB = 96.0
"""A child on a CPU that grew by more since its first trial is replaced between two trials, which takes 4 seconds:
oneDNN keeps its kernels for each batch size that it met, about 4.5 MB, until the process ends. Not on a GPU, where the
programs that XLA compiled for those batch sizes are worth more than the memory."""


class ChildError(Exception):
    """The child is gone or hangs."""


class StartError(Exception):
    """The child did not get ready, or can't work here: no trial's fault."""


class Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """The child can't use the data."""

    def __init__(self, message: str, *, download: bool) -> None:
        super().__init__(message)
        self.download = download


class Child:
    """The training process of a slot: started, spoken to, killed."""

    def __init__(self, place: Place, data: DataSpec, cache: Path, log: Path, *, holds_out: bool = True) -> None:
        """Start it. With `holds_out` False it trains on all training images and validates on none."""
        self.place = place
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ALEXSEARCH_STORAGE")}
        environment |= {"CUDA_VISIBLE_DEVICES": place.gpu or "-1", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"}
        if place.threads:
            environment["OMP_NUM_THREADS"] = str(place.threads)
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "search.training.trainer"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # a Ctrl-C in the terminal is the host's to answer
            )
        self._first_megabytes: float | None = None
        self._kills_before = kernel_kills()
        self._lines: queues.Queue[dict[str, Any] | None] = queues.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.send(
            "open",
            data=data.model_dump(),
            holds_out=holds_out,
            cache=str(cache),
            threads=place.threads,
            gpu_memory_mb=place.gpu_memory_mb,
        )

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        for line in self._process.stdout:
            with contextlib.suppress(json.JSONDecodeError):  # a line cut off by a kill
                self._lines.put(json.loads(line))
        self._lines.put(None)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self, stopping: threading.Event) -> Mapping[str, Any] | None:
        """The `ready` message; None where `stopping` was set first.

        Raises:
            Refused: the data can't be used.
            StartError: the child ended or did not get ready in time.
        """
        until = time.monotonic() + START_SECONDS
        while not stopping.is_set():
            try:
                message = self.receive(0.2)
            except ChildError as error:
                raise StartError(str(error)) from None
            if message is None:
                if time.monotonic() > until:
                    raise StartError(f"training process not ready within {START_SECONDS:.0f} s, see {self.log}")
            elif message["kind"] == "refused":
                raise Refused(message["message"], download=message["download"])
            elif message["kind"] == "ready":
                return message
        return None

    def send(self, kind: str, **values: Any) -> None:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        with contextlib.suppress(BrokenPipeError, ValueError):  # it is gone: `receive` says so
            self._process.stdin.write(json.dumps({"kind": kind, **values}) + "\n")
            self._process.stdin.flush()

    def receive(self, timeout: float) -> dict[str, Any] | None:
        """The next message; None after `timeout` seconds without one. Raises ChildError where the child is gone."""
        try:
            message = self._lines.get(timeout=timeout)
        except queues.Empty:
            return None
        if message is None:
            self._lines.put(None)
            code = self._process.wait()
            if code == -signal.SIGKILL and kernel_kills() > self._kills_before:
                # Retried all the same: what took the memory may have been another process.
                raise ChildError(f"{OutOfMemoryError.reason}: the kernel killed the training process to free memory")
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            raise ChildError(f"training process {how}, see {self.log}")
        return message

    def outgrown(self) -> bool:
        """Whether its memory is worth a new process. Asked after each trial."""
        if self.place.on_gpu:
            return False
        with contextlib.suppress(psutil.Error):  # it is gone: `receive` says so
            megabytes: float = psutil.Process(self.pid).memory_info().rss / 2**20
            self._first_megabytes = self._first_megabytes or megabytes
            return megabytes - self._first_megabytes > GROWTH_MB
        return False

    def kill(self) -> None:
        """End it at once. Nothing is lost: the last epoch's checkpoint is on the disk."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError, ValueError):
                if pipe:
                    pipe.close()


def messages(child: Child, trial: int, stopping: threading.Event) -> Iterator[dict[str, Any]]:
    """What the child says of `trial`, one message after another, until `stopping` is set or the reader has enough.

    Raises:
        ChildError: it is gone, or said nothing at all for `HANG_SECONDS`.
    """
    heard = time.monotonic()
    while not stopping.is_set():
        message = child.receive(0.2)
        if message is not None:
            heard = time.monotonic()
            if message.get("trial") == trial:
                yield message
        elif time.monotonic() - heard > HANG_SECONDS:
            raise ChildError(f"gave no sign of life for {HANG_SECONDS:.0f} s, see {child.log}")


def kernel_kills() -> int:
    """How many processes of this machine the kernel has killed for want of memory; 0 where it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
