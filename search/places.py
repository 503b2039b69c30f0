"""Where the slots of this host compute: a GPU each, a share of one, or a part of the CPU's cores."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from search.mistakes import InputError
from search.slot import Place

FREE_SHARE = 0.9
"""How much of a GPU's memory slots that share it divide among them; CUDA itself takes the rest."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as the driver describes it."""

    index: int
    name: str
    memory_mb: int
    uuid: str


def visible_gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs that this process may use, asked of the driver: no TensorFlow is started.

    CUDA_VISIBLE_DEVICES is honoured, as indices or UUIDs. Without a driver, or with one that does not answer, none.
    """
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


def plan_places(workers: int | None, gpus: tuple[Gpu, ...], cores: int) -> tuple[Place, ...]:
    """One place a worker; without a number, one a GPU, or one on the CPU where there is no GPU.

    Several workers on one GPU get a hard share of its memory each; workers on the CPU divide its cores.

    Raises:
        InputError: more workers than can be placed.
    """
    if not gpus:
        count = workers or 1
        if count > cores:
            raise InputError(
                f"--workers: {count} workers on a CPU with {cores} cores would only take turns. "
                f"Use at most {cores}, or a machine with GPUs."
            )
        return tuple(Place(index, "cpu", threads=max(1, cores // count)) for index in range(count))
    count = workers or len(gpus)
    sharing = -(-count // len(gpus))
    if sharing > 8:
        raise InputError(
            f"--workers: {count} workers on {len(gpus)} GPUs would be {sharing} on each. Use at most {8 * len(gpus)}."
        )
    return tuple(
        Place(
            index,
            f"gpu {gpu.index}: {gpu.name}",
            gpu=gpu.uuid,
            gpu_memory_mb=int(gpu.memory_mb * FREE_SHARE / sharing) if sharing > 1 else None,
        )
        for index, gpu in ((index, gpus[index % len(gpus)]) for index in range(count))
    )
