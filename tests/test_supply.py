"""What is installed: pinned, checked against hashes, and no more than what runs where it runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = {"requirements-run.lock": "requirements.lock", "requirements-run-gpu.lock": "requirements-gpu.lock"}
"""What an image gets, and the lock with the test tools that it agrees with"""


def locked(name: str) -> dict[str, str]:
    """By package and version: its pin with its markers and hashes, as they stand in the lock."""
    text = (ROOT / name).read_text()
    return {each[1]: each[0] for each in re.finditer(r"^([\w.-]+==\S+).*\\\n(?:    --hash=.*\n)+", text, re.M)}


def packages(name: str) -> set[str]:
    return {each.partition("==")[0] for each in locked(name)}


def named(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", each)[0].lower() for each in requirements}


@pytest.mark.parametrize("name", [*LOCKS, *LOCKS.values()])
def test_every_package_of_a_lock_is_pinned_with_hashes(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if re.match(r"[^\s#]", line)]
    assert len(lines) == len(locked(name)) > 50
    assert "setuptools" in packages(name), "it builds us without isolation"


@pytest.mark.parametrize("name", LOCKS)
def test_image_gets_what_was_tested_without_what_tests_it(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert locked(name).items() <= locked(LOCKS[name]).items(), "see CONTRIBUTING.md: compile the locks again"
    installed = packages(name)
    assert named(project["dependencies"] + extras["export"] + extras["parquet"]) <= installed
    assert named(extras["dev"]) & installed == {"pyyaml"}, "which Optuna needs too"
    assert not {"pluggy", "grimp", "mypy-extensions", "execnet"} & installed


def test_nothing_is_fetched_to_build_us() -> None:
    for name in ("README.md", "Dockerfile", ".ci/run"):
        lines = [line for line in (ROOT / name).read_text().splitlines() if "--no-deps" in line]
        assert lines
        for line in lines:
            assert "--no-build-isolation" in line, f"{name}: {line}"


@pytest.mark.slow
def test_we_are_built_by_what_the_lock_brings(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("model", "search", "studies"):
        shutil.copytree(ROOT / name, tmp_path / name)
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", *offline, "--wheel-dir", "built", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "built").glob("alexsearch-*.whl"))) == 1
