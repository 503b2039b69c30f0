"""The examples in docs/examples, each searched, exported and retrained as its README types it, on a small budget."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from search.space.files import load_space
from search.space.own import Program
from search.space.own_files import own_of
from search.space.space import parse_space

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
COMPILER = shutil.which("cc")
TORCH_PYTHON = os.environ.get("ALEXSEARCH_TEST_TORCH_PYTHON")


def copied(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a copy of an example the working folder, so that nothing is written into the clone."""
    shutil.copytree(EXAMPLES / name, folder / name)
    monkeypatch.chdir(folder / name)


def typed(*words: str) -> str:
    """In a process of its own: TensorFlow takes its number of threads once."""
    command = [sys.executable, "-m", "search.cli.main", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def worked_off(space: str, *options: str, trials: int = 2) -> float:
    """Search, export and retrain in the working folder; the mean test score of two seeds."""
    typed("run", space, "--trials", str(trials), *options)
    status = json.loads(typed("status", "--json"))
    assert status["counts"]["failed"] == 0, status["failures"]
    assert status["counts"]["complete"] + status["counts"]["pruned"] == trials
    typed("export", "-o", "best.toml")
    typed("retrain", "best.toml", "--seeds", "2")
    (document,) = Path("runs").glob("*/retrain/*/metrics.json")
    mean: float = json.loads(document.read_text())["mean"]
    return mean


@pytest.mark.slow
def test_scikit_learn_example_recognises_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied("scikit_learn", tmp_path, monkeypatch)
    assert worked_off("digits.toml", trials=1) > 0.8
    (page,) = Path("runs").glob("*/retrain/*/index.html")
    assert "final score" in page.read_text()
    assert "<h2>Curves" not in page.read_text(), "it has no epochs"


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler (cc)")
def test_c_example_minimises_its_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied("c", tmp_path, monkeypatch)
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run([str(COMPILER), "-O2", *warnings, "-o", "spirals", "spirals.c", "-lm"], check=True)
    assert worked_off("spirals.toml") < 0.69, "which is what guessing comes to"


@pytest.mark.slow
def test_network_example_is_searched_on_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied("own_network", tmp_path, monkeypatch)
    assert worked_off("resnet.toml", "--workers", "1") > 0.5
    (model,) = Path("runs").glob("*/retrain/*/best.keras")
    assert "on 297 test images of digits" in typed("evaluate", str(model), "--data", "digits")


@pytest.mark.slow
def test_network_example_takes_the_images_of_cifar10(
    cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied("own_network", tmp_path, monkeypatch)
    images = ["--data", str(cifar10), "--train-images", "256", "--validation-images", "100"]
    typed("run", "resnet.toml", "--trials", "1", "--workers", "1", *images)
    assert json.loads(typed("best", "--json"))["value"] > 0.05


@pytest.mark.slow
@pytest.mark.skipif(TORCH_PYTHON is None, reason="ALEXSEARCH_TEST_TORCH_PYTHON names no interpreter with PyTorch")
def test_pytorch_example_runs_in_its_own_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied("pytorch", tmp_path, monkeypatch)
    space = Path("spirals.toml")
    space.write_text(space.read_text().replace("../torch-env/bin/python", str(TORCH_PYTHON)))
    assert worked_off("spirals.toml") > 0.5


@pytest.mark.parametrize("space", sorted(EXAMPLES.glob("*/*.toml")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_example_space_can_be_read_and_its_readme_types_it(space: Path) -> None:
    load_space(str(space))
    assert f"alexsearch run {space.name}" in (space.parent / "README.md").read_text(encoding="utf-8")


def test_readme_shows_a_space_and_the_function_that_goes_with_it(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    space = parse_space(tomllib.loads(text.split("```toml\n# my.toml\n")[1].split("```")[0]), "README.md")
    mine, python = tmp_path / "mine", tmp_path / "torch-env" / "bin" / "python"
    mine.mkdir()
    (mine / "train.py").write_text(text.split("```python\n# train.py\n")[1].split("```")[0])
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    own = own_of(space, (mine,))
    assert isinstance(own, Program)
    assert own.function == "train"
