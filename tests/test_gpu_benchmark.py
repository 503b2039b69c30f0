"""What measures a GPU in 25 minutes, in small on the CPU: every row is reached, told and written."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks import gpu

from model.config import DataSpec


@pytest.mark.slow
@pytest.mark.timeout(900)  # a minute of an idle machine: a dozen processes start TensorFlow
def test_every_row_is_measured_and_written(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(gpu.__file__)), "--small", "--json", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=880, cwd=tmp_path, check=True)
    rows = {row.pop("row"): row for row in json.loads((tmp_path / "gpu.json").read_text())}
    assert list(rows) == list(gpu.rows_of(gpu.SMALL))
    assert {name: row for name, row in rows.items() if "failed" in row or "left out" in row} == {}
    assert all(name in done.stdout for name in rows)
    assert rows["batch 32"]["images_per_second"]["median"] > 0
    assert (rows["killed"]["went on after epoch"], rows["killed"]["epochs"]) == (1, 3)
    assert rows["memory"]["survived"] is True
    assert rows["run quick"]["trials"]["complete"] == 1


def test_row_that_fails_is_told_and_one_without_time_is_left_out(tmp_path: Path) -> None:
    def breaks(_bench: gpu.Bench) -> gpu.Row:
        raise RuntimeError("no such card")

    def bench(deadline: float) -> gpu.Bench:
        return gpu.Bench("synthetic", gpu.SMALL, tmp_path, deadline)

    later = time.monotonic() + 60
    assert gpu.measured(bench(later), breaks) == {"failed": "RuntimeError: no such card"}
    assert gpu.measured(bench(later - 61), breaks) == {"left out": "no time was left"}
    assert bench(later).part == DataSpec(source="synthetic", train_images=200, validation_images=100)
