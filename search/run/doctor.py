"""What this machine has for a search, and what is wrong with it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from model.device import available_cores
from search.base.home import Home
from search.base.mistakes import InputError
from search.base.provenance import provenance
from search.training.places import visible_gpus
from search.training.surroundings import child_environment, python_command, telling
from studies.store.errors import NothingYetError, StorageError
from studies.store.opening import open_storage
from studies.store.urls import redacted, storage_url

PROBE = """
import json, sys
from model.device import configure
device = configure()
import model.our_keras
print(json.dumps({"kind": device.kind, "name": device.name, "precision": device.precision, "xla": device.xla}))
"""
"""Run in a process of its own: TensorFlow may crash on a broken driver, and doctor must live to say so."""

DATA_PROBE = """
import json, sys
from pathlib import Path
from model.config import DataError
from model.data import load_training
try:
    training = load_training(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps({"images": len(training.labels), "classes": len(training.class_names)}))
except DataError as error:
    print(json.dumps({"error": str(error)}))
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    ok: bool
    found: str
    way_out: str = ""
    """What to do, where `ok` is False."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(home: Home, storage: str | None, source: str) -> list[Finding]:
    """Look at everything a search needs; about ten seconds, most of them TensorFlow's start."""
    return [
        _python(),
        _surroundings(),
        *_compute(),
        _data(source, home),
        _home(home),
        _storage(home, storage),
    ]


def _python() -> Finding:
    recorded = provenance()
    versions = ", ".join(f"{name} {version}" for name, version in recorded["versions"].items())
    missing = [name for name, version in recorded["versions"].items() if version == "not installed"]
    commit = f"; commit {recorded['git_commit']}" if recorded["git_commit"] else ""
    way_out = "Install requirements.lock and the project, as the README says." if missing else ""
    return Finding("versions", not missing, versions + commit, way_out)


def _surroundings() -> Finding:
    told = "; ".join(telling()) or "no variable that matters here is set"
    return Finding("surroundings", True, told)


def _compute() -> list[Finding]:
    gpus = visible_gpus()
    seen = ", ".join(f"{gpu.name} ({gpu.memory_mb / 1024:.0f} GiB)" for gpu in gpus) or "none"
    answer, problem = _probe(PROBE, [], hide_gpus=False)
    if answer is None:
        return [
            Finding("GPUs", True, seen),
            Finding("TensorFlow", False, f"does not start: {problem}", "Install requirements.lock again."),
        ]
    usable = answer["kind"] == "gpu" or not gpus
    xla = ", XLA" if answer["xla"] else ""
    return [
        Finding(
            "GPUs",
            usable,
            seen if usable else f"{seen}, but this TensorFlow can't use it",
            "" if usable else "Install requirements-gpu.lock instead of requirements.lock, and check `nvidia-smi`.",
        ),
        Finding("TensorFlow", True, f"computes on {answer['kind']}: {answer['name']}, {available_cores()} CPU cores"),
        Finding("precision", True, f"{answer['precision']}{xla}"),
    ]


def _data(source: str, home: Home) -> Finding:
    answer, problem = _probe(DATA_PROBE, [source, str(home.data)], hide_gpus=True)
    if answer is not None and "error" not in answer:
        return Finding("data", True, f"{source}: {answer['images']:,} training images of {answer['classes']} classes")
    text = answer["error"] if answer else problem
    way_out = (
        "" if "--data digits" in text else "Or search on handwritten digits, which need no download: --data digits"
    )
    return Finding("data", False, text, way_out)


def _home(home: Home) -> Finding:
    existed = home.folder.exists()
    try:
        home.check_writable()
    except InputError as error:
        return Finding("home", False, str(error), "Name a folder you can write with --home.")
    if not existed:
        home.folder.rmdir()
    return Finding("home", True, f"{home.folder.absolute()} can be written")


def _storage(home: Home, storage: str | None) -> Finding:
    try:
        url = storage_url(storage, home.folder)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
            return Finding("storage", True, f"{redacted(url)} will be made by the first run")
        if url.get_backend_name() == "sqlite" and (kind := network_kind(Path(url.database or ""))):
            return Finding("storage", False, f"{redacted(url)} lies on a network file system ({kind})", NO_NETWORK)
        opened = open_storage(url, read_only=True, opening_patience_seconds=0)
        studies = len(opened.get_all_studies())
    except NothingYetError:
        return Finding("storage", True, f"{redacted(url)} will be filled by the first run")
    except StorageError as error:
        return Finding("storage", False, str(error), "Mend what it says, or use the default SQLite file.")
    return Finding("storage", True, f"{redacted(url)}: {studies} {'study' if studies == 1 else 'studies'}")


NO_NETWORK = (
    "SQLite's locks don't hold there, and a study can be damaged: keep it on a local disk, or use a Postgres database."
)
NETWORK_KINDS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "fuse.sshfs"})


def network_kind(file: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """The kind of network file system that the file lies on, by the kernel's table of mounts; None for a local one."""
    try:
        lines = [line.split() for line in mounts.read_text(errors="replace").splitlines()]
    except OSError:  # another system's kernel has no such table
        return None
    around = {str(folder): "" for folder in file.absolute().parents}
    around |= {where: kind for _, where, kind, *_ in lines if where in around}  # the last of a place hides the others
    kind = next((kind for kind in around.values() if kind), "")
    return kind if kind in NETWORK_KINDS else None


def _probe(program: str, arguments: Sequence[str], *, hide_gpus: bool) -> tuple[dict[str, Any] | None, str]:
    """What the program printed last, as JSON, or None and what went wrong."""
    environment = child_environment(cuda_devices="-1" if hide_gpus else None)
    command = python_command("-c", program, *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return None, "no answer within 10 minutes"
    except (IndexError, json.JSONDecodeError):
        return None, (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]
    return answer, ""


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """The findings for people."""
    for finding in findings:
        mark, style = ("ok   ", "green") if finding.ok else ("WRONG", "bold red")
        console.print(Text.assemble((mark, style), f" {finding.topic:12} {finding.found}"), soft_wrap=True)
        if finding.way_out:
            console.print(f"                   {finding.way_out}", soft_wrap=True)
