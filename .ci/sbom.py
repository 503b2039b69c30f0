"""A lock file as a CycloneDX 1.6 document (https://cyclonedx.org/docs/1.6/json/): what an installation consists of.

    python .ci/sbom.py requirements-run.lock > sbom.json

Names, versions, hashes and who needs whom come from the lock; licences from what is installed here at the same version.
The same lock and licences give the same bytes.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+)(?: ; (?P<marker>.+))? \\\n(?P<rest>(?: .*\n?)+)", re.MULTILINE)


def main(lock: str) -> None:
    """Print the document of this lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    print(json.dumps(document(Path(lock).read_text(), project), indent=2))


def document(lock: str, project: dict[str, Any]) -> dict[str, Any]:
    """The document of a lock's text; `project` is pyproject's table of that name."""
    pins = [found.groupdict() for found in PIN.finditer(lock)]
    us = {
        "type": "application",
        "bom-ref": project["name"],
        "name": project["name"],
        "version": project["version"],
        "description": project["description"],
        "licenses": [{"license": {"id": project["license"]}}],
    }
    needs: dict[str, list[str]] = {us["bom-ref"]: [], **{_ref(pin): [] for pin in pins}}
    for pin in pins:
        parents = _via(pin["rest"])
        for ref, needed in needs.items():
            if ref.partition("==")[0] in parents:
                needed.append(_ref(pin))
    found = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": us},
        "components": [_component(pin) for pin in pins],
        "dependencies": [{"ref": ref, "dependsOn": refs} for ref, refs in needs.items()],
    }
    return {"serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(found)).urn, **found}


def _ref(pin: dict[str, str]) -> str:
    return f"{pin['name']}=={pin['version']}"


def _via(comments: str) -> set[str]:
    """Who needs it, by the lock's comments: `# via NAME`, or a line for each."""
    return set(re.findall(r"^ +#(?: via)? +([\w.-]+)(?: \(.*\))?$", comments, re.MULTILINE)) - {"via"}


def _component(pin: dict[str, str]) -> dict[str, Any]:
    purl = f"pkg:pypi/{pin['name']}@{pin['version']}"
    hashes = [{"alg": "SHA-256", "content": each} for each in re.findall(r"--hash=sha256:([0-9a-f]{64})", pin["rest"])]
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _ref(pin),
        "name": pin["name"],
        "version": pin["version"],
        "purl": purl,
        # Of the release's files: any one of them is what is installed.
        "externalReferences": [{"type": "distribution", "url": purl, "hashes": hashes}],
    }
    if licenses := _licenses(pin["name"], pin["version"]):
        component["licenses"] = licenses
    if pin["marker"]:
        component["properties"] = [{"name": "python:marker", "value": pin["marker"]}]
    return component


def _licenses(name: str, version: str) -> list[dict[str, Any]]:
    try:
        told = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return []
    if told["Version"] != version:
        return []
    if expression := told.get("License-Expression"):
        return [{"expression": expression}]
    classified = [each.rpartition(" :: ")[2] for each in told.get_all("Classifier", []) if each.startswith("License ")]
    if classified:
        return [{"license": {"name": each}} for each in classified]
    text = (told.get("License") or "").strip()
    return [{"license": {"name": text}}] if text and "\n" not in text else []


if __name__ == "__main__":
    main(sys.argv[1])
