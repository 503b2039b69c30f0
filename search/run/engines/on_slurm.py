"""Slurm: every worker is a job, those that are started together an array, sent by submitit.

A job runs `alexsearch worker` and hands on to it the SIGTERM that Slurm sends when the job is cancelled or preempted,
and `signal_delay_s` before its time is over. The trial goes back with its checkpoint, and the run sends another job;
one that Slurm has queued again by itself is left to Slurm.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from search.base.mistakes import InputError
from search.run.engines.engine import Order, Resources
from search.run.engines.jobs import JobsError, JobStaff, State, jobs_folder
from search.training.places import Place
from search.training.surroundings import PASSWORDS
from studies.words import listed, one_line

PROGRAMS: Final = ("sbatch", "srun", "squeue", "scancel", "sinfo")
KEYS: Final = (
    *("account", "array_parallelism", "begin", "comment", "constraint", "cpus_per_gpu", "cpus_per_task", "deadline"),
    *("exclude", "exclusive", "gpus_per_node", "gpus_per_task", "gres", "job_name", "licenses", "mail_type"),
    *("mail_user", "mem", "mem_per_cpu", "mem_per_gpu", "nice", "no_requeue", "nodelist", "partition", "qos"),
    *("requeue", "reservation", "signal_delay_s", "time", "time_min", "tmp", "wckey"),
)
"""What may be said of a job: sbatch's options, and submitit's two of its own."""
FLAGS: Final = ("exclusive", "no_requeue", "requeue")
"""Those that need no value."""
NUMBERS: Final = ("array_parallelism", "cpus_per_task", "signal_delay_s")
SIGNAL_DELAY_SECONDS = 90
"""How long before a job's time is over its worker is told."""
ALIVE: Final = (
    *("PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "REQUEUE"),
    *("SPECIAL_EXIT", "STAGE_OUT", "RESV_DEL_HOLD"),
)
"""How the states begin of a job that runs, or is going to."""
ANSWER_SECONDS = 20.0
"""How long Slurm may take to answer a command."""
AWAY: Final = ("unable to contact", "timed out", "connection refused", "connect failure", "temporarily")


class OnSlurm:
    """The engine."""

    name = "slurm"

    def __init__(self, settings: str = "") -> None:
        """`settings` is as typed: "partition=gpu,time=4:00:00". Raises InputError."""
        self._settings = settings_of(settings)
        self.resources = Resources(gpus_of(self._settings), int(self._settings.get("cpus_per_task", 1)))
        self._nodes: tuple[Node, ...] = ()

    def places(self, workers: int | None) -> tuple[Place, ...]:
        """See `Engine`."""
        if workers is None:
            raise InputError("--engine slurm: say how many jobs there are to be, with --workers N.")
        if importlib.util.find_spec("submitit") is None:
            raise InputError(
                "--engine slurm: submitit is not installed here. Install it: pip install 'alexsearch[slurm]'"
            )
        if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
            raise InputError(
                f"--engine slurm: there is no {listed(missing)} on this host. Run alexsearch where jobs are sent from, "
                "a login node of the cluster, or take another engine."
            )
        try:
            self._nodes = nodes_of(self._settings.get("partition"))
            self._check_room(workers)
            _ask("sbatch", "--test-only", "--quiet", *_options(self._settings, workers), "--wrap=true")
        except JobsError as error:
            way_out = "Is it running? `scontrol ping` says." if error.is_away else "Mend it in --slurm or --workers."
            raise InputError(f"--engine slurm: {error}. {way_out} Nothing was started.") from None
        partition = self._settings.get("partition") or "the default partition"
        each = _each(self.resources)
        return tuple(Place(index, f"jobs of Slurm in {partition}, {each} each") for index in range(workers))

    def _check_room(self, workers: int) -> None:
        """Refuse what could never be at work at one time. Raises InputError."""
        partition = self._settings.get("partition") or "the default partition"
        cpus, gpus = int(self.resources.cpus), int(self.resources.gpus)
        if any(node.shared for node in self._nodes):
            return
        room = sum(
            1 if "exclusive" in self._settings else min(node.cpus // cpus, node.gpus // gpus if gpus else node.cpus)
            for node in self._nodes
        )
        if gpus and not any(node.gpus for node in self._nodes):
            raise InputError(f"--slurm: no node of {partition} has a GPU, and each worker asks for {gpus}.")
        if room < workers:
            raise InputError(
                f"--workers: {workers} workers with {_each(self.resources)} each, but {partition} has room for {room} "
                f"at a time on its {len(self._nodes)} node{'s' * (len(self._nodes) != 1)}. Ask for "
                f"{room or 'less each'}, or name another partition with --slurm."
            )

    def is_here(self) -> bool:
        """See `Engine`."""
        return {node.host for node in self._nodes} == {socket.gethostname()}

    def open(self, order: Order) -> JobStaff:
        """See `Engine`."""
        folder = jobs_folder(order)
        return JobStaff(order, Sbatch(self._settings, folder), folder)


def settings_of(text: str) -> dict[str, str]:
    """What `--slurm` says, by name. A comma may also stand within a value: "exclude=n1,n2,time=60".

    Raises:
        InputError: all that is wrong with it.
    """
    found: dict[str, str] = {}
    wrong: list[str] = []
    last = ""
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        name = name.strip().replace("-", "_")
        if not equals and name not in FLAGS and last:
            found[last] += f",{part}"
            continue
        last = name
        found[name] = value
        if name not in KEYS:
            wrong.append(f"unknown key {name}. Known keys: {', '.join(KEYS)}")
        elif not value and name not in FLAGS:
            wrong.append(f'{name} must have a value, as in {name}="...", but has none')
        elif name in ("signal_delay_s", "array_parallelism", "cpus_per_task") and not re.fullmatch(
            "[1-9][0-9]*", value
        ):
            wrong.append(f'{name} must be a whole number from 1, but is "{value}"')
        elif not value.isprintable():
            wrong.append(f"{name} must be printable, but is {value!r}")
    if wrong:
        raise InputError("\n".join(f"--slurm: {each}." for each in wrong))
    return found


def _each(resources: Resources) -> str:
    cpus, gpus = int(resources.cpus), int(resources.gpus)
    words = [f"{gpus} GPU{'s' * (gpus > 1)}"] * (gpus > 0) + [f"{cpus} CPU{'s' * (cpus > 1)}"]
    return " and ".join(words)


def gpus_of(settings: Mapping[str, str]) -> int:
    """How many GPUs each worker asks for."""
    asked = [settings[name] for name in ("gpus_per_task", "gpus_per_node") if name in settings]
    asked += [part[4:] for part in settings.get("gres", "").split(",") if part.startswith("gpu:")]
    asked += ["1" for part in settings.get("gres", "").split(",") if part == "gpu"]
    numbers = [re.search(r"(?:^|:)([0-9]+)$", each) for each in asked]
    return max((int(found[1]) if found else 1 for found in numbers), default=0)


def _options(settings: Mapping[str, str], workers: int) -> list[str]:
    """Of sbatch, as it is asked whether it would take such jobs."""
    options = [
        f"--{name.replace('_', '-')}" + (f"={value}" if value else "")
        for name, value in settings.items()
        if name not in ("signal_delay_s", "array_parallelism")
    ]
    return options + ([f"--array=0-{workers - 1}"] if workers > 1 else [])


@dataclass(frozen=True)
class Node:
    """Of a partition."""

    name: str
    host: str
    cpus: int
    gpus: int
    shared: bool
    """Whether jobs may have more of it than there is."""


def nodes_of(partition: str | None) -> tuple[Node, ...]:
    """The nodes of a partition, the default one if none is named. Raises JobsError."""
    named = [f"--partition={partition}"] if partition else []
    rows = _ask("sinfo", "--noheader", "--Node", *named, "--format=%N|%n|%c|%G|%h|%P").splitlines()
    nodes = {}
    for name, host, cpus, gres, shared, of in (row.split("|") for row in rows if row.count("|") == 5):
        if partition or of.endswith("*"):
            gpus = sum(int(count) for count in re.findall(r"(?:^|,)gpu:(?:[^:,(]+:)?([0-9]+)", gres))
            nodes[name] = Node(name, host, int(cpus), gpus, shared.startswith(("FORCE", "YES")))
    if not nodes:
        there = sorted(set(_ask("sinfo", "--noheader", "--format=%R").split()))
        what = f"there is no partition {partition}" if partition else "there is no default partition"
        raise _error(f"{what}. There are: {listed(there) or 'none'}")
    return tuple(nodes.values())


def _ask(*command: str) -> str:
    """What one of Slurm's commands prints. Raises JobsError."""
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, errors="replace", timeout=ANSWER_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise _error(f"{command[0]} timed out: Slurm did not answer within {ANSWER_SECONDS:.0f} s") from None
    except OSError as error:
        raise _error(f"{command[0]} can't be started: {error.strerror}") from None
    if done.returncode:
        raise _error(_words(done.stderr) or f"{command[0]} ended with code {done.returncode}")
    return done.stdout


def _error(words: str) -> JobsError:
    return JobsError(words, is_away=any(each in words.lower() for each in AWAY))


def _words(text: str) -> str:
    lines = [re.sub(r"^\w+: (error: )?", "", line).strip() for line in text.splitlines()]
    return one_line("; ".join(dict.fromkeys(line for line in lines if line))).rstrip(".")


class Sbatch:
    """Slurm's own jobs."""

    def __init__(self, settings: Mapping[str, str], folder: Path) -> None:
        import submitit

        # -P: nothing is imported from the folder that the job is started in.
        self._executor = submitit.SlurmExecutor(folder, python=f"{shlex.quote(sys.executable)} -P")
        given: dict[str, Any] = {name: value or True for name, value in settings.items()}
        # Not submitit's SIGUSR2: where Slurm signals all processes of a job, it would end them.
        given["signal"] = f"TERM@{given.pop('signal_delay_s', SIGNAL_DELAY_SECONDS)}"
        mine: dict[str, Any] = {"array_parallelism": int(given.pop("array_parallelism", 100_000))}
        if "cpus_per_task" in given:  # since Slurm 22.05 srun does not take it over
            mine["srun_args"] = [f"--cpus-per-task={given['cpus_per_task']}"]
        given.setdefault("job_name", "alexsearch")
        self._executor.update_parameters(time=None, wckey=None, additional_parameters=given, **mine)

    def submit(self, calls: Sequence[Callable[[], object]]) -> list[str]:
        """See `Jobs`."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            # submitit prints what sbatch says; it is in the error too.
            with _without_secrets(), Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
                return [job.job_id for job in self._executor.submit_array(list(calls))]
        except (FailedJobError, FailedSubmissionError) as error:
            raise _error(_words(str(error)) or "sbatch failed") from None
        except OSError as error:
            raise _error(f"the jobs' files can't be written: {error}") from None

    def states(self) -> Mapping[str, State]:
        """See `Jobs`."""
        columns = "JobArrayID:60,State:30,exit_code:20,Reason:60"
        rows = _ask(
            "squeue", "--noheader", "--states=all", "--array", f"--user={os.getuid()}", f"--Format={columns}"
        ).splitlines()
        return {row[:60].strip(): _state(row[60:90].strip(), row[90:110].strip(), row[110:].strip()) for row in rows}

    def cancel(self, jobs: Sequence[str], *, kill: bool = False) -> None:
        """See `Jobs`."""
        if kill:
            with contextlib.suppress(JobsError):  # it has ended, or not begun
                _ask("scancel", "--signal=KILL", "--full", *jobs)
        _ask("scancel", "--quiet", *jobs)


def _state(state: str, status: str, reason: str) -> State:
    """Of what squeue says; `status` is a wait status."""
    if state.startswith(ALIVE):
        return State(is_over=False, words=state)
    by_itself = state in ("COMPLETED", "FAILED", "OUT_OF_MEMORY") and status.isdecimal()
    code = os.waitstatus_to_exitcode(int(status)) if by_itself else None
    return State(is_over=True, code=code, words=f"{state}{f' ({reason})' * (reason != 'None')}")


@contextlib.contextmanager
def _without_secrets() -> Iterator[None]:
    """For Slurm keeps the environment that a job is sent with. Within a job, without what is that job's own, too."""
    hidden = {
        name
        for name in os.environ
        if name in PASSWORDS
        or name.startswith("ALEXSEARCH_")
        or ("SLURM_JOB_ID" in os.environ and name.startswith("SLURM_") and name != "SLURM_CONF")
    }
    before = {name: os.environ.pop(name) for name in hidden}
    try:
        yield
    finally:
        os.environ.update(before)
