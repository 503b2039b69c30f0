"""The process that runs a training of one's own, a Python function. This one file, and Python 3.8's own library.

    PYTHON /path/to/own_trial.py

`search.training.own_child` starts it so, in the interpreter that the space names, which need not have any package. It
speaks as docs/training-process.md says. That page also describes `trial`, which the function is handed.

What the function does can't break the conversation: what it prints lands in the log, whichever way it is printed;
its file's folder is looked in first for modules, as `python FILE` does, but only once all that is needed here has been
imported. When the pipe from the slot closes, this process ends at once, with all that it started.
"""

# ruff: noqa: E402 - what may be imported depends on what stands above
from __future__ import annotations

import sys

if __name__ == "__main__":  # the neighbours of this file are not modules of the user's
    sys.path[:] = [part for part in sys.path if part != __file__.rpartition("/")[0]]
_AT_START = frozenset(sys.modules)
_HERE = __file__

import ast
import contextlib
import difflib
import errno
import faulthandler
import gc
import hashlib
import importlib.util
import inspect
import json
import math
import operator
import os
import queue
import shutil
import signal
import threading
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Set

VERDICT_SECONDS = 2.0
MARK = "ALEXSEARCH_TRAINING"
"""A variable that all processes of one training have: they are found by it, whoever is their parent by then."""
_MARKED = f"{MARK}={os.environ.get(MARK, '')}"
THREAD_SECONDS = 1.0
PROCESS_SECONDS = 0.2
"""How long threads and processes that the function left behind may take to end by themselves."""
LOKY = ("joblib.externals.loky.backend.resource_tracker", "loky.backend.resource_tracker")
"""Each starts a process that serves the interpreter until it ends, as multiprocessing's tracker does."""
KILL_SECONDS = 2.0
PROC = Path("/proc")
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
OUT_OF_MEMORY = {"MemoryError", "OutOfMemoryError", "ResourceExhaustedError"}
"""Names of exceptions: PyTorch's and TensorFlow's are not imported here."""
VERSIONED = ("torch", "tensorflow", "keras", "jax", "numpy", "sklearn", "lightning", "xgboost", "lightgbm")


class Wrong(Exception):  # noqa: N818 - of a training, not of ours
    """A training reported what can't be taken. Trying again does not help."""

    def __init__(self, text: str, kind: str = "error") -> None:
        super().__init__(text)
        self.kind = kind


class Judge:
    """What a training may report: one rule for functions and for programs in any language."""

    def __init__(self, called: str, metric: str, planned: int, has_epochs: bool, final: bool, last: int = 0) -> None:
        self.called, self.metric = called, metric
        self._planned, self._has_epochs, self._final = planned, has_epochs, final
        self.last = last
        """The epoch reported last; 0 if there is none."""

    def judged(self, epoch: Any, values: Any) -> tuple[int, dict[str, float], dict[str, float]]:
        """The epoch, its numbers, and those that are left out because they are not finite.

        Raises:
            Wrong: it can't be taken, or the metric is not finite: the training diverged.
        """
        epoch = self._epoch(epoch)
        if not isinstance(values, dict) or not values:
            raise Wrong(f"{self.called} reported no number in epoch {epoch}")
        if self.metric not in values and not self._final:
            names = ", ".join(map(str, values))
            raise Wrong(f"{self.called} reported {names} in epoch {epoch}, but not {self.metric}, the study's metric")
        numbers: dict[str, float] = {}
        left_out: dict[str, float] = {}
        for name, value in values.items():
            number = as_number(value)
            if number is None:
                raise Wrong(f"{self.called} reported {name} = {_shown(value)} in epoch {epoch}, which is not a number")
            if math.isfinite(number):
                numbers[str(name)] = number
            elif name == self.metric:
                raise Wrong(f"{name} became {number} in epoch {epoch}", "diverged")
            else:
                left_out[str(name)] = number
        if not numbers:
            raise Wrong(f"all that {self.called} reported in epoch {epoch} is not finite", "diverged")
        self.last = epoch
        return epoch, numbers, left_out

    def _epoch(self, epoch: Any) -> int:
        try:
            number = None if isinstance(epoch, bool) else operator.index(epoch)
        except TypeError:
            number = None
        if number is None or number < 1:
            raise Wrong(f"{self.called} reported epoch {_shown(epoch)}, but epochs are whole numbers from 1")
        if number == self.last:
            more = "" if self._has_epochs else ": a training without `epochs` in [train] reports once"
            raise Wrong(f"{self.called} reported epoch {number} twice{more}")
        if number < self.last:
            raise Wrong(f"{self.called} reported epoch {number} after epoch {self.last}")
        if number > self._planned:
            more = f"but {self._planned} is the last" if self._has_epochs else "but there is no `epochs` in [train]"
            raise Wrong(f"{self.called} reported epoch {number}, {more}")
        return number

    def nothing(self, returned: str = "") -> Wrong:
        """What is wrong with a training that has ended without a report."""
        way_out = f"Report {self.metric}" + (f", or return it: trial.report({self.metric}=...)" if returned else "")
        return Wrong(f"{self.called} {returned}reported nothing. {way_out}")


def as_number(value: Any) -> float | None:
    """`value` as a float if it is a number: Python's, or an array of one, as NumPy, PyTorch and JAX have them."""
    if isinstance(value, (str, bytes, bytearray)):
        return None
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        if not isinstance(value, (int, float)) and callable(getattr(value, "item", None)):
            if math.prod(getattr(value, "shape", ())) != 1:
                return None
            value = value.item()
        if not isinstance(value, (bool, str, bytes)):
            return float(value)
    return None


def family(root: int | None, mark: str) -> Set[tuple[int, bytes]]:
    """The processes that a training has started and that still run, each with the time of its start.

    They are those that have its mark in their environment, those in the session that `root` leads, and the children of
    them all; `root` itself is not among them. Empty on a system without /proc.
    """
    parents: dict[int, int] = {}
    starts: dict[int, bytes] = {}
    found = set() if root is None else {root}
    for folder in PROC.iterdir() if PROC.is_dir() else ():
        with contextlib.suppress(OSError, ValueError):
            pid = int(folder.name)
            fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            if fields[0] in (b"Z", b"X"):
                continue
            parents[pid], starts[pid] = int(fields[1]), fields[19]
            if int(fields[3]) == root:
                found.add(pid)
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.add(pid)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found and pid not in found}
        found |= more
        grown = bool(more)
    return {(pid, starts[pid]) for pid in found if pid in starts and pid not in (root, os.getpid())}


def kill_family(root: int | None, mark: str, spared: Set[tuple[int, bytes]] = frozenset()) -> int:
    """End what `family` finds at once, but for `spared`, and wait for it. Returns how many there were at first."""
    until = time.monotonic() + KILL_SECONDS
    first = left = family(root, mark) - spared
    while left and time.monotonic() < until:
        for pid, _ in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
        left = family(root, mark) - spared
    return len(first)


class Wire:
    """Both pipes, taken away from whatever else this process does."""

    def __init__(self) -> None:
        self._incoming, self._outgoing = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        self._sending = threading.Lock()
        self._received: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        os.register_at_fork(after_in_child=self._let_go)  # else the pipes stay open when this process crashes
        threading.Thread(target=self._listen, daemon=True).start()

    def _let_go(self) -> None:
        for pipe in (self._incoming, self._outgoing):
            if pipe >= 0:  # a child of a child has let go already
                os.close(pipe)
        self._incoming = self._outgoing = -1

    def _listen(self) -> None:
        rest = b""
        while True:
            got = os.read(self._incoming, 65536)
            if not got:
                end()
            *lines, rest = (rest + got).split(b"\n")
            for text in lines:
                self._received.put(json.loads(text))

    def send(self, **message: Any) -> None:
        line = json.dumps(message, allow_nan=False).encode() + b"\n"
        with self._sending:
            try:
                while line:
                    line = line[os.write(self._outgoing, line) :]
            except BrokenPipeError:
                end()

    def receive(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The next message; None after `timeout` seconds without one."""
        with contextlib.suppress(queue.Empty):
            return self._received.get(timeout=timeout)
        return None


def end() -> NoReturn:
    """End this process and all that it started: its slot is gone. What is saved is on the disk."""
    kill_family(*_self())
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _self() -> tuple[int, str]:
    return os.getpid(), _MARKED


class DiskError(Exception):
    """What is saved can't be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))


class Saves:
    """What a trial has saved: `save-NUMBER` folders in a folder of its own, written aside, synced, renamed.

    In each are `files`, which the function wrote, and `state.json`: the reports up to the epoch that was saved, and the
    size and hash of each file. The newest whole one counts; the one before stays until the next.

    Raises DiskError whenever it can't be written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._aside: Path | None = None
        self._manifest: dict[str, list[Any]] = {}
        self.newest: Path | None = None
        self.reports: list[dict[str, Any]] = []
        """Of the epochs that the newest had."""
        if folder is None:
            return
        for left in folder.glob(".save-*"):
            shutil.rmtree(left, ignore_errors=True)
        for save in self._saves():
            reports = _whole(save)
            if reports is not None:
                self.newest, self.reports = save, reports
                break
            print(f"{save}: is damaged, and passed over", file=sys.stderr)
            shutil.rmtree(save, ignore_errors=True)

    @property
    def nothing(self) -> Path | None:
        """The file that is there if epochs were reported and nothing was ever saved."""
        return self._folder / "nothing-saved" if self._folder and not self.newest else None

    def note_nothing(self) -> None:
        """For the case that this process is killed: the next one can tell why it starts anew."""
        if self.nothing:
            with _writing():
                self._make_folder()
                self.nothing.touch(mode=0o600)

    @property
    def pending(self) -> bool:
        """Whether something is written that counts with the next report."""
        return self._aside is not None

    def write(self, function: Callable[[Path], object]) -> None:
        """Have `function` write what counts once it is committed."""
        if self._folder is None:
            return
        self._drop()
        self._aside = self._folder / f".save-{os.getpid()}"
        files = self._aside / "files"
        try:
            with _writing():
                self._make_folder()
                self._aside.mkdir(mode=0o700)
                files.mkdir()
            try:
                function(files)
            except Exception as error:
                if (full := _full_disk(error, self._aside)) is not None:
                    raise DiskError(full) from None
                raise
            with _writing():
                self._manifest = _synced(files)
        except BaseException:
            self._drop()
            raise

    def commit(self, reports: list[dict[str, Any]]) -> None:
        """What was written last counts from here on, as the state after `reports`."""
        if self._aside is None or self._folder is None:
            return
        saves = self._saves()
        number = int(saves[0].name.partition("-")[2]) + 1 if saves else 1
        committed = self._folder / f"save-{number:06d}"
        try:
            with _writing():
                with (self._aside / "state.json").open("w", encoding="utf-8") as file:
                    json.dump({"reports": reports, "files": self._manifest}, file)
                    file.flush()
                    os.fsync(file.fileno())
                _sync_folder(self._aside)
                self._aside.rename(committed)
                _sync_folder(self._folder)
        except DiskError:
            self._drop()
            raise
        self._aside, self.newest, self.reports = None, committed, reports
        for old in saves[1:]:
            shutil.rmtree(old, ignore_errors=True)

    def _saves(self) -> list[Path]:
        """The committed ones, the newest first."""
        return sorted(self._folder.glob("save-*"), reverse=True) if self._folder else []

    def _make_folder(self) -> None:
        if self._folder:
            for missing in reversed([each for each in (self._folder, *self._folder.parents) if not each.exists()]):
                missing.mkdir(mode=0o700, exist_ok=True)

    def _drop(self) -> None:
        if self._aside is not None:
            shutil.rmtree(self._aside, ignore_errors=True)
            self._aside = None


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError(error) from None


def _whole(save: Path) -> list[dict[str, Any]] | None:
    """The reports of a save if all of its files are as they were written; else None."""
    try:
        state = json.loads((save / "state.json").read_text(encoding="utf-8"))
        reports: list[dict[str, Any]] = state["reports"]
        for name, (size, digest) in state["files"].items():
            file = save / "files" / name
            if file.stat().st_size != size or _digest(file) != digest:
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return reports


def _synced(files: Path) -> dict[str, list[Any]]:
    """The size and hash of each file, all of them on the disk now."""
    manifest: dict[str, list[Any]] = {}
    for folder, _, names in os.walk(files):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                manifest[str(path.relative_to(files))] = [path.stat().st_size, _digest(path)]
        _sync_folder(Path(folder))
    return manifest


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _full_disk(error: BaseException, folder: Path) -> OSError | None:
    """What the disk says if it is the reason of `error`: PyTorch and NumPy say no more than that writing failed."""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return error
    try:
        with (folder / "probe").open("wb") as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as full:
        return full if full.errno in DISK_ERRORS else None
    return None


class _End(BaseException):
    """Ends the function, past its `except Exception`."""


class Epochs:
    """The epochs that are left, as a `range`; it ends early once the study has no use for more."""

    def __init__(self, trial: Trial, left: range) -> None:
        self._trial, self._left = trial, left

    def __len__(self) -> int:
        return len(self._left)

    def __iter__(self) -> Iterator[int]:
        for epoch in self._left:
            if self._trial._is_over():
                return
            self._trial._epoch = epoch
            yield epoch


class Params(dict):  # type: ignore[type-arg]  # Python 3.8 knows no dict[...] that runs
    """The parameters of a trial, which remember that one was asked for that it does not have, wherever that was."""

    missed: Any = None

    def __missing__(self, name: Any) -> NoReturn:
        self.missed = KeyError(name)
        raise self.missed

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # whoever unpickles it has no file of ours


class Trial:
    """One training, as the function sees it."""

    def __init__(self, wire: Wire, opening: dict[str, Any], message: dict[str, Any]) -> None:
        config = message["config"]
        self.number: int = message["trial"]
        self.params = Params(config["params"])
        """The space's parameters by name: those that exist in this trial."""
        self.seed: int = config["seed"]
        self.device: str = opening["device"]
        """ "cpu" or "cuda:0"."""
        self.final: bool = message["final"]
        """Whether to train on everything and to report the test's score: `retrain` does."""
        self._wire, self._pid = wire, os.getpid()
        self._planned, self._has_epochs = config["epochs"], opening["has_epochs"]
        self._saves = Saves(Path(message["checkpoints"]) if message["checkpoints"] else None)
        self._reports = list(self._saves.reports)
        last = self._reports[-1]["epoch"] if self._reports else 0
        called = _called(opening)
        self._judge = Judge(called, opening["metric"], self._planned, self._has_epochs, self.final, last)
        self._epoch: int | None = None
        """That `epochs` is at."""
        self._since = time.monotonic()
        self._stopped = False
        self._failure: dict[str, Any] | None = None
        self._told: set[str] = set()
        self._restores = not self._reports
        wire.send(kind="begun", trial=self.number, reports=self._reports)
        if self._saves.nothing and self._saves.nothing.exists():
            self.log("starts anew: nothing was saved before it was interrupted (trial.save saves)")

    def epochs(self) -> Epochs:
        """The epochs to train, counted from 1. They start behind the last one that was saved."""
        return Epochs(self, range(self._judge.last + 1, self._planned + 1))

    def report(self, epoch: int | None = None, **values: Any) -> bool:
        """Tell what an epoch came to, the study's metric among it. Returns whether to go on.

        Without `epoch` it is the one that `epochs` is at. What is reported last is the trial's score.
        """
        return self._report(epoch, values)

    def _report(self, epoch: int | None, values: dict[str, Any]) -> bool:
        self._check()
        if self._stopped:
            raise _End
        if epoch is None:
            epoch = self._epoch if self._epoch is not None else self._judge.last + 1
        try:
            number, numbers, left_out = self._judge.judged(epoch, values)
        except Wrong as wrong:
            self._fail(wrong.kind, str(wrong), retry=False)
        for name, value in left_out.items():
            self._note(name, f"{name} became {value} in epoch {number}: it is left out where it is not finite")
        if not self._restores:
            self._note("restore", f"goes on after epoch {self._saves.reports[-1]['epoch']} without trial.restore()")
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        self._reports.append({"epoch": number, "values": numbers, "seconds": seconds})
        saved = self._saves.pending
        self._on_disk(lambda: self._saves.commit(list(self._reports)))
        if len(self._reports) == 1:
            self._on_disk(self._saves.note_nothing)
        self._wire.send(kind="report", trial=self.number, saved=saved, **self._reports[-1])
        self._stopped = not self._goes_on(number)
        return not self._stopped

    def save(self, write: Callable[[Path], object]) -> None:
        """Have `write(folder)` save all that it takes to go on after a crash into a new, empty folder.

        It counts together with the report of its epoch, before or after which it is made.
        """
        self._check()
        self._on_disk(lambda: self._saves.write(write))
        within_an_epoch = self._has_epochs and self._epoch is not None and self._epoch > self._judge.last
        if not within_an_epoch:
            self._on_disk(lambda: self._saves.commit(list(self._reports)))

    def restore(self) -> Path | None:
        """The folder of the last save, to be read only; None if there is none."""
        self._restores = True
        return self._saves.newest / "files" if self._saves.newest else None

    def log(self, text: str) -> None:
        """Say something to whoever watches the study."""
        print(text, file=sys.stderr)
        if os.getpid() == self._pid:
            self._wire.send(kind="log", trial=self.number, text=one_line(str(text)))

    def __reduce__(self) -> NoReturn:
        raise TypeError("trial can't be sent to another process: report what it sends back")

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("trial belongs to the process that the function was called in: report there")
        if self._failure:
            raise _End

    def _fail(self, kind: str, text: str, *, retry: bool) -> NoReturn:
        self._failure = {"kind": kind, "text": text, "retry": retry}
        raise _End

    def _on_disk(self, act: Callable[[], None]) -> None:
        try:
            act()
        except DiskError as error:
            self._fail("disk", str(error), retry=True)

    def _note(self, key: str, text: str) -> None:
        """Into the log, once."""
        if key not in self._told:
            self._told.add(key)
            print(f"trial {self.number}: {text}", file=sys.stderr)

    def _goes_on(self, epoch: int) -> bool:
        """The slot's answer about `epoch`; one about an earlier epoch that comes late counts as well."""
        until = time.monotonic() + VERDICT_SECONDS
        while True:
            message = self._wire.receive(max(0.0, until - time.monotonic()))
            if message is None:
                return True
            if message["kind"] == "verdict" and message["trial"] == self.number:
                if not message["go"]:
                    return False
                if message["epoch"] >= epoch:
                    return True

    def _is_over(self) -> bool:
        while not self._stopped:
            message = self._wire.receive(0)
            if message is None:
                break
            self._stopped = message["kind"] == "verdict" and message["trial"] == self.number and not message["go"]
        return self._stopped or self._failure is not None

    def _take(self, returned: Any) -> None:
        """What the function returned is the score of a trial that has reported nothing."""
        if self._stopped or self._judge.last:
            return
        if returned is None:
            wrong = self._judge.nothing("returned nothing and ")
            self._fail(wrong.kind, str(wrong), retry=False)
        values = returned if isinstance(returned, dict) else {self._judge.metric: returned}
        if any(not isinstance(name, str) for name in values):
            self._fail("error", f"{self._judge.called} returned a dict whose keys are not names", retry=False)
        self._report(self._planned, values)


def one_line(text: str, most: int = 1000) -> str:
    """`text` as it may be sent: on one line, of characters that can be shown."""
    shown = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(shown.split())[:most]


def _shown(value: Any) -> str:
    with contextlib.suppress(Exception):
        return one_line(repr(value), 100)
    return f"a {type(value).__name__}"


def _called(opening: dict[str, Any]) -> str:
    return f"{Path(opening['file']).name}:{opening['function']}"


def _said_by(error: BaseException, folder: Path) -> str:
    """An exception on one line, with the last line of the user's own that it came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != _HERE]
    own = [frame for frame in frames if _is_of(folder, frame.filename)]
    filename, line = next(((each.filename, each.lineno) for each in reversed(own or frames)), ("", None))
    if isinstance(error, SyntaxError) and error.filename:
        filename, line = error.filename, error.lineno
    text = one_line(str(error.msg if isinstance(error, SyntaxError) else error), 500)
    where = f" ({Path(filename).name}, line {line})" if filename else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


def _is_of(folder: Path, filename: str) -> bool:
    """Whether a file is the user's own, and not of a package that is installed below the same folder."""
    return folder in Path(filename).parents and "site-packages" not in filename


class _Refusal(Exception):  # noqa: N818 - what is told, not an error of ours
    """The function can't be called as the space asks."""


def _load(opening: dict[str, Any]) -> Callable[[Trial], Any]:
    """The function that the space names. Raises _Refusal."""
    path = Path(opening["file"])
    try:
        source = path.read_bytes()
    except OSError as error:
        raise _Refusal(f"{path}: can't be read ({error.strerror})") from None
    found = hashlib.sha256(source).hexdigest()
    if found != opening["sha256"]:
        raise _Refusal(changed(str(path), found, opening["sha256"]))
    try:
        module = _import(path, source)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - told to whoever wrote it
        traceback.print_exc()
        raise _Refusal(f"{path}: can't be imported by {sys.executable}: {_said_by(error, path.parent)}") from None
    name = opening["function"]
    function = getattr(module, name, None)
    if function is None:
        there = sorted(key for key, value in vars(module).items() if inspect.isfunction(value))
        close = difflib.get_close_matches(name, there, 1)
        mean = f": did you mean {close[0]}?" if close else f". It has {', '.join(there) or 'no function at all'}."
        raise _Refusal(f"{path}: has no function {name}{mean}")
    if not callable(function):
        raise _Refusal(f"{path}: {name} is a {type(function).__name__}, not a function")
    _check_signature(path, name, function)
    _check_params(path, name, source, opening["params"])
    return function  # type: ignore[no-any-return]


def changed(file: str, found: str, expected: str) -> str:
    """What is told of a file that is not the one that was named."""
    return f"{file}: has changed, or is another version: its SHA-256 is {found[:12]}..., and was {expected[:12]}..."


def _import(path: Path, source: bytes) -> ModuleType:
    """Execute a file once, as a module whose neighbours come first wherever modules are looked for."""
    sys.path.insert(0, str(path.parent))
    sys.argv[:] = [str(path)]
    vars(sys.modules["__main__"]).pop("__file__", None)  # multiprocessing would run this file in its processes too
    for name in set(sys.modules) - _AT_START:
        # Imported for ourselves: `import json` in the user's file means the json.py beside it, as ever.
        beside = path.parent / name.partition(".")[0]
        if beside.with_suffix(".py").is_file() or (beside / "__init__.py").is_file():
            del sys.modules[name]
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ImportError(f"{path.name} is no Python file: its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))  # noqa: S102 - the file that was named
    return module


def _check_signature(path: Path, name: str, function: Callable[..., Any]) -> None:
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise _Refusal(f"{path}: {name} is async or yields: it has to be a plain function, def {name}(trial)")
    with contextlib.suppress(ValueError):  # made in C: nobody knows
        signature = inspect.signature(function)
        try:
            signature.bind(None)
        except TypeError:
            text = f"{path}: {name}{signature} can't be called with the trial alone: def {name}(trial)"
            raise _Refusal(text) from None


def _check_params(path: Path, name: str, source: bytes, params: list[str]) -> None:
    """Whether all of the parameters that the function asks for by name, `trial.params["lr"]`, are in the space."""
    asked: set[Any] = set()
    optional: set[Any] = set()
    for function in ast.parse(source).body:
        if isinstance(function, ast.FunctionDef) and function.name == name and function.args.args:
            trial = function.args.args[0].arg
            for node in ast.walk(function):
                if isinstance(node, ast.Subscript) and _is_params(node.value, trial):
                    (asked if isinstance(node.ctx, ast.Load) else optional).add(_constant(node.slice))
                elif isinstance(node, ast.Compare) and any(_is_params(each, trial) for each in node.comparators):
                    optional.add(_constant(node.left))
    unknown = sorted(each for each in asked - optional if isinstance(each, str) and each not in params)
    if unknown:
        close = {each: difflib.get_close_matches(each, params, 1) for each in unknown}
        mean = ", ".join(f"{each} (did you mean {like[0]}?)" if like else each for each, like in close.items())
        raise _Refusal(
            f"{path}: {name} asks trial.params for {mean}, which [space] does not have. [space] has "
            f"{', '.join(params) or 'none'}. One that may be missing is asked for by trial.params.get(...)"
        )


def _is_params(node: ast.AST, trial: str) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "params"
        and isinstance(node.value, ast.Name)
        and node.value.id == trial
    )


def _constant(node: Any) -> Any:
    while isinstance(node, ast.AST):  # 3.8 has a node around it
        node = getattr(node, "value", None)
    return node


class _Runner:
    """The function, and what it must not leave behind from one trial to the next."""

    def __init__(self, wire: Wire, opening: dict[str, Any], function: Callable[[Trial], Any]) -> None:
        self._wire, self._opening, self._function = wire, opening, function
        self._folder = Path.cwd()
        self._spared = family(*_self())
        self._own = Path(opening["file"]).parent

    def run(self, message: dict[str, Any]) -> None:
        """Train for one trial and say what came of it."""
        threads = set(threading.enumerate())
        os.chdir(self._folder)
        failure = self._failure_of(message)
        gc.collect()  # what a cycle still holds ends its processes and threads by itself
        left = [*self._end_processes(), *self._threads_beside(threads)]
        if left:
            print(f"trial {message['trial']} left {', '.join(left)}: the next has a new process", file=sys.stderr)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the function may have closed it, or put another in its place
                stream.flush()
        answer: dict[str, Any] = {"trial": message["trial"], "reusable": PROC.is_dir() and not left}
        if failure is None:
            self._wire.send(kind="finished", **answer)
            return
        retry, failure["text"] = failure.pop("retry"), one_line(failure["text"])
        self._wire.send(kind="failed", failure=failure, retry=retry, **answer)

    def _end_processes(self) -> list[str]:
        """End the processes that the function has left, and say so: what is in memory may still count on them."""
        trackers = [sys.modules.get(name) for name in ("multiprocessing.resource_tracker", *LOKY)]
        kept = {getattr(getattr(each, "_resource_tracker", None), "_pid", None) for each in trackers}

        def left() -> Set[tuple[int, bytes]]:
            return {each for each in family(*_self()) - self._spared if each[0] not in kept}

        until = time.monotonic() + PROCESS_SECONDS
        while left():
            if time.monotonic() > until:
                break
            time.sleep(0.01)
        else:
            return []
        spared = family(*_self()) - left()
        handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's raises in whatever runs
        killed = kill_family(*_self(), spared)
        signal.signal(signal.SIGCHLD, handler or signal.SIG_DFL)
        return [f"{killed} processes, which were ended"] if killed else []

    def _failure_of(self, message: dict[str, Any]) -> dict[str, Any] | None:
        pid = os.getpid()
        trial = Trial(self._wire, self._opening, message)
        try:
            trial._take(self._function(trial))
        except _End:
            pass
        except BaseException as error:  # noqa: BLE001 - it is told, and the next trial is run
            trial._failure = trial._failure or self._told(error, trial)
        finally:
            if os.getpid() != pid:  # it has forked, and the child came out of the function too
                os._exit(0)
        return trial._failure

    def _told(self, error: BaseException, trial: Trial) -> dict[str, Any] | None:
        """What is told of what the function raised: nothing once it was told to end, when it does not matter."""
        with contextlib.suppress(Exception):
            traceback.print_exception(type(error), error, error.__traceback__)
        if trial._stopped:
            return None
        text = _said_by(error, self._own)
        if isinstance(error, SystemExit):
            what = f"{_called(self._opening)} called sys.exit({'' if error.code is None else _shown(error.code)})"
            return {"kind": "error", "text": what, "retry": False}
        names = {each.__name__ for each in type(error).__mro__}
        if names & OUT_OF_MEMORY or "out of memory" in text.lower() or "RESOURCE_EXHAUSTED" in text:
            return {"kind": "out-of-memory", "text": text, "retry": False}
        if error is trial.params.missed:
            text += f"; trial.params has {', '.join(trial.params) or 'nothing'}"
        return {"kind": "error", "text": text, "retry": True}

    def _threads_beside(self, before: Set[threading.Thread]) -> list[str]:
        """The threads that the function has left, but for a library's own, which serve it until the process ends."""
        until = time.monotonic() + THREAD_SECONDS
        left = []
        for thread in set(threading.enumerate()) - before:
            module = sys.modules.get(type(thread).__module__)
            foreign = isinstance(thread, threading._DummyThread)  # started by C, as PyTorch's are
            library = thread.daemon and type(thread).__module__ != "threading" and not self._is_own(module)
            if not (foreign or library):
                thread.join(max(0.0, until - time.monotonic()))
                if thread.is_alive():
                    left.append(f"the thread {thread.name}")
        return left

    def _is_own(self, module: ModuleType | None) -> bool:
        file = getattr(module, "__file__", None)
        return file is None or _is_of(self._own, file)


def _versions() -> dict[str, str]:
    """Of Python, and of what the user's file has imported."""
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in VERSIONED:
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            versions[name] = str(version)
    return versions


def main() -> None:
    """Serve one slot until it closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the slot decides what it means
    faulthandler.enable()
    wire = Wire()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    opening = wire.receive()
    if not opening or opening.get("kind") != "open":
        raise SystemExit(f"own_trial.py: the first message must be of kind open, but is {opening}")
    try:
        function = _load(opening)
    except _Refusal as refusal:
        wire.send(kind="refused", message=one_line(str(refusal), 4000))
        end()
    runner = _Runner(wire, opening, function)
    wire.send(kind="ready", device=opening["device"], versions=_versions())
    while True:
        message = wire.receive()
        if message and message["kind"] == "train":
            runner.run(message)


if __name__ == "__main__":
    main()
