"""What this process computes on: set up once, before TensorFlow does anything else."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model.config import Precision

# Instructions that make bfloat16 faster than float32 on a CPU; without them TensorFlow emulates it, which is slower.
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
BFLOAT16_CAPABILITY = (8, 0)  # NVIDIA Ampere, the first with bfloat16 tensor cores


@dataclass(frozen=True)
class Device:
    """What a training runs on."""

    kind: Literal["cpu", "gpu"]
    name: str
    """The processor's or the card's own name."""
    precision: Literal["float32", "bfloat16"]
    """What "auto" means here."""
    xla: bool
    """Whether programs are compiled with XLA: on a CPU that is 2 to 3 times slower than oneDNN's kernels."""
    threads: int
    """Threads within an operation on the CPU."""

    def resolve(self, precision: Precision) -> Literal["float32", "bfloat16"]:
        """The precision that a configuration's `precision` comes to on this device."""
        return self.precision if precision == "auto" else precision


def configure(*, threads: int | None = None, gpu_memory_mb: int | None = None) -> Device:
    """Set this process up and say what it computes on. Call it once, before anything else touches TensorFlow.

    `threads` limits the CPU threads (all cores of this process by default); `gpu_memory_mb` is a hard share of the
    one visible GPU's memory, without it memory is taken as needed. A process that sees several GPUs uses the first.

    Raises:
        RuntimeError: TensorFlow is already at work in this process.
        ValueError: `threads` or `gpu_memory_mb` is below 1.
    """
    threads = available_cores() if threads is None else threads
    if threads < 1:
        raise ValueError(f"threads must be at least 1, but is {threads}")
    if gpu_memory_mb is not None and gpu_memory_mb < 1:
        raise ValueError(f"gpu_memory_mb must be at least 1, but is {gpu_memory_mb}")
    # Read when TensorFlow is imported: its banners would land in the trial's log, once a process.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        precision: Literal["float32", "bfloat16"] = "bfloat16" if BFLOAT16_FLAGS & cpu_flags() else "float32"
        return Device("cpu", cpu_name(), precision, xla=False, threads=threads)
    gpu = gpus[0]
    tf.config.set_visible_devices(gpu, "GPU")
    if gpu_memory_mb is None:
        tf.config.experimental.set_memory_growth(gpu, True)
    else:
        share = tf.config.LogicalDeviceConfiguration(memory_limit=gpu_memory_mb)
        tf.config.set_logical_device_configuration(gpu, [share])
    details = tf.config.experimental.get_device_details(gpu)
    fast = tuple(details.get("compute_capability") or (0, 0)) >= BFLOAT16_CAPABILITY
    name = str(details.get("device_name", "GPU"))
    return Device("gpu", name, "bfloat16" if fast else "float32", xla=True, threads=threads)


def available_cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The instruction set extensions the kernel names; empty where it names none (not Linux, not x86)."""
    return frozenset(_first_value(cpuinfo, "flags").split())


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model name."""
    return _first_value(cpuinfo, "model name") or platform.processor() or platform.machine()


def _first_value(cpuinfo: Path, key: str) -> str:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next(
        (value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == key), ""
    )
