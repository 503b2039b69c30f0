"""Workers on a Ray cluster: an actor each, which Ray places by the GPUs and CPUs it asks for.

The actor starts `alexsearch worker` on its node and watches it; the GPUs that Ray gave the actor, whole or a share of
one, are the worker's by CUDA_VISIBLE_DEVICES. An actor whose node is lost is told of by `ended` and made anew by the
run, not by Ray's `max_restarts`: so one place counts how often, for every engine. A new actor waits until the cluster
has room, as that of a node that comes back or is added.

The order, with the database's password, goes to the actor through Ray, whose users trust each other anyhow.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from search.base.mistakes import InputError
from search.run.engines.engine import Ended, EngineError, Order, Resources
from search.run.engines.process import WorkerProcess
from search.training.places import MOST_ON_A_GPU, Place, visible_gpus
from search.training.surroundings import python_command
from studies.words import one_line

ANSWER_SECONDS = 20.0
"""How long a cluster may take to answer before it is taken for away; to import Ray is in it."""
CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 5.0
"""How long actors may take to say that they have ended their process."""
WAIT_SECONDS = 1.0
"""How long an actor waits for its process at a call, and so until it hears the next one."""
PLACED_SECONDS = 2.0
"""How long a stop waits to hear of actors whether they have a place: one that has just begun ends in order."""
OBJECT_STORE_BYTES = 80 * 2**20
"""Of a cluster that is started here: workers pass nothing through it but a few words."""
HOW_TO = (
    "Start one with `ray start --head`, then `ray start --address=HOST:6379` on the other hosts, and run this on one "
    "of them; or have one of this host alone with --ray-address local."
)
PROBE = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"

log = logging.getLogger(__name__)


class OnRay:
    """The engine of --engine ray."""

    name = "ray"

    def __init__(self, address: str = "auto", *, gpus: float | None = None) -> None:
        """`address` is auto, local, or a cluster's HOST:PORT.

        `gpus` is what each worker gets of one: 1, a share, or 0; None is 1 if the cluster has any, else 0.
        """
        self.resources = Resources(gpus or 0.0)
        self._address, self._gpus = address, gpus
        self._ray: Any = None
        self._hosts: set[str] = set()

    def places(self, workers: int | None) -> tuple[Place, ...]:
        self._ray = _connected(self._address)
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        self._hosts = {node["NodeManagerHostname"] for node in nodes}
        there = [(node["Resources"].get("GPU", 0.0), node["Resources"].get("CPU", 0.0)) for node in nodes]
        try:
            self.resources, most = planned(there, self._gpus, workers)
        except InputError:
            self._ray.shutdown()
            raise
        each = _gpus_in_words(self.resources.gpus) if self.resources.gpus else _cpus_in_words(self.resources.cpus)
        return tuple(Place(index, f"a Ray cluster, {each} each") for index in range(workers or most))

    def is_here(self) -> bool:
        return self._hosts == {socket.gethostname()}

    def open(self, order: Order) -> Actors:
        return Actors(self._ray, order, self.resources)


def planned(nodes: Sequence[tuple[float, float]], gpus: float | None, workers: int | None) -> tuple[Resources, int]:
    """What each worker gets, and how many are had so, on nodes with so many (GPUs, CPUs).

    Raises:
        InputError: no GPU where some were asked for, or not room for so many workers.
    """
    all_gpus, all_cpus = sum(node[0] for node in nodes), sum(node[1] for node in nodes)
    there = f"The cluster has {len(nodes)} node{'s' * (len(nodes) != 1)}, {all_gpus:g} GPUs, {all_cpus:g} CPUs"
    if gpus and not all_gpus:
        raise InputError(f"--gpus: {there}. Add a node with GPUs, or train on CPUs with --gpus none.")
    if gpus is None:
        gpus = 1.0 if all_gpus else 0.0
    if gpus:
        if gpus < 1 / MOST_ON_A_GPU:
            raise InputError(f"--trials-per-gpu: at most {MOST_ON_A_GPU}.")
        sharing = round(1 / gpus)
        most = sum(min(int(node_gpus) * sharing, int(node_cpus)) for node_gpus, node_cpus in nodes)
        resources = Resources(gpus, 1.0)
        way_out = "" if sharing >= MOST_ON_A_GPU else ", more on each GPU with --trials-per-gpu K"
    else:
        # As on one host: without a number one worker a node, with all its cores; more divide them.
        wanted = workers or sum(node_cpus >= 1 for _, node_cpus in nodes)
        widest = max((int(node_cpus) for _, node_cpus in nodes), default=0)
        fits = (cpus for cpus in range(widest, 0, -1) if _room(nodes, cpus) >= wanted)
        cpus = next(fits, 1)
        resources, most, way_out = Resources(0.0, float(cpus)), _room(nodes, cpus), ""
        most = min(most, wanted) if workers is None else most
    if not most or (workers or 0) > most:
        room = f"room for {most} worker{'s' * (most != 1)} with {_gpus_in_words(gpus) if gpus else 'a CPU'} each"
        raise InputError(
            f"--workers: {there}: {room}, and {workers or 'one'} asked for. Add nodes"
            + (f"{way_out}, or use --workers {most}." if most else ".")
        )
    return resources, most


def _room(nodes: Sequence[tuple[float, float]], cpus: int) -> int:
    return sum(int(node_cpus) // cpus for _, node_cpus in nodes)


def _gpus_in_words(gpus: float) -> str:
    return "1 GPU" if gpus >= 1 else f"1/{round(1 / gpus)} of a GPU"


def _cpus_in_words(cpus: float) -> str:
    return f"{cpus:g} CPU{'s' * (cpus != 1)}"


class Actor:
    """What runs in Ray's process on a node. Its calls come one after another, on the thread that started the worker."""

    def __init__(self, order: Order, number: int) -> None:
        self._worker = WorkerProcess(order, number)

    def wait(self, seconds: float) -> Ended | None:
        return self._worker.wait(seconds)

    def stop(self) -> None:
        self._worker.stop()

    def close(self) -> None:
        self._worker.close(0.0)


class Actors:
    """The `Staff` of `OnRay`."""

    def __init__(self, ray: Any, order: Order, resources: Resources) -> None:
        self._ray, self._order = ray, order
        self._actor = ray.remote(Actor).options(
            num_gpus=resources.gpus, num_cpus=resources.cpus, max_restarts=0, scheduling_strategy="SPREAD"
        )
        self._actors: dict[int, Any] = {}
        self._answers: dict[Any, int] = {}
        """What each was asked last: how its process ended."""
        self._placed: set[int] = set()

    def start(self, number: int) -> None:
        with _reached():
            self._actors[number] = self._actor.remote(self._order, number)
            self._ask(number, 0.0)

    def _ask(self, number: int, seconds: float) -> None:
        self._answers[self._actors[number].wait.remote(seconds)] = number

    def ended(self) -> list[Ended]:
        with _reached():
            asked = list(self._answers)
            ready, _ = self._ray.wait(asked, num_returns=len(asked), timeout=0) if asked else ([], [])
            found = [self._answered(self._answers.pop(answer), answer) for answer in ready]
        return [ended for ended in found if ended is not None]

    def _answered(self, number: int, answer: Any) -> Ended | None:
        try:
            ended: Ended | None = self._ray.get(answer)
        except self._ray.exceptions.ActorUnavailableError:  # the way to its node is cut, for now or for good
            ended = None
        except self._ray.exceptions.RayError as error:
            ended = _of_a_lost_one(number, error, self._ray.exceptions)
        self._placed.add(number)
        if ended is None:
            self._ask(number, WAIT_SECONDS)
        else:
            self._forget(number)
        return ended

    def _forget(self, number: int) -> None:
        self._placed.discard(number)
        with contextlib.suppress(Exception):
            self._ray.kill(self._actors.pop(number))

    def stop(self) -> None:
        unheard = [answer for answer, number in self._answers.items() if number not in self._placed]
        if unheard:
            with contextlib.suppress(Exception):
                heard, _ = self._ray.wait(unheard, num_returns=len(unheard), timeout=PLACED_SECONDS)
                self._placed |= {self._answers[answer] for answer in heard}
        for number, actor in self._actors.items():
            with contextlib.suppress(Exception):  # `ended` tells of one that is lost
                if number in self._placed:
                    actor.stop.remote()
                else:
                    self._ray.kill(actor)  # it waits for a place

    def close(self) -> None:
        with contextlib.suppress(Exception):
            closing = [self._actors[number].close.remote() for number in self._placed]
            self._ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS) if closing else None
        for number in list(self._actors):
            self._forget(number)
        self._answers.clear()
        with contextlib.suppress(Exception):
            self._ray.shutdown()


def _of_a_lost_one(number: int, error: BaseException, kinds: Any) -> Ended:
    """A worker whose actor is gone: with its node, or since it could not even start."""
    text = " ".join(str(error).split())
    if isinstance(error, kinds.RayTaskError) or "creation task" in text:
        *_, last = str(error).strip().splitlines()
        return Ended(number, 1, last.strip()[:500])
    return Ended(number, None, text[:300])


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    """Ray's own errors as ours: the cluster is gone."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"the Ray cluster can't be reached any more ({type(error).__name__}: {error})") from error


def _connected(address: str) -> Any:
    """The package `ray`, connected to the cluster. Raises InputError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of what it will do some day
    try:
        import ray
    except ImportError:
        raise InputError("--engine ray: Ray is not installed here. Install it: pip install 'alexsearch[ray]'") from None
    options: dict[str, Any] = {"address": address}
    if address == "local":
        options |= {"num_gpus": len(visible_gpus()), "object_store_memory": OBJECT_STORE_BYTES}
        options |= {"include_dashboard": False}
    else:
        _check_answers(address)
    try:
        with _signals_kept():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True, **options)
    except Exception as error:  # noqa: BLE001 - Ray has none of its own for this
        raise _unreachable(address, str(error)) from None
    return ray


def _check_answers(address: str) -> None:
    """Connect from a process of its own: where nothing answers, Ray tries for minutes and then ends its process.

    Raises:
        InputError: nothing answers, or what does is no cluster.
    """
    host, _, port = address.rpartition(":")
    if address != "auto":
        if not port.isdecimal() or not host or "/" in host:
            raise InputError(f'--ray-address: must be auto, local or HOST:PORT, but is "{address}".')
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise _unreachable(address, str(error)) from None
    command = python_command("-c", PROBE, address)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise _unreachable(address, f"no answer within {ANSWER_SECONDS:.0f} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise _unreachable(address, lines[-1] if lines else f"exit code {done.returncode}")


def _unreachable(address: str, why: str) -> InputError:
    return InputError(
        f"--ray-address {address}: there is no Ray cluster to be reached from here ({one_line(why)[:300]}). {HOW_TO}"
    )


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray sets a handler of its own for SIGTERM, which would end a run without giving its trials back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)
