"""What is installed: pinned, checked against hashes, and no more than what runs where it runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

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
    assert named(project["dependencies"] + extras["export"] + extras["parquet"] + extras["s3"]) <= installed
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


# ---- the bill of materials


def bill(lock: str) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / ".ci" / "sbom.py"), str(ROOT / lock)]
    document: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return document


@pytest.mark.parametrize("lock", LOCKS)
def test_bill_of_materials_names_every_pin_of_the_lock(lock: str) -> None:
    document = bill(lock)
    components = {each["bom-ref"]: each for each in document["components"]}
    assert len(components) == len(document["components"])
    assert components.keys() == locked(lock).keys()
    for pin, text in locked(lock).items():
        (files,) = components[pin]["externalReferences"]
        assert [each["content"] for each in files["hashes"]] == re.findall("sha256:([0-9a-f]+)", text)
    assert components["click==" + version("click")]["licenses"] == [{"expression": "BSD-3-Clause"}]
    assert bill(lock) == document


@pytest.mark.parametrize("lock", LOCKS)
def test_bill_of_materials_is_cyclonedx(lock: str) -> None:
    """The rules of its JSON schema, version 1.6, for all that we write."""
    document = bill(lock)
    assert document.keys() == {
        *("bomFormat", "specVersion", "serialNumber", "version", "metadata", "components", "dependencies"),
    }
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", document["serialNumber"])
    us = document["metadata"]["component"]
    for component in (us, *document["components"]):
        assert component.keys() <= {
            *("type", "bom-ref", "name", "version", "description", "purl"),
            *("externalReferences", "licenses", "properties"),
        }
        assert component["type"] in ("application", "library")
        assert all(component[key] and isinstance(component[key], str) for key in ("bom-ref", "name", "version"))
        licences = component.get("licenses", [])
        assert len(licences) == 1 or not any("expression" in each for each in licences)
        for licence in licences:
            (kind, value), *others = licence.items()
            assert not others
            assert isinstance(value, str) if kind == "expression" else value.keys() < {"id", "name"} and len(value) == 1
        for reference in component.get("externalReferences", ()):
            assert reference["type"] == "distribution"
            assert reference["url"] == component["purl"] == f"pkg:pypi/{component['name']}@{component['version']}"
            assert {each["alg"] for each in reference["hashes"]} == {"SHA-256"}
            assert all(re.fullmatch("[0-9a-f]{64}", each["content"]) for each in reference["hashes"])
        for extra in component.get("properties", ()):
            assert extra.keys() == {"name", "value"}
    references = [us["bom-ref"], *(each["bom-ref"] for each in document["components"])]
    assert [each["ref"] for each in document["dependencies"]] == references
    for each in document["dependencies"]:
        assert set(each["dependsOn"]) <= set(references) - {each["ref"]}
        assert len(set(each["dependsOn"])) == len(each["dependsOn"])
    needed = {ref for each in document["dependencies"] for ref in each["dependsOn"]}
    assert needed == set(references) - {us["bom-ref"]}, "nothing is there that nobody needs"
