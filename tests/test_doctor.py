"""What doctor says where something is missing or broken; the probes themselves are run once, for real."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from study_maker import make_study

import search.run.doctor
from search.base.home import Home
from search.run.doctor import Finding, examine, print_findings
from search.training.places import Gpu
from studies.store.opening import open_storage

CPU = {"kind": "cpu", "name": "AMD EPYC", "precision": "float32", "xla": False}
IMAGES = {"images": 2000, "classes": 10}


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the two probing processes answer: a document, or a text that says why they could not."""
    answers: dict[str, Any] = {search.run.doctor.PROBE: CPU, search.run.doctor.DATA_PROBE: IMAGES}

    def probe(program: str, _arguments: list[str], *, hide_gpus: bool) -> tuple[dict[str, Any] | None, str]:
        assert hide_gpus == (program == search.run.doctor.DATA_PROBE)
        answer = answers[program]
        return (None, answer) if isinstance(answer, str) else (answer, "")

    monkeypatch.setattr(search.run.doctor, "_probe", probe)
    monkeypatch.setattr(search.run.doctor, "visible_gpus", lambda: ())
    return answers


def findings(home: Path, storage: str | None = None, source: str = "synthetic") -> dict[str, Finding]:
    return {finding.topic: finding for finding in examine(Home(home), storage, source)}


def test_bare_machine_is_healthy_and_nothing_is_left_behind(probes: dict[str, Any], tmp_path: Path) -> None:
    assert probes
    found = findings(tmp_path / "runs")
    assert {topic: finding.ok for topic, finding in found.items()} == dict.fromkeys(found, True)
    assert set(found) == {"versions", "surroundings", "GPUs", "TensorFlow", "precision", "data", "home", "storage"}
    assert "will be made by the first run" in found["storage"].found
    assert list(tmp_path.iterdir()) == []


def test_gpu_that_tensorflow_cannot_use_is_wrong_with_the_way_out(
    probes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert probes
    monkeypatch.setattr(search.run.doctor, "visible_gpus", lambda: (Gpu(0, "NVIDIA H100", 81920, "GPU-a"),))
    found = findings(tmp_path)["GPUs"]
    assert not found.ok
    assert "NVIDIA H100 (80 GiB), but this TensorFlow can't use it" in found.found
    assert "requirements-gpu.lock" in found.way_out


def test_tensorflow_that_does_not_start_is_said_with_its_last_words(probes: dict[str, Any], tmp_path: Path) -> None:
    probes[search.run.doctor.PROBE] = "libcudart.so: cannot open"
    found = findings(tmp_path)
    assert not found["TensorFlow"].ok
    assert "libcudart.so" in found["TensorFlow"].found
    assert found["storage"].ok  # the rest is looked at all the same


def test_missing_data_offers_the_digits(probes: dict[str, Any], tmp_path: Path) -> None:
    probes[search.run.doctor.DATA_PROBE] = {"error": "CIFAR-10 can't be downloaded"}
    found = findings(tmp_path)["data"]
    assert (found.ok, found.found) == (False, "CIFAR-10 can't be downloaded")
    assert "--data digits" in found.way_out


def test_home_and_storage_that_cannot_be_used_are_both_told(probes: dict[str, Any], tmp_path: Path) -> None:
    assert probes
    (tmp_path / "file").write_text("in the way")
    found = findings(tmp_path / "file" / "runs", "mysql://me:secret@db/x")
    assert not found["home"].ok
    assert not found["storage"].ok
    assert "secret" not in found["storage"].found


def test_storage_is_counted(probes: dict[str, Any], tmp_path: Path, database_url: str) -> None:
    assert probes
    make_study(open_storage(database_url))
    assert findings(tmp_path, database_url)["storage"].found.endswith(": 1 study")


def test_probe_of_a_crashing_process_gives_its_last_line() -> None:
    program = "import sys; print('warning', file=sys.stderr); sys.exit('no driver')"
    assert search.run.doctor._probe(program, [], hide_gpus=True) == (None, "no driver")
    assert search.run.doctor._probe("import os; os.kill(os.getpid(), 11)", [], hide_gpus=True) == (
        None,
        "exit code -11",
    )


@pytest.mark.slow
def test_real_probes_answer(tmp_path: Path) -> None:
    found = findings(tmp_path)
    assert found["TensorFlow"].ok, found
    assert found["precision"].found.split(",")[0] in ("float32", "bfloat16")
    assert found["data"].found == "synthetic: 2,000 training images of 10 classes"
    assert f"python {sys.version_info.major}.{sys.version_info.minor}" in found["versions"].found


def test_findings_for_people_mark_what_is_wrong() -> None:
    console = Console(file=io.StringIO(), width=160)
    print_findings(console, [Finding("home", True, "fine"), Finding("data", False, "gone", "Bring it.")])
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert [line.split() for line in text.splitlines()] == [
        ["ok", "home", "fine"],
        ["WRONG", "data", "gone"],
        ["Bring", "it."],
    ]
