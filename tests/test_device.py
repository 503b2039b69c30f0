from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model.device import BFLOAT16_FLAGS, Device, available_cores, configure, cpu_flags, cpu_name

CPUINFO = """processor\t: 0
model name\t: Some CPU @ 2.0GHz
flags\t\t: fpu sse2 avx512f avx512_bf16

processor\t: 1
model name\t: Some CPU @ 2.0GHz
flags\t\t: fpu sse2 avx512f avx512_bf16
"""


def run(code: str) -> Any:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout)


def test_cpu_instructions_are_read_from_the_kernel(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(CPUINFO)
    assert BFLOAT16_FLAGS & cpu_flags(cpuinfo) == {"avx512_bf16"}
    assert cpu_name(cpuinfo) == "Some CPU @ 2.0GHz"


def test_a_kernel_that_tells_nothing_means_no_bfloat16(tmp_path: Path) -> None:
    assert cpu_flags(tmp_path / "absent") == frozenset()
    (tmp_path / "arm").write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert not BFLOAT16_FLAGS & cpu_flags(tmp_path / "arm")


def test_auto_precision_is_the_devices_own_and_a_named_one_stays() -> None:
    device = Device("cpu", "any", "bfloat16", xla=False, threads=1)
    assert [device.resolve(asked) for asked in ("auto", "float32", "bfloat16")] == ["bfloat16", "float32", "bfloat16"]


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"gpu_memory_mb": 0}])
def test_impossible_share_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        configure(**wrong)


@pytest.mark.slow
def test_configured_process_has_the_threads_asked_for_and_prints_nothing() -> None:
    code = """
import json
from model.device import configure
device = configure(threads=1)
import tensorflow as tf
threading = tf.config.threading
threads = [threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads()]
tf.linalg.matmul(tf.ones((64, 64)), tf.ones((64, 64)))
print(json.dumps({"kind": device.kind, "threads": [device.threads, *threads]}))
"""
    answer = run(code)
    assert answer["threads"] == [1, 1, 1]
    assert answer["kind"] in ("cpu", "gpu")


def test_description_alone_starts_no_tensorflow() -> None:
    assert run("import json, sys, model.device; print(json.dumps('tensorflow' in sys.modules))") is False


def test_cores_are_those_this_process_may_use() -> None:
    assert available_cores() >= 1


@pytest.mark.parametrize(("capability", "precision"), [((8, 0), "bfloat16"), ((9, 0), "bfloat16"), ((7, 5), "float32")])
def test_gpu_gets_its_memory_share_and_the_precision_it_is_fast_in(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    import tensorflow as tf

    asked: dict[str, Any] = {}
    details = {"device_name": "Pretend GPU", "compute_capability": capability}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: ["gpu0", "gpu1"])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda gpu, _kind: asked.update(visible=gpu))
    monkeypatch.setattr(
        tf.config,
        "threading",
        SimpleNamespace(
            set_intra_op_parallelism_threads=lambda _n: None, set_inter_op_parallelism_threads=lambda _n: None
        ),
    )
    monkeypatch.setattr(
        tf.config,
        "experimental",
        SimpleNamespace(
            get_device_details=lambda _gpu: details,
            set_memory_growth=lambda gpu, on: asked.update(growth=(gpu, on)),
        ),
    )
    monkeypatch.setattr(
        tf.config, "set_logical_device_configuration", lambda _gpu, shares: asked.update(share=shares[0].memory_limit)
    )
    assert configure(threads=3) == Device("gpu", "Pretend GPU", precision, xla=True, threads=3)  # type: ignore[arg-type]
    assert asked == {"visible": "gpu0", "growth": ("gpu0", True)}
    asked.clear()
    configure(gpu_memory_mb=4096)
    assert asked == {"visible": "gpu0", "share": 4096}
