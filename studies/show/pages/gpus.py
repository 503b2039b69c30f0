"""How busy the GPUs of this machine are, asked of NVIDIA's driver; other hosts' are not seen from here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

FRESH_SECONDS = 1.0
"""Pages that several people look at ask the driver once."""


@dataclass(frozen=True)
class GpuUse:
    """One GPU, now. None stands for what its driver does not tell."""

    index: int
    name: str
    busy: int | None
    """Percent of the last moment during which a kernel ran."""
    memory_used_mb: int | None
    memory_mb: int | None
    celsius: int | None


class Gpus:
    """Looks at the GPUs, at most once a second. May be shared by threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._looked: float | None = None
        self._seen: tuple[GpuUse, ...] = ()

    def look(self) -> tuple[GpuUse, ...]:
        """All GPUs of this machine; none if there is no driver or it does not answer."""
        with self._lock:
            if self._looked is None or self._clock() - self._looked >= FRESH_SECONDS:
                self._seen = _ask_driver()
                self._looked = self._clock()
            return self._seen


def _ask_driver() -> tuple[GpuUse, ...]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_one(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def _one(nvml: Any, index: int) -> GpuUse:
    def told(ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except nvml.NVMLError:  # a share of a card (MIG) has no utilization, some have no sensor
            return None

    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = told(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    return GpuUse(
        index=index,
        name=told(lambda: str(nvml.nvmlDeviceGetName(handle))) or "GPU",
        busy=told(lambda: int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
        memory_used_mb=None if memory is None else memory.used // 2**20,
        memory_mb=None if memory is None else memory.total // 2**20,
        celsius=told(lambda: int(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))),
    )
