"""Where the slots of this host compute: a GPU each, a share of one, or a part of the CPU's cores."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from model.device import available_cores
from search.base.mistakes import InputError

PRETEND = "ALEXSEARCH_PRETEND_GPUS"
"""For tests: a number of GPUs that are not there."""
CORES, SHARERS = "ALEXSEARCH_CORES", "ALEXSEARCH_GPU_SHARERS"
"""What an engine tells a worker of its share of a host: so many of its cores, and that so many workers, it among them,
share each of its GPUs."""
TRIAL_MEMORY_MB = 8192
"""What a trial is given where the number of trials on a GPU is chosen by its memory: the images (184 MB), the network
with its activations at batch 512 (under 2 GiB), and room for the convolutions' workspaces."""
MOST_ON_A_GPU = 8
CHILD_MEMORY_MB = 1200
"""About what a training process on a CPU takes: TensorFlow, the images, the network at a common batch size."""

FREE_SHARE = 0.9
"""How much of a GPU's memory slots that share it divide among them; CUDA itself takes the rest."""


@dataclass(frozen=True)
class Place:
    """Where a slot's child computes."""

    index: int
    device: str
    """As the user reads it: "cpu" or "gpu 0: NVIDIA ..."."""
    gpu: str | None = None
    """What CUDA_VISIBLE_DEVICES is for the child; None is a CPU."""
    threads: int | None = None
    gpu_memory_mb: int | None = None
    pretend: bool = False
    """A GPU that is not there, in tests: the child computes on the CPU."""

    @property
    def name(self) -> str:
        return f"slot-{self.index}"

    @property
    def on_gpu(self) -> bool:
        """Whether its child computes on a GPU that is there."""
        return self.gpu is not None and not self.pretend


@dataclass(frozen=True)
class Gpu:
    """A GPU as the driver describes it."""

    index: int
    name: str
    memory_mb: int
    uuid: str
    pretend: bool = False


def visible_gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs that this process may use, asked of the driver: no TensorFlow is started.

    CUDA_VISIBLE_DEVICES is honoured, as indices or UUIDs. Without a driver, or with one that does not answer, none.
    """
    if pretended := os.environ.get(PRETEND):
        return tuple(Gpu(i, "pretend", 16384, f"GPU-pretend-{i}", pretend=True) for i in range(int(pretended)))
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    found = []
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total // 2**20
            found.append(Gpu(index, pynvml.nvmlDeviceGetName(handle), memory, pynvml.nvmlDeviceGetUUID(handle)))
    except pynvml.NVMLError:
        return ()
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    return restricted(found, os.environ.get("CUDA_VISIBLE_DEVICES"))


def restricted(gpus: list[Gpu], visible: str | None) -> tuple[Gpu, ...]:
    """Those that CUDA_VISIBLE_DEVICES names, in its order; as CUDA does, it stops at the first it does not know."""
    if visible is None:
        return tuple(gpus)
    chosen: list[Gpu] = []
    for name in (part.strip() for part in visible.split(",")):
        match = [gpu for gpu in gpus if name and (name == str(gpu.index) or gpu.uuid.startswith(name))]
        if not match:
            break
        chosen.append(match[0])
    return tuple(chosen)


def chosen_gpus(gpus: tuple[Gpu, ...], wanted: str) -> tuple[Gpu, ...]:
    """Those that `--gpus` names: "all", "none", or indices as in "0,2".

    Raises:
        InputError: an index that is not there, or something else.
    """
    if wanted in ("all", "none"):
        return gpus if wanted == "all" else ()
    by_index = {str(gpu.index): gpu for gpu in gpus}
    names = [name.strip() for name in wanted.split(",")]
    unknown = [name for name in names if name not in by_index]
    if unknown or len(set(names)) < len(names):
        there = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in gpus) or "none"
        raise InputError(f'--gpus: must be all, none or indices as in 0,2, but is "{wanted}". There are: {there}.')
    return tuple(by_index[name] for name in names)


def plan_places(
    workers: int | None,
    gpus: tuple[Gpu, ...],
    cores: int,
    trials_per_gpu: int | None = 1,
    free_memory_mb: Callable[[], float] | None = None,
) -> tuple[Place, ...]:
    """One place a worker; without a number, `trials_per_gpu` a GPU, or one on the CPU where there is no GPU.

    Several workers on one GPU get a hard share of its memory each; workers on the CPU divide its cores, or take turns
    where they are more, as many as `free_memory_mb` holds (by default what is free now).
    `trials_per_gpu` None chooses by memory: one for each `TRIAL_MEMORY_MB`, at most four.

    Raises:
        InputError: more workers than can be placed.
    """
    if not gpus:
        count = workers or 1
        if count > cores:
            _check_memory(count, cores, (free_memory_mb or free_memory)())
        return tuple(Place(index, "cpu", threads=max(1, cores // count)) for index in range(count))
    if trials_per_gpu is None:
        trials_per_gpu = max(1, min(4, min(gpu.memory_mb for gpu in gpus) // TRIAL_MEMORY_MB))
    count = workers or trials_per_gpu * len(gpus)
    sharing = -(-count // len(gpus)) * _number(SHARERS, 1)
    if sharing > MOST_ON_A_GPU:
        raise InputError(
            f"--workers: {count} workers on {len(gpus)} GPUs would be {sharing} on each. "
            f"Use at most {MOST_ON_A_GPU * len(gpus)}."
        )
    return tuple(
        Place(
            index,
            f"gpu {gpu.index}: {gpu.name}",
            gpu=gpu.uuid,
            gpu_memory_mb=int(gpu.memory_mb * FREE_SHARE / sharing) if sharing > 1 else None,
            pretend=gpu.pretend,
        )
        for index, gpu in ((index, gpus[index % len(gpus)]) for index in range(count))
    )


def cores_here() -> int:
    """The CPU cores that this process may use: all that the system gives it, or the part that its engine told it of."""
    cores = available_cores()
    return min(cores, _number(CORES, cores))


def _number(variable: str, default: int) -> int:
    given = os.environ.get(variable, "")
    return int(given) if given.isdecimal() and int(given) > 0 else default


def _check_memory(workers: int, cores: int, free_mb: float) -> None:
    fitting = int(free_mb / CHILD_MEMORY_MB)
    if workers > fitting:
        raise InputError(
            f"--workers: {workers} workers on the CPU need about {workers * CHILD_MEMORY_MB / 1000:.1f} GB of memory, "
            f"but {free_mb / 1000:.1f} GB are free. Use at most {max(cores, fitting)}."
        )


def free_memory() -> float:
    """The memory, in MB, that processes may still take: what is free, and what this container is allowed."""
    free = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError):  # "max": no limit; and other systems have no such files
        allowed, taken = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, allowed - taken)
    return float(free) / 1e6


def crowded(places: tuple[Place, ...], cores: int) -> str | None:
    """What is said of more workers on the CPU than it has cores; None if there are none."""
    if len(places) <= cores or any(place.gpu for place in places):
        return None
    return (
        f"{len(places)} workers share {cores} core{'s' * (cores > 1)}: they take turns, and are done no sooner than "
        f"with --workers {cores}"
    )


def places_without_gpus(workers: int | None) -> tuple[Place, ...]:
    """On the CPU, where the GPUs turned out to be of no use: as many as were asked for, at most one a core."""
    cores = available_cores()
    return plan_places(min(workers or 1, cores), (), cores)


def unusable(device: str) -> str:
    """What is said where the driver shows a GPU that TensorFlow does not see."""
    return (
        f"{device} is there, but this TensorFlow can't use it: training goes on on the CPU. "
        "Install requirements-gpu.lock, and see `alexsearch doctor`."
    )
