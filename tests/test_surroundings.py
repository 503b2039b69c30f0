"""What surrounds our processes and must not matter: the working folder, Keras' settings, other programs' variables."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from model.config import DataSpec
from search.run.doctor import _probe
from search.training.child import Child
from search.training.places import Place
from search.training.surroundings import child_environment, python_command, telling

SECRETS = (
    *("ALEXSEARCH_STORAGE", "ALEXSEARCH_STORAGE_PASSWORD_FILE", "ALEXSEARCH_DASHBOARD_PASSWORD", "PGPASSWORD"),
    *("PGPASSFILE", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN"),
)
SPACE = """
[study]
name = "one"
trials = 1
[data]
source = "synthetic"
train_images = 64
validation_images = 64
[space]
batch_size = 32
learning_rate = 0.01
epochs = 1
"""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only Linux shows a process's environment")
def test_training_process_has_no_secret_of_its_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/canary-of-what-is-needed")
    child = Child(Place(0, "cpu", threads=1), DataSpec(source="synthetic"), tmp_path, tmp_path / "child.log")
    try:
        while not (environment := Path(f"/proc/{child.pid}/environ").read_bytes()):  # it is just becoming a Python
            assert child.receive(0.01) is None
    finally:
        child.kill()
    assert b"=canary\0" not in environment
    assert b"LD_LIBRARY_PATH=/canary-of-what-is-needed\0" in environment
    assert b"OMP_NUM_THREADS=1\0" in environment


def test_child_keeps_what_finds_programs_libraries_and_the_network() -> None:
    needed = {
        **{"PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "TMPDIR": "/t", "XLA_FLAGS": "x", "https_proxy": "p"},
        **{"NCCL_DEBUG": "INFO", "TF_XLA_FLAGS": "y", "KERAS_HOME": "/k", "ALEXSEARCH_PRETEND_GPUS": "2"},
    }
    ignored = {"KERAS_BACKEND": "jax", "KERAS_MAX_EPOCHS": "1", "TF_USE_LEGACY_KERAS": "1", "PYTHONWARNINGS": "error"}
    kept = child_environment(needed | ignored)
    assert needed.items() <= kept.items()
    assert kept["KERAS_BACKEND"] == "tensorflow"
    assert not {"KERAS_MAX_EPOCHS", "TF_USE_LEGACY_KERAS", "PYTHONWARNINGS"} & set(kept)


def test_own_process_imports_nothing_from_the_folder_it_is_started_in(tmp_path: Path) -> None:
    """Nor by an empty part of PYTHONPATH, which `PYTHONPATH=$PYTHONPATH:/more` leaves behind."""
    (tmp_path / "json.py").write_text("raise SystemExit(1)")
    environment = child_environment({**os.environ, "PYTHONPATH": f":{os.environ.get('PYTHONPATH', '')}:."})
    done = subprocess.run(python_command("-c", "import json"), cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0


def test_probe_of_doctor_has_no_secret_either(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "canary")
    answer, _ = _probe("import json, os; print(json.dumps(dict(os.environ)))", [], hide_gpus=True)
    assert answer is not None
    assert "canary" not in answer.values()
    assert answer["CUDA_VISIBLE_DEVICES"] == "-1"


def test_settings_that_keras_itself_refuses_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keras.json").write_text('{"floatx": "bfloat16"}')
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    answer, problem = _probe("import model.our_keras", [], hide_gpus=True)
    assert answer is None
    assert "Keras does not start (Invalid `floatx` configuration" in problem


def test_what_matters_is_told_and_so_is_what_is_ignored() -> None:
    told = telling({"CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "jax", "PYTHONPATH": ":/mine", "PGPASSWORD": "canary"})
    text = "; ".join(told)
    assert "CUDA_VISIBLE_DEVICES= (only these GPUs are used; empty or -1: none)" in text
    assert "KERAS_BACKEND (for your own programs: ignored here)" in text
    assert "PYTHONPATH has an empty part" in text
    assert "canary" not in text
    assert telling({"HOME": "/h"}) == []


def test_keras_is_imported_in_one_place_only() -> None:
    root = Path(__file__).parent.parent
    sources = [*(root / "model").rglob("*.py"), *(root / "search").rglob("*.py"), *(root / "studies").rglob("*.py")]
    importing = {path.name for path in sources if re.search(r"^ *(import|from) keras", path.read_text(), re.MULTILINE)}
    assert importing == {"our_keras.py"}


@pytest.mark.slow
def test_commands_work_in_a_folder_of_our_names_and_with_keras_settings_of_the_users(
    tmp_path: Path,
) -> None:
    for package in ("model", "search", "studies", "keras"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit(1)")
    (tmp_path / "json.py").write_text("raise SystemExit(1)")
    (tmp_path / "one.toml").write_text(SPACE)
    settings = {"backend": "torch", "floatx": "float16", "image_data_format": "channels_first", "epsilon": 0.1}
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "keras.json").write_text(json.dumps(settings))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ALEXSEARCH")}
    environment |= {"KERAS_HOME": str(tmp_path / "settings"), "KERAS_BACKEND": "jax", "TF_USE_LEGACY_KERAS": "1"}

    def alexsearch(*arguments: str) -> str:
        # -P: as the console script, whose own folder comes first and not the working one.
        command = [sys.executable, "-P", "-m", "search.cli.main", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "1 of 1 settled: 1 complete" in alexsearch("run", "one.toml")
    assert "ok    surroundings" in alexsearch("doctor", "--data", "synthetic")
    alexsearch("export", "-o", "best.toml")
    alexsearch("retrain", "best.toml", "--out", "out")
    assert "accuracy" in alexsearch("evaluate", "out/best.keras", "--data", "synthetic")
    alexsearch("replay", "--trial", "0")
    done = json.loads((tmp_path / "settings" / "keras.json").read_text())
    assert done == settings  # theirs, as it was
